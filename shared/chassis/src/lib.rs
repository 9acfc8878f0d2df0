//! How a process of the platform lives: it starts, listens, knows who calls, reaches its database and
//! its peers, reports failures, and stops. Nothing here knows what a workflow is.

pub mod auth;
pub mod bootstrap;
pub mod client;
pub mod clock;
pub mod config;
pub mod db;
mod deadline;
pub mod error;
#[cfg(feature = "faults")]
pub mod fault;
pub mod filter;
pub mod idempotency;
pub mod input;
pub mod mask;
pub mod order;
pub mod page;
pub mod server;
pub mod shutdown;
pub mod telemetry;

pub use error::{Error, Result, Violation};
/// What a large future is handed on as, from one crate to another: a plain one is compiled anew, with all
/// that it awaits, in every crate that awaits it.
pub use futures_util::future::BoxFuture;
pub use shutdown::Shutdown;

/// A point at which the fault suite can kill or pause the process; nothing in any other build.
#[cfg(feature = "faults")]
#[macro_export]
macro_rules! fail_point {
    ($name:literal) => {
        $crate::fault::reach($name).await
    };
}

#[cfg(not(feature = "faults"))]
#[macro_export]
macro_rules! fail_point {
    ($name:literal) => {};
}
