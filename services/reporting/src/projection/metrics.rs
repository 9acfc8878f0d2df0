//! The metrics of a period's report, derived from sums of day figures.
//! Invariant: a function of the sums alone, without clock or order, so a rebuilt report is equal to the letter.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use super::execution::Taken;
use super::figures::{Figures, Grain, Times};
use super::number::{Millis, rate};

/// `metrics` of a daily, weekly or monthly report.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeriodMetrics {
    pub total_executions: u64,
    pub completed_executions: u64,
    pub failed_executions: u64,
    pub cancelled_executions: u64,
    pub running_executions: u64,
    pub success_rate: Option<f64>,
    pub average_execution_time: Option<Millis>,
    pub min_execution_time: Option<Millis>,
    pub max_execution_time: Option<Millis>,
    pub p50_execution_time: Option<Millis>,
    pub p95_execution_time: Option<Millis>,
    pub p99_execution_time: Option<Millis>,
    pub steps: BTreeMap<Uuid, PeriodStep>,
    pub transitions: BTreeMap<Uuid, Taken>,
}

/// One step within a period.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeriodStep {
    pub activations: u64,
    pub completed: u64,
    pub failed: u64,
    pub skipped: u64,
    pub retries: u64,
    pub average_time: Option<Millis>,
    pub min_time: Option<Millis>,
    pub max_time: Option<Millis>,
    pub p50_time: Option<Millis>,
    pub p95_time: Option<Millis>,
    pub p99_time: Option<Millis>,
}

/// What is shown of durations. All of them are absent, or none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Durations {
    pub average: Option<Millis>,
    pub min: Option<Millis>,
    pub max: Option<Millis>,
    pub p50: Option<Millis>,
    pub p95: Option<Millis>,
    pub p99: Option<Millis>,
}

/// Sums of one period, by what they are about.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sums {
    pub executions: Figures,
    pub steps: BTreeMap<Uuid, Figures>,
    pub transitions: BTreeMap<Uuid, Figures>,
}

impl Sums {
    pub fn add(&mut self, grain: Grain, key: Uuid, figures: &Figures) {
        match grain {
            Grain::Execution => self.executions.merge(figures),
            Grain::Step => self.steps.entry(key).or_default().merge(figures),
            Grain::Transition => self.transitions.entry(key).or_default().merge(figures),
        }
    }

    pub fn metrics(&self) -> PeriodMetrics {
        let figures = &self.executions;
        let times = Durations::of(&figures.times, figures.completed);
        PeriodMetrics {
            total_executions: figures.total,
            completed_executions: figures.completed,
            failed_executions: figures.failed,
            cancelled_executions: figures.cancelled,
            running_executions: figures.running(),
            success_rate: rate(figures.completed, figures.completed + figures.failed),
            average_execution_time: times.average,
            min_execution_time: times.min,
            max_execution_time: times.max,
            p50_execution_time: times.p50,
            p95_execution_time: times.p95,
            p99_execution_time: times.p99,
            steps: self
                .steps
                .iter()
                .map(|(id, step)| (*id, PeriodStep::of(step)))
                .collect(),
            transitions: self
                .transitions
                .iter()
                .map(|(id, taken)| (*id, Taken { taken: taken.total }))
                .collect(),
        }
    }
}

impl PeriodStep {
    fn of(figures: &Figures) -> Self {
        let times = Durations::of(&figures.times, figures.completed);
        Self {
            activations: figures.total,
            completed: figures.completed,
            failed: figures.failed,
            skipped: figures.skipped,
            retries: figures.retries,
            average_time: times.average,
            min_time: times.min,
            max_time: times.max,
            p50_time: times.p50,
            p95_time: times.p95,
            p99_time: times.p99,
        }
    }
}

impl Durations {
    pub fn of(times: &Times, completed: u64) -> Self {
        let observed = |micros: u64| (!times.is_empty()).then(|| Millis(u128::from(micros)));
        let percentile = |percent| times.percentile(percent).and_then(observed);
        Self {
            average: Millis::mean(times.sum, completed),
            min: observed(times.min),
            max: observed(times.max),
            p50: percentile(50),
            p95: percentile(95),
            p99: percentile(99),
        }
    }
}
