//! The semantics of executions, as a pure function: no I/O, no clock, no randomness.
//! Invariant: a refused command changes nothing, and a final status never changes.

mod answer;
mod child;
mod compensate;
mod foreach;
mod incident;
mod join;
mod lease;
mod leave;
mod lock;
mod message;
mod reuse;
mod route;
mod run;
mod settle;
mod signal;
mod state;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use model::effort::Effort;
use model::graph::Graph;
use model::json;
use model::status::ExecutionStatus;
use serde_json::{Map, Value};
use uuid::Uuid;

pub use answer::{Actor, Answer, Decision};
pub use child::{Call, Ending, News, Parent};
pub use foreach::Item;
pub use incident::{PARKED, Resolution};
pub use lease::{is_up, lease};
pub use leave::LEFT;
pub use message::Message;
pub use reuse::{Past, Reuse};
pub use settle::Outcome;
pub use signal::{MOST_KEPT as MOST_SIGNALS, Signal};
pub use state::{Branch, Change, Context, Execution, Failure, Hold, Log, Memory, Times};

/// Activations that one command may run before the branches queue themselves: cancel and limits apply
/// between slices.
pub const SLICE: u32 = 200;
/// Activations that one execution may have.
pub const MAX_ACTIVATIONS: u32 = 10_000;
/// Values that the conditions and expressions of one activation may touch, about a third of a second;
/// a slice that has touched as many ends early.
const ACTIVATION_EFFORT: u64 = 200_000;
/// Values that an execution may touch in its whole life.
const MAX_EFFORT: u64 = 20_000_000;
/// Bytes of input and visible outputs together, as `model::json` counts them.
pub const MAX_CONTEXT_BYTES: usize = 1024 * 1024;

/// What the engine is told.
#[derive(Debug, Clone)]
pub enum Command {
    /// Begin at the start step.
    Start,
    /// Go on with what the last slice left.
    Resume,
    /// The instant of a branch's `wake_at` has come.
    Wake { seq: i32 },
    /// A person or a worker acts on a branch.
    Answer {
        seq: i32,
        actor: Actor,
        answer: Answer,
    },
    /// A named message for whoever waits for it here, or will.
    Signal(Signal),
    /// The same for this branch only.
    Deliver { seq: i32, data: Map<String, Value> },
    /// The lock that a branch waits for is its own.
    Grant { seq: i32 },
    /// An operator ends an incident.
    Resolve {
        seq: i32,
        actor: Actor,
        resolution: Resolution,
    },
    /// An operator withdraws a branch; with `goes_on` its step counts as skipped.
    Leave {
        seq: i32,
        actor: Actor,
        reason: String,
        goes_on: bool,
    },
    /// A branch hears of the execution that it asked for.
    Hear { seq: i32, news: News },
    /// A branch ends, whoever decided it: used by simulations.
    Settle { seq: i32, outcome: Outcome },
    /// End the execution as CANCELLED, at once or after undoing what was done.
    Cancel { reason: String, compensate: bool },
}

/// Why a command was not obeyed. Nothing changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("the execution is over: {0}")]
    ExecutionFinished(ExecutionStatus),
    #[error("the branch has moved on")]
    BranchGone,
    #[error("nothing is due yet")]
    NotDue,
    #[error("the job is not held by this worker, or its lease has ended")]
    JobNotHeld,
    #[error("this is not a task")]
    NotATask,
    #[error("this is not a job")]
    NotAJob,
    #[error("a step of type {step_type} is not {wrong}: {right}")]
    WrongAnswer {
        step_type: &'static str,
        wrong: &'static str,
        right: &'static str,
    },
    #[error("the task is open to {0}")]
    NotYourTask(String),
    #[error("the task is claimed by {0}")]
    TaskClaimed(String),
    #[error("the task is not claimed by you")]
    NotClaimed,
    #[error("the execution is being undone and will be {0}")]
    Closing(ExecutionStatus),
    #[error("people decide this step: a retry reopens its task")]
    PeopleDecide,
    #[error("this is not an incident")]
    NotAnIncident,
    #[error("input and outputs together would exceed {MAX_CONTEXT_BYTES} bytes")]
    ContextFull,
    #[error(
        "the execution keeps {MOST_SIGNALS} signals, or 256 KiB of them, that nobody has taken"
    )]
    TooManySignals,
}

/// A new execution, before its first step.
pub fn begin(graph: &Graph, id: Uuid, input: Map<String, Value>, now: DateTime<Utc>) -> Execution {
    let definition = &graph.definition;
    Execution {
        id,
        workflow_id: definition.workflow_id,
        client_id: definition.client_id,
        version: definition.version,
        status: ExecutionStatus::Pending,
        started_at: now,
        completed_at: None,
        failure: None,
        // The event of the start itself.
        event_count: 1,
        memory: Memory {
            context_bytes: json::measure(&input, json::INPUT).unwrap_or(json::INPUT.bytes),
            ..Memory::new(now)
        },
        context: Context {
            data: input,
            steps: Map::new(),
            kept: Default::default(),
        },
        branches: Vec::new(),
    }
}

/// Applies one command: moves `execution` as far as it goes without waiting, and adds what changed to
/// `change`. `now` is the database's time; it is raised to the execution's last change.
pub fn advance(
    graph: &Graph,
    execution: &mut Execution,
    command: Command,
    now: DateTime<Utc>,
    change: &mut Change,
) -> Result<(), Refusal> {
    if execution.status.is_final() {
        return Err(Refusal::ExecutionFinished(execution.status));
    }
    // Leases are given without the engine, perhaps between the reading of the clock and that of the branch.
    let taken_up = execution
        .branches
        .iter()
        .map(|branch| branch.times.started_at);
    let latest = taken_up.fold(execution.memory.last_at, DateTime::max);
    let mut step = Step {
        now: now.max(latest),
        graph,
        execution,
        change,
        budget: SLICE,
        effort: Effort::new(ACTIVATION_EFFORT),
        slice_effort: 0,
    };
    match command {
        Command::Start => step.start(),
        Command::Resume => {}
        Command::Wake { seq } => step.wake(seq)?,
        Command::Answer { seq, actor, answer } => step.answer(seq, &actor, answer)?,
        Command::Grant { seq } => step.grant(seq)?,
        Command::Signal(signal) => step.signal(signal)?,
        Command::Deliver { seq, data } => {
            step.check_room(&data)?;
            step.deliver(seq, data)?;
        }
        Command::Resolve {
            seq,
            actor,
            resolution,
        } => step.resolve(seq, &actor, resolution)?,
        Command::Leave {
            seq,
            actor,
            reason,
            goes_on,
        } => step.leave(seq, &actor, &reason, goes_on)?,
        Command::Hear { seq, news } => step.hear(seq, news)?,
        Command::Settle { seq, outcome } => {
            let branch = step.take(seq)?;
            step.settle(branch, outcome);
        }
        Command::Cancel { reason, compensate } => step.cancel(reason, compensate)?,
    }
    step.run_ready();
    step.execution.memory.last_at = step.now;
    Ok(())
}

/// One call of `advance`.
struct Step<'a> {
    graph: &'a Graph,
    execution: &'a mut Execution,
    change: &'a mut Change,
    now: DateTime<Utc>,
    /// Activations left in this slice.
    budget: u32,
    /// What judging may cost until the next activation.
    effort: Effort,
    /// What judging has cost in this slice.
    slice_effort: u64,
}
