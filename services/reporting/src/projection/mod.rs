//! What the reports say, computed from events and nothing else.
//! Invariant: pure. Every figure is an integer and every merge an addition, so neither order, nor grouping,
//! nor repetition of the work can change a report.

pub mod execution;
pub mod figures;
pub mod fold;
pub mod metrics;
pub mod number;
pub mod period;
pub mod phase;
pub mod sketch;
pub mod summary;

#[cfg(test)]
mod properties;
