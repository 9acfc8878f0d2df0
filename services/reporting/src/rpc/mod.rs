//! The gRPC services, one file each.
//! Invariant: what comes in is parsed here; nothing else sees a request.

pub mod events;
pub mod insight;
pub mod proof;
mod export;
mod query;
pub mod reports;
mod streams;
mod watch;
