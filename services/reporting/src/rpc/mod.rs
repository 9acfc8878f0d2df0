//! The gRPC services, one file each.
//! Invariant: what comes in is parsed here; nothing else sees a request.

pub mod events;
pub mod insight;
pub mod proof;
pub mod reports;
