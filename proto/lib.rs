//! The contract, generated from the `.proto` files beside this one. Nothing here is written by hand.
#![expect(
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]

pub mod catalog {
    pub mod v1 {
        tonic::include_proto!("workflow.catalog.v1");
    }
}

pub mod execution {
    pub mod v1 {
        tonic::include_proto!("workflow.execution.v1");
    }
}

pub mod reporting {
    pub mod v1 {
        tonic::include_proto!("workflow.reporting.v1");
    }
}

/// The encoded descriptors of every file above, comments included.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
