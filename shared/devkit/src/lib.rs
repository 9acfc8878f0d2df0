//! What a laptop and a test need instead of an installed server: a private PostgreSQL and throw-away databases.
//!
//! Invariant: a data folder has at most one server, and that server never outlives the process that started it.

mod account;
mod binaries;
mod cluster;
mod database;
mod fetch;
mod fixtures;
mod keeper;
mod postgres;

pub use cluster::Durability;
pub use database::Database;
pub use fixtures::Folder;
pub use postgres::{Options, Postgres};
