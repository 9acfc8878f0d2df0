//! The figures that are added up, and what they are kept under.
//! Invariant: `merge` is exact, commutative and associative; the default is its neutral element.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::sketch::Sketch;

/// What one row of day figures is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Grain {
    /// Executions; the key is their client.
    Execution,
    /// Activations of a step; the key is the step.
    Step,
    /// Uses of a transition; the key is the transition.
    Transition,
}

impl Grain {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Execution => "execution",
            Self::Step => "step",
            Self::Transition => "transition",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Execution, Self::Step, Self::Transition]
            .into_iter()
            .find(|grain| grain.as_str() == word)
    }
}

/// What figures are kept under: the executions of one workflow that started on one UTC day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DayKey {
    pub workflow_id: Uuid,
    pub day: NaiveDate,
    pub grain: Grain,
    pub key: Uuid,
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
    #[serde(skip_serializing_if = "Times::is_empty")]
    pub times: Times,
}

impl Figures {
    pub fn merge(&mut self, other: &Self) {
        self.total += other.total;
        self.completed += other.completed;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.skipped += other.skipped;
        self.retries += other.retries;
        self.times.merge(&other.times);
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
fn is_zero(count: &u64) -> bool {
    *count == 0
}
