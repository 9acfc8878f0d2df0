//! What the committer is told to do, and what it answers. Invariant: a command says all that its effect depends on,
//! beside the rows.

use std::sync::Arc;

use chassis::Result;
use chassis::idempotency::RequestKey;
use model::graph::Graph;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::engine::{Actor, Answer, Call, Change, Execution, News, Resolution, Reuse, Signal};
use crate::store;

/// One thing to do.
#[derive(Debug, Clone)]
pub struct Command {
    pub target: Target,
    pub action: Action,
    /// Makes a repetition find what the first call did.
    pub request: Option<RequestKey>,
    pub actor: Actor,
}

/// To what.
#[derive(Debug, Clone)]
pub enum Target {
    New(Box<NewExecution>),
    Execution(Uuid),
    /// A job or a task.
    Wait(Uuid),
}

/// An execution that is to start.
#[derive(Debug, Clone, Default)]
pub struct NewExecution {
    pub workflow_id: Uuid,
    /// With `inputData`, if there is input.
    pub metadata: Option<Map<String, Value>>,
    /// A finished simulation and what it ran, to be stored as it is instead of run; or why there is none,
    /// unless the start repeats an earlier one.
    pub simulated: Option<Result<(Arc<Graph>, Execution, Change)>>,
    pub business_key: Option<BusinessKey>,
    pub origin: Origin,
}

/// What an execution is about, in its caller's words.
#[derive(Debug, Clone, PartialEq)]
pub struct BusinessKey {
    pub key: String,
    pub policy: KeyPolicy,
}

/// What a business key that was used before means for a start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KeyPolicy {
    /// Nothing.
    AllowDuplicate,
    /// It is refused while an execution with the key is open.
    RejectWhileRunning,
    /// It finds the open execution with the key.
    ReturnRunning,
    /// It is refused.
    RejectAlways,
}

/// Why an execution starts.
#[derive(Debug, Clone, Default)]
pub enum Origin {
    /// Somebody asked for it.
    #[default]
    Call,
    /// In place of another one that is over.
    Restart(Box<Restart>),
    /// It was time, by a schedule.
    Schedule(Uuid),
    /// A signal came for it, which it takes when it comes to that.
    Signal(Box<Signal>),
}

/// An execution that begins another one again.
#[derive(Debug, Clone)]
pub struct Restart {
    pub of: Uuid,
    /// The version that it runs, whichever is current.
    pub version: i32,
    pub reuse: Reuse,
}

impl Origin {
    /// The execution that it replaces.
    pub fn restarted_from(&self) -> Option<Uuid> {
        match self {
            Self::Restart(restart) => Some(restart.of),
            Self::Call | Self::Schedule(_) | Self::Signal(_) => None,
        }
    }

    /// The schedule that started it.
    pub fn schedule(&self) -> Option<Uuid> {
        match self {
            Self::Schedule(id) => Some(*id),
            Self::Call | Self::Restart(_) | Self::Signal(_) => None,
        }
    }

    /// The version that it runs; none if that is the current one.
    pub(super) fn version(&self) -> Option<i32> {
        match self {
            Self::Restart(restart) => Some(restart.version),
            Self::Call | Self::Schedule(_) | Self::Signal(_) => None,
        }
    }
}

/// What.
#[derive(Debug, Clone)]
pub enum Action {
    Start,
    /// The next slice of an execution that used one up.
    Resume,
    Cancel {
        reason: String,
        /// Whether what was done is undone first.
        compensate: bool,
    },
    /// What a person or a worker does.
    Answer(Answer),
    /// A named message for the execution.
    Signal(Signal),
    /// The same for a wait that waits for it.
    Deliver(Map<String, Value>),
    /// A wait takes the signal that was kept for it. Nothing happens if there is none.
    TakeKept,
    /// What an operator makes of an incident.
    Resolve(Resolution),
    /// An operator withdraws a branch; its step then counts as skipped, or the branch ends.
    Leave {
        reason: String,
        goes_on: bool,
    },
    /// The lock that a wait waits for is its own.
    Grant,
    /// The execution that a wait waits for is to start.
    Call(Call),
    /// What came of it.
    Hear(News),
    /// The instant of a wait has come. Nothing happens if it has not.
    Wake,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Done {
    pub execution_id: Uuid,
    /// The execution as it was committed, if this call started it: nobody has to read it again.
    pub born: Option<Box<store::executions::Execution>>,
}

impl From<Uuid> for Done {
    fn from(execution_id: Uuid) -> Self {
        Self {
            execution_id,
            born: None,
        }
    }
}
