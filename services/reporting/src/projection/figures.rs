//! The figures that are added up, and what they are kept under.
//! Invariant: `merge` is exact, commutative and associative; the default is its neutral element.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::execution::Counts;
use super::phase::Phases;
use super::sketch::Sketch;

/// What one row of figures is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Grain {
    /// Executions; the key is their client.
    Execution,
    /// Executions by the UTC hour of their start; the key is 0 to 23, as a number.
    Hour,
    /// Activations of a step; the key is the step.
    Step,
    /// Uses of a transition; the key is the transition.
    Transition,
    /// Tasks by whose they are; the key is made from the group's name.
    Group,
}

impl Grain {
    const ALL: [Self; 5] = [
        Self::Execution,
        Self::Hour,
        Self::Step,
        Self::Transition,
        Self::Group,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Execution => "execution",
            Self::Hour => "hour",
            Self::Step => "step",
            Self::Transition => "transition",
            Self::Group => "group",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grain| grain.as_str() == word)
    }
}

/// What figures are kept under: the executions of one workflow that started on one UTC day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DayKey {
    pub workflow_id: Uuid,
    pub day: NaiveDate,
    /// Of the workflow, as the executions run it.
    pub version: i32,
    pub grain: Grain,
    pub key: Uuid,
}

/// What a row says beside its figures; the same whenever it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Label {
    pub client_id: Uuid,
    /// The step that a transition leaves.
    pub from_step_id: Option<Uuid>,
    /// The name of a group.
    pub group: Option<String>,
}

/// The key of a group's figures.
pub fn group_key(group: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, group.as_bytes())
}

/// The key of an hour's figures.
pub fn hour_key(hour: u32) -> Uuid {
    Uuid::from_u128(u128::from(hour))
}

/// The hour of a key; none, if it is not one.
pub fn hour_of(key: Uuid) -> Option<u32> {
    u32::try_from(key.as_u128()).ok().filter(|hour| *hour < 24)
}

/// Sums. Counts that a grain does not know stay 0 and are not written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Figures {
    /// Executions started, activations finished, or transitions taken.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub completed: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: u64,
    /// Executions only.
    #[serde(skip_serializing_if = "is_zero")]
    pub cancelled: u64,
    /// Activations only.
    #[serde(skip_serializing_if = "is_zero")]
    pub skipped: u64,
    /// Attempts beyond the first of an activation.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: u64,
    /// Activations only: attempts that an operator had to end.
    #[serde(skip_serializing_if = "is_zero")]
    pub incidents: u64,
    /// Transitions only: taken because nothing else held.
    #[serde(skip_serializing_if = "is_zero")]
    pub defaults: u64,
    /// Executions or activations that were done within their target.
    #[serde(skip_serializing_if = "is_zero")]
    pub targets_met: u64,
    /// Those that were not: too late, or failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub targets_missed: u64,
    #[serde(skip_serializing_if = "Times::is_empty")]
    pub times: Times,
    #[serde(skip_serializing_if = "Phases::is_empty")]
    pub phases: Phases,
}

impl Figures {
    pub fn merge(&mut self, other: &Self) {
        self.total += other.total;
        self.completed += other.completed;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.skipped += other.skipped;
        self.retries += other.retries;
        self.incidents += other.incidents;
        self.defaults += other.defaults;
        self.targets_met += other.targets_met;
        self.targets_missed += other.targets_missed;
        self.times.merge(&other.times);
        self.phases.merge(&other.phases);
    }

    /// Adds what happened to activations.
    pub fn add_counts(&mut self, counts: &Counts) {
        self.total += counts.activations;
        self.completed += counts.completed;
        self.failed += counts.failed;
        self.skipped += counts.skipped;
        self.retries += counts.retries;
        self.incidents += counts.incidents;
        self.targets_met += counts.targets_met;
        self.targets_missed += counts.targets_missed;
    }

    /// Adds what tasks come to: what happened to them in the end, and the time that people let them wait.
    pub fn add_tasks(&mut self, counts: &Counts, phases: &Phases) {
        self.total += counts.activations;
        self.completed += counts.completed;
        self.failed += counts.failed;
        self.skipped += counts.skipped;
        self.phases.merge(&phases.of_people());
    }

    /// Executions that are not over. A sum of whole executions never has more ends than starts.
    pub fn running(&self) -> u64 {
        self.total
            .saturating_sub(self.completed + self.failed + self.cancelled)
    }
}

/// Durations of what completed, in microseconds. Their count is the sketch's, and `completed`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Times {
    /// 128 bits: thousands of durations of centuries, as broken clocks make them, must not overflow.
    pub sum: u128,
    pub min: u64,
    pub max: u64,
    pub sketch: Sketch,
}

impl Times {
    pub fn add(&mut self, micros: u64) {
        self.widen(micros, micros);
        self.sum += u128::from(micros);
        self.sketch.add(micros);
    }

    pub fn merge(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        self.widen(other.min, other.max);
        self.sum += other.sum;
        self.sketch.merge(&other.sketch);
    }

    pub fn is_empty(&self) -> bool {
        self.sketch.is_empty()
    }

    /// The sketch's answer, held within what was observed.
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let answer = self.sketch.percentile(percent)?;
        Some(answer.clamp(self.min, self.max))
    }

    /// Must come before the sketch grows: emptiness is told by it.
    fn widen(&mut self, min: u64, max: u64) {
        self.min = if self.is_empty() {
            min
        } else {
            self.min.min(min)
        };
        self.max = self.max.max(max);
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
pub fn is_zero(count: &u64) -> bool {
    *count == 0
}
