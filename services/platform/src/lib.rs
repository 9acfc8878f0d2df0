//! The three services in one process, or one of them: wiring only, no rule lives here.
//!
//! Invariant: a process either serves everything it was started for or exits.

mod admin;
pub mod all;
mod bench;
pub mod cli;
pub mod client;
mod config;
pub mod demo;
mod health;
mod listen;
mod screen;
mod services;

pub use admin::Admin;
pub use all::{Running, start};
pub use config::AllConfig;
pub use services::Addresses;
