//! All SQL of this service. Invariant: no statement stands anywhere else.

pub mod bulk;
pub mod business_keys;
pub mod commands;
pub mod contexts;
pub mod executions;
pub mod exports;
pub mod imports;
pub mod jobs;
pub mod kept_signals;
pub mod load;
pub mod locks;
pub mod logs;
pub mod notifications;
pub mod outbox;
pub mod records;
pub mod requests;
pub mod restarts;
pub mod retention;
pub mod schedules;
pub mod stuck;
pub mod tasks;
#[cfg(test)]
mod tests;
pub mod write;
