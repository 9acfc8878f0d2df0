//! The catalog as its clients meet it: a real server, real clients, a database of its own for each test.
#![expect(
    clippy::unwrap_used,
    reason = "a test that unwraps fails with the place; that is all a test needs"
)]

mod accounts;
mod api_keys;
mod apply;
mod audit;
mod callees;
mod clients;
mod copies;
mod differences;
mod documents;
mod editors;
mod export;
mod harness;
mod identity;
mod lists;
mod login_limits;
mod names;
mod passwords;
mod publishing;
mod requests;
mod sessions;
mod standing;
mod targets;
mod workflows;
