//! The figures of one execution: what its report shows, and all that later events need to go on from.
//! Invariant: reading it back from JSON loses nothing, so it can be continued in any later batch, and what it
//! adds to the sums can be told from it alone.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use model::event::{Cause, StepFinished};
use model::status::{ExecutionStatus, StepStatus};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::figures::{Times, is_zero};
use super::number::Millis;
use super::phase::{Phases, in_millis};
use super::sketch::Sketch;

/// `metrics` of an execution's report. There are as many of these rows as executions, and their size is what
/// counting costs: what is 0 is not written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionMetrics {
    /// RUNNING until it is over.
    pub status: String,
    #[serde(default)]
    pub workflow_version: i32,
    #[serde(default)]
    pub client_id: Uuid,
    /// From start to end, however it ended; null while it runs.
    pub execution_time: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_met: Option<bool>,
    pub steps: BTreeMap<Uuid, StepMetrics>,
    pub transitions: BTreeMap<Uuid, Taken>,
}

/// One step within one execution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct StepMetrics {
    pub counts: Counts,
    pub times: Times,
    pub phases: Phases,
    /// Whose tasks they are; empty if every user may decide. People's steps only.
    pub group: Option<String>,
    /// When activations that go on with another attempt began, if there is a target to hold against it.
    pub open: BTreeMap<i32, DateTime<Utc>>,
}

/// What happened to the activations of a step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counts {
    #[serde(skip_serializing_if = "is_zero")]
    pub activations: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub completed: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub skipped: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub incidents: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub targets_met: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub targets_missed: u64,
}

/// How often a transition was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Taken {
    #[serde(default)]
    pub from_step_id: Uuid,
    pub taken: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub taken_as_default: u64,
}

impl ExecutionMetrics {
    pub fn new(workflow_version: i32, client_id: Uuid) -> Self {
        Self {
            status: ExecutionStatus::Running.to_string(),
            workflow_version,
            client_id,
            execution_time: None,
            target_met: None,
            steps: BTreeMap::new(),
            transitions: BTreeMap::new(),
        }
    }
}

impl StepMetrics {
    /// Counts an attempt; returns what was added.
    pub fn add(&mut self, step: &StepFinished) -> Added {
        let mut added = Added {
            counts: Counts {
                retries: u64::from(step.attempt > 1),
                incidents: u64::from(step.cause == Cause::Incident),
                ..Counts::default()
            },
            micros: None,
            phases: Phases::of(step),
        };
        if step.cause == Cause::Person && self.group.is_none() {
            self.group = Some(step.group.clone().unwrap_or_default());
        }
        if !step.will_retry {
            let since = self.open.remove(&step.activation);
            added.end(step, since.unwrap_or(step.queued_at));
        } else if step.target.is_some() {
            self.open.entry(step.activation).or_insert(step.queued_at);
        }
        self.counts.merge(&added.counts);
        self.phases.merge(&added.phases);
        if let Some(micros) = added.micros {
            self.times.add(micros);
        }
        added
    }
}

/// What one attempt adds to the figures of its step.
pub struct Added {
    pub counts: Counts,
    /// The time of a completed activation.
    pub micros: Option<u64>,
    pub phases: Phases,
}

impl Added {
    /// The attempt was the last one of its activation, which began at `since`.
    fn end(&mut self, step: &StepFinished, since: DateTime<Utc>) {
        let counts = &mut self.counts;
        counts.activations = 1;
        match step.status {
            StepStatus::Completed => {
                counts.completed = 1;
                self.micros = Some(step_micros(step));
            }
            StepStatus::Skipped => counts.skipped = 1,
            _ => counts.failed = 1,
        }
        let spent = u128::from(micros_between(since, step.completed_at));
        let is_met = step.target.map(|target| spent <= target.as_micros());
        match (is_met, step.status) {
            (Some(true), StepStatus::Completed) => counts.targets_met = 1,
            (None, _) | (_, StepStatus::Skipped) => {}
            _ => counts.targets_missed = 1,
        }
    }
}

impl Counts {
    pub fn merge(&mut self, other: &Self) {
        self.activations += other.activations;
        self.completed += other.completed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.retries += other.retries;
        self.incidents += other.incidents;
        self.targets_met += other.targets_met;
        self.targets_missed += other.targets_missed;
    }
}

/// A step as JSON. The times of a single activation are told by their sum alone.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    #[serde(flatten)]
    counts: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_time: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    average_time: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_time: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_time: Option<Millis>,
    #[serde(skip_serializing_if = "Sketch::is_empty")]
    time_buckets: Sketch,
    #[serde(skip_serializing_if = "Phases::is_empty", with = "in_millis")]
    phases: Phases,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    open: BTreeMap<i32, DateTime<Utc>>,
}

impl From<StepMetrics> for Written {
    fn from(step: StepMetrics) -> Self {
        let StepMetrics { times, counts, .. } = step;
        let several = counts.completed > 1;
        let exact = |micros: u64| several.then(|| Millis(u128::from(micros)));
        Self {
            total_time: (counts.completed > 0).then_some(Millis(times.sum)),
            average_time: Millis::mean(times.sum, counts.completed).filter(|_| several),
            min_time: exact(times.min),
            max_time: exact(times.max),
            time_buckets: if several {
                times.sketch
            } else {
                Sketch::default()
            },
            phases: step.phases,
            group: step.group,
            open: step.open,
            counts,
        }
    }
}

impl From<Written> for StepMetrics {
    fn from(written: Written) -> Self {
        let micros = |time: Option<Millis>| {
            time.and_then(|time| u64::try_from(time.0).ok())
                .unwrap_or_default()
        };
        let mut times = Times::default();
        if written.counts.completed == 1 {
            times.add(micros(written.total_time));
        } else {
            times = Times {
                sum: written.total_time.map_or(0, |total| total.0),
                min: micros(written.min_time),
                max: micros(written.max_time),
                sketch: written.time_buckets,
            };
        }
        Self {
            counts: written.counts,
            times,
            phases: written.phases,
            group: written.group,
            open: written.open,
        }
    }
}

/// The transitions it took. Steps that follow each other without any transition are joined by edges of nil
/// id, which are nothing to report on.
pub fn taken(step: &StepFinished) -> impl Iterator<Item = &Uuid> {
    step.taken_transition_ids.iter().filter(|id| !id.is_nil())
}

/// From reachable to done: the completing attempt's own time, without waiting for earlier attempts and
/// their back-off.
pub fn step_micros(step: &StepFinished) -> u64 {
    micros_between(step.available_at, step.completed_at)
}

/// Never negative, whatever the clocks said.
pub fn micros_between(from: DateTime<Utc>, to: DateTime<Utc>) -> u64 {
    u64::try_from(
        to.timestamp_micros()
            .saturating_sub(from.timestamp_micros()),
    )
    .unwrap_or(0)
}
