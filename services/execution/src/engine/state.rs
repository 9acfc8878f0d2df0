//! What the engine knows of one execution. Invariant: every branch has a `Hold`, so an execution that is
//! not over can always say what it waits for.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use model::status::{ExecutionStatus, StepStatus};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::child::Parent;
use super::compensate::Closing;
use super::foreach::{Item, Loop};
use super::message::Message;
use super::reuse::Reuse;
use super::signal::Signal;

/// One execution as the engine sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    pub id: Uuid,
    pub workflow_id: Uuid,
    pub client_id: Uuid,
    pub version: i32,
    pub status: ExecutionStatus,
    pub started_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
    /// Why it failed or was cancelled.
    pub failure: Option<Failure>,
    /// The seq of the last event.
    pub event_count: i32,
    pub memory: Memory,
    pub context: Context,
    pub branches: Vec<Branch>,
}

/// What is kept of an open execution between commits, beside its branches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// The time of the last change: the next one is never earlier, whatever a clock says.
    pub last_at: DateTime<Utc>,
    /// The seq of the last log.
    pub log_count: i32,
    /// Arrivals at all steps together.
    pub activations: u32,
    /// Arrivals by step.
    pub arrivals: BTreeMap<Uuid, i32>,
    /// Logs whose outputs make up the context, in the order of completion.
    pub outputs: Vec<OutputRef>,
    /// Bytes of the input and of those outputs.
    pub context_bytes: usize,
    /// What judging has cost so far, in values touched.
    #[serde(default)]
    pub effort: u64,
    /// By the seq of a branch that waits at a join: how many have come there; absent means itself alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arrived: BTreeMap<i32, u32>,
    /// By the seq of a branch: the joins (as indices of steps) that have gone on without it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub late: BTreeMap<i32, Vec<usize>>,
    /// Signals that nobody has taken, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<Signal>,
    /// By the seq of a branch that waits for items: how far they have come.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub loops: BTreeMap<i32, Loop>,
    /// Steps that undo what was done, one for each activation; the last one comes first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to_undo: Vec<usize>,
    /// Set while what was done is being undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing: Option<Closing>,
    /// What a restarted execution may still take over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Reuse>,
    /// Set if another execution started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
}

impl Memory {
    /// Of an execution to which nothing has happened yet.
    pub fn new(at: DateTime<Utc>) -> Self {
        Self {
            last_at: at,
            log_count: 0,
            activations: 0,
            arrivals: BTreeMap::new(),
            outputs: Vec::new(),
            context_bytes: 0,
            effort: 0,
            arrived: BTreeMap::new(),
            late: BTreeMap::new(),
            signals: Vec::new(),
            loops: BTreeMap::new(),
            to_undo: Vec::new(),
            closing: None,
            reuse: None,
            parent: None,
        }
    }

    /// The seqs of logs whose outputs are needed to go on.
    pub fn shown(&self) -> impl Iterator<Item = i32> {
        let outputs = self.outputs.iter().map(|output| output.seq);
        let results = self.loops.values().flat_map(|at| at.results.values());
        outputs.chain(results.copied())
    }
}

/// A log whose output shows in the context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputRef {
    pub seq: i32,
    pub step_id: Uuid,
    /// Whether it is what `steps["…"].output` shows: the output of the step's latest completion.
    pub latest: bool,
    pub bytes: usize,
}

/// What conditions and expressions see.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Context {
    /// `inputData` overlaid by outputs, in the order of completion.
    pub data: Map<String, Value>,
    /// By step name: `{"output": {…}}` of its latest completion.
    pub steps: Map<String, Value>,
    /// By the seq of their logs: outputs of items, while their foreach is under way.
    pub kept: BTreeMap<i32, Map<String, Value>>,
}

impl Context {
    /// Lets an output show: later keys win.
    pub fn overlay(&mut self, step_name: &str, output: &Map<String, Value>, latest: bool) {
        for (key, value) in output {
            self.data.insert(key.clone(), value.clone());
        }
        if latest {
            let mut shown = Map::new();
            shown.insert("output".to_owned(), Value::Object(output.clone()));
            self.steps
                .insert(step_name.to_owned(), Value::Object(shown));
        }
    }
}

/// One active branch: an attempt at a step that is not over.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch {
    /// The attempt's log, wait, and job or task. Nil until the committer has given it one.
    pub id: Uuid,
    pub seq: i32,
    /// Index of the step in the definition.
    pub step: usize,
    pub activation: i32,
    pub attempt: i32,
    /// The seq of the attempt whose end led to this one; none where it was read from the tables, whose log
    /// tells it.
    pub from: Option<i32>,
    pub times: Times,
    pub hold: Hold,
    /// What the step is done for, within a foreach.
    pub item: Option<Item>,
    /// The lock that it holds, or waits for.
    pub lock: Option<String>,
}

/// When an attempt became what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Times {
    /// When the activation's first attempt became visible: the total retry budget runs from here.
    pub arrived_at: DateTime<Utc>,
    pub queued_at: DateTime<Utc>,
    pub available_at: DateTime<Utc>,
    pub assigned_at: Option<DateTime<Utc>>,
    pub started_at: DateTime<Utc>,
}

/// What a branch waits for.
#[derive(Debug, Clone, PartialEq)]
pub enum Hold {
    /// Nothing. Starts when a slice ends; ended by the next slice.
    Runnable,
    /// A worker. Starts when a job step is reached or retried; ended by an answer or `wake_at`.
    Job {
        job_type: String,
        /// `principal/worker` while leased. Leases are given and extended without the engine.
        held_by: Option<String>,
        lease_until: Option<DateTime<Utc>>,
        /// Timeout, queue timeout or end of lease, whichever comes first.
        wake_at: Option<DateTime<Utc>>,
    },
    /// A person. Starts when an approval or data entry is reached; ended by a decision or `due_at`.
    Person {
        claimed_by: Option<String>,
        due_at: Option<DateTime<Utc>>,
    },
    /// An instant. Starts when a wait step is reached; ended by the clock.
    Timer { until: DateTime<Utc> },
    /// Other branches. Starts when the first one comes to a join; ended when enough have come, when no other
    /// can, or by `due_at`.
    Join { due_at: Option<DateTime<Utc>> },
    /// A named message. Starts when a signal step is reached and none was kept for it; ended by the message
    /// or `due_at`.
    Signal {
        name: String,
        correlation: Option<String>,
        due_at: Option<DateTime<Utc>>,
    },
    /// The items of a foreach. Starts when such a step is reached; ended when enough have been completed, when
    /// too many have failed, or by `due_at`.
    Items { due_at: Option<DateTime<Utc>> },
    /// A lock. Starts when a step that needs one is reached; ended when it is given, or by `due_at`.
    Lock { due_at: Option<DateTime<Utc>> },
    /// An execution that has the branch's id. Starts when a subworkflow step is reached or retried; ended by that
    /// execution's end, by its start if that is enough, by its refusal or by `due_at`.
    Child { due_at: Option<DateTime<Utc>> },
    /// An operator. Starts when a step that parks has failed for good; ended by a resolution.
    Incident { failure: Failure },
}

impl Hold {
    /// The next instant at which the engine acts by itself.
    pub fn wake_at(&self, since: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Runnable => Some(since),
            Self::Job { wake_at, .. } => *wake_at,
            Self::Person { due_at, .. }
            | Self::Join { due_at }
            | Self::Items { due_at }
            | Self::Lock { due_at }
            | Self::Signal { due_at, .. }
            | Self::Child { due_at } => *due_at,
            Self::Timer { until } => Some(*until),
            Self::Incident { .. } => None,
        }
    }
}

/// Why an attempt or an execution failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable UPPER_SNAKE word, or a worker's own.
    pub code: String,
    pub message: String,
}

impl Failure {
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
        }
    }
}

/// A log row as the engine leaves it.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// Nil if the row is new.
    pub id: Uuid,
    pub seq: i32,
    pub step_id: Uuid,
    pub status: StepStatus,
    pub activation: i32,
    pub attempt: i32,
    /// Which item of a foreach it was for, from 0.
    pub item_index: Option<i32>,
    pub times: Times,
    pub completed_at: Option<DateTime<Utc>>,
    pub message: Option<String>,
    pub data: Option<Map<String, Value>>,
    pub failure: Option<Failure>,
    pub route: Option<Value>,
    pub will_retry: bool,
    /// Whether the attempt is an incident.
    pub incident: bool,
    /// Whether the execution that this one was restarted from did it.
    pub taken_over: bool,
    /// Set with the final status.
    pub event_seq: Option<i32>,
    /// The seq of the attempt whose end led to this one; counts only when the row is new.
    pub from: Option<i32>,
}

/// An effect that a committed change asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    pub step_id: Uuid,
    pub notification_type: String,
    pub template: Option<String>,
    pub recipients: Vec<String>,
}

/// What one or more commands changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// Rows that are new or changed, by seq.
    pub logs: BTreeMap<i32, Log>,
    pub notifications: Vec<Notification>,
    /// What is asked of other executions.
    pub messages: Vec<Message>,
    /// Final logs in the order of their events.
    pub finished: Vec<i32>,
}
