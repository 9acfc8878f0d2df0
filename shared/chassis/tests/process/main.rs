//! A real server, a real client and a real database, and what happens when one of them gives up.

mod database;
mod fixture;
mod server;
mod stop;
