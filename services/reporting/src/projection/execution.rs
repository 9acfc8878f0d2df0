//! The figures of one execution: what its report shows, and all that later events need to go on from.
//! Invariant: reading it back from JSON loses nothing, so it can be continued in any later batch.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use model::event::StepFinished;
use model::status::{ExecutionStatus, StepStatus};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::number::Millis;

/// `metrics` of an execution's report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionMetrics {
    /// RUNNING until it is over.
    pub status: String,
    /// From start to end, however it ended; null while it runs.
    pub execution_time: Option<Millis>,
    pub steps: BTreeMap<Uuid, StepMetrics>,
    pub transitions: BTreeMap<Uuid, Taken>,
}

/// One step within one execution: mostly a single activation, so its times are told by sum and mean alone.
/// There are as many of these rows as executions, and their size is what counting costs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepMetrics {
    pub activations: u64,
    pub completed: u64,
    pub failed: u64,
    pub skipped: u64,
    pub retries: u64,
    pub total_time: Option<Millis>,
    pub average_time: Option<Millis>,
}

/// How often a transition was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    pub taken: u64,
}

impl Default for ExecutionMetrics {
    fn default() -> Self {
        Self {
            status: ExecutionStatus::Running.to_string(),
            execution_time: None,
            steps: BTreeMap::new(),
            transitions: BTreeMap::new(),
        }
    }
}

impl ExecutionMetrics {
    pub fn add_step(&mut self, step: &StepFinished) {
        let figures = self.steps.entry(step.step_id).or_default();
        if step.attempt > 1 {
            figures.retries += 1;
        }
        if !step.will_retry {
            figures.add_activation(step);
        }
        for transition in taken(step) {
            self.transitions.entry(*transition).or_default().taken += 1;
        }
    }

    pub fn finish(&mut self, status: ExecutionStatus, micros: u64) {
        self.status = status.to_string();
        self.execution_time = Some(Millis(u128::from(micros)));
    }
}

impl StepMetrics {
    fn add_activation(&mut self, step: &StepFinished) {
        self.activations += 1;
        match step.status {
            StepStatus::Completed => self.add_time(Millis(u128::from(step_micros(step)))),
            StepStatus::Skipped => self.skipped += 1,
            _ => self.failed += 1,
        }
    }

    fn add_time(&mut self, time: Millis) {
        self.completed += 1;
        let total = Millis(self.total_time.map_or(0, |total| total.0) + time.0);
        self.total_time = Some(total);
        self.average_time = Millis::mean(total.0, self.completed);
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
