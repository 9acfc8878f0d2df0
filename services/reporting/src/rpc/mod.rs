//! The gRPC services, one file each.
//! Invariant: what comes in is parsed here; nothing else sees a request.

pub mod events;
mod export;
pub mod insight;
pub mod proof;
mod query;
pub mod reports;
mod streams;
mod watch;
