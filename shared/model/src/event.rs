//! What happened to an execution, as reporting is told. Invariant: events carry no input, output or
//! comment, and are a pure function of stored rows.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::status::{ExecutionStatus, StepStatus};

/// Consecutive events of one execution, of one commit or of its whole history.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutionEvents {
    pub execution_id: Uuid,
    pub workflow_id: Uuid,
    pub client_id: Uuid,
    pub workflow_version: i32,
    /// Decides the period that the execution is counted in.
    pub started_at: DateTime<Utc>,
    /// Number of the first event, from 1; the others follow without gaps.
    pub first_seq: i32,
    pub events: Vec<Event>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The execution was accepted. Always the first.
    Started,
    /// An attempt at a step reached its final status.
    StepFinished(StepFinished),
    /// The execution reached its final status. Always the last.
    Finished {
        status: ExecutionStatus,
        completed_at: DateTime<Utc>,
        /// Within which time it should have been over.
        target: Option<Duration>,
    },
}

/// An attempt at a step reached its final status.
#[derive(Debug, Clone, PartialEq)]
pub struct StepFinished {
    pub step_id: Uuid,
    /// A final one.
    pub status: StepStatus,
    /// Which arrival at the step, from 1.
    pub activation: i32,
    /// Which attempt of that activation, from 1.
    pub attempt: i32,
    /// When the attempt became visible.
    pub queued_at: DateTime<Utc>,
    /// From when on it could be worked on; later than `queued_at` for a retry that backs off.
    pub available_at: DateTime<Utc>,
    /// Whether it waited for a lock until then.
    pub locked: bool,
    /// When a worker leased it or a person claimed it.
    pub assigned_at: Option<DateTime<Utc>>,
    pub completed_at: DateTime<Utc>,
    /// Why it failed, as a stable word.
    pub error_code: Option<String>,
    pub taken_transition_ids: Vec<Uuid>,
    /// Whether the one transition taken is the default.
    pub took_default: bool,
    /// Whether the same activation goes on with another attempt.
    pub will_retry: bool,
    /// What its time is spent on.
    pub cause: Cause,
    /// Whose task it is; people's steps only, and only if the step names a group.
    pub group: Option<String>,
    /// Within which time an activation should be done.
    pub target: Option<Duration>,
    /// Whether the execution that this one was restarted from did it.
    pub taken_over: bool,
}

/// What an attempt's time is spent on from when it could be worked on. Before that it backs off, or waits
/// for its lock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cause {
    /// The engine does it: mostly no time at all.
    #[default]
    Engine,
    /// A worker: nobody has it yet, then somebody works on it.
    Job,
    /// A person: nobody has claimed it yet, then somebody has.
    Person,
    /// An instant.
    Timer,
    /// A message.
    Signal,
    /// Other branches.
    Join,
    /// Other executions, or the items of a list.
    Children,
    /// An operator.
    Incident,
}
