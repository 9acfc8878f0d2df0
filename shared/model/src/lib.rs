//! What more than one service must understand of workflows: definitions, the parsed graph, conditions,
//! durations, events, statuses. Invariant: everything here is a pure function of its arguments — no I/O,
//! no async, no clock, no SQL.

pub mod cel;
pub mod condition;
pub mod definition;
pub mod duration;
pub mod effort;
pub mod event;
pub mod graph;
pub mod instant;
pub mod json;
pub mod kind;
pub mod known;
mod pattern;
pub mod problem;
pub mod retry;
pub mod scope;
pub mod status;
pub mod text;
pub mod wire;
