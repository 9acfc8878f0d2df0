//! The metrics of a period's report, derived from sums of day figures.
//! Invariant: a function of the sums alone, without clock or order, so a rebuilt report is equal to the letter.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use super::figures::{DayKey, Figures, Grain, Label, Times};
use super::number::{Millis, rate};
use super::phase::{Phase, Phases, in_millis};

/// `metrics` of a daily, weekly or monthly report.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeriodMetrics {
    #[serde(flatten)]
    pub executions: Executions,
    /// Where the time of all steps went.
    #[serde(with = "in_millis")]
    pub phases: Phases,
    pub incidents: u64,
    pub average_incident_time: Option<Millis>,
    pub versions: BTreeMap<i32, Executions>,
    pub steps: BTreeMap<Uuid, PeriodStep>,
    pub transitions: BTreeMap<Uuid, PeriodTransition>,
    pub groups: BTreeMap<String, PeriodGroup>,
}

/// What is told of executions, as a whole and of one version.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Executions {
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
    pub p90_execution_time: Option<Millis>,
    pub p95_execution_time: Option<Millis>,
    pub p99_execution_time: Option<Millis>,
    pub targets_met: u64,
    pub targets_missed: u64,
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
    pub p90_time: Option<Millis>,
    pub p95_time: Option<Millis>,
    pub p99_time: Option<Millis>,
    #[serde(with = "in_millis")]
    pub phases: Phases,
    pub incidents: u64,
    pub average_incident_time: Option<Millis>,
    pub targets_met: u64,
    pub targets_missed: u64,
}

/// One transition within a period.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeriodTransition {
    pub from_step_id: Option<Uuid>,
    pub taken: u64,
    pub share: Option<f64>,
    pub default_share: Option<f64>,
}

/// The tasks of one group within a period.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeriodGroup {
    pub tasks: u64,
    pub completed: u64,
    pub failed: u64,
    pub skipped: u64,
    pub unassigned_time: Millis,
    pub person_time: Millis,
    pub average_unassigned_time: Option<Millis>,
    pub average_person_time: Option<Millis>,
}

/// What is shown of durations. All of them are absent, or none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Durations {
    pub average: Option<Millis>,
    pub min: Option<Millis>,
    pub max: Option<Millis>,
    pub p50: Option<Millis>,
    pub p90: Option<Millis>,
    pub p95: Option<Millis>,
    pub p99: Option<Millis>,
}

/// Sums of one period, by what they are about.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sums {
    pub executions: Figures,
    pub versions: BTreeMap<i32, Figures>,
    pub steps: BTreeMap<Uuid, Figures>,
    /// With the step that each leaves.
    pub transitions: BTreeMap<Uuid, (Option<Uuid>, Figures)>,
    pub groups: BTreeMap<String, Figures>,
}

impl Sums {
    pub fn add(&mut self, key: &DayKey, label: &Label, figures: &Figures) {
        match key.grain {
            Grain::Execution => {
                self.executions.merge(figures);
                self.versions.entry(key.version).or_default().merge(figures);
            }
            // The same executions once more.
            Grain::Hour => {}
            Grain::Step => self.steps.entry(key.key).or_default().merge(figures),
            Grain::Transition => {
                let (from, sum) = self.transitions.entry(key.key).or_default();
                // The versions of a workflow may differ: the least one, whichever comes first.
                *from = [*from, label.from_step_id].into_iter().flatten().min();
                sum.merge(figures);
            }
            Grain::Group => {
                let group = label.group.clone().unwrap_or_default();
                self.groups.entry(group).or_default().merge(figures);
            }
        }
    }

    pub fn metrics(&self) -> PeriodMetrics {
        let mut all_steps = Figures::default();
        for step in self.steps.values() {
            all_steps.incidents += step.incidents;
            all_steps.phases.merge(&step.phases);
        }
        let steps = self.steps.iter();
        let versions = self.versions.iter();
        let groups = self.groups.iter();
        PeriodMetrics {
            executions: Executions::of(&self.executions),
            phases: all_steps.phases,
            incidents: all_steps.incidents,
            average_incident_time: incident_time(&all_steps),
            versions: versions
                .map(|(version, own)| (*version, Executions::of(own)))
                .collect(),
            steps: steps
                .map(|(id, step)| (*id, PeriodStep::of(step)))
                .collect(),
            transitions: self.transitions(),
            groups: groups
                .map(|(name, group)| (name.clone(), PeriodGroup::of(group)))
                .collect(),
        }
    }

    fn transitions(&self) -> BTreeMap<Uuid, PeriodTransition> {
        let mut leaving: BTreeMap<Option<Uuid>, u64> = BTreeMap::new();
        for (from, figures) in self.transitions.values() {
            *leaving.entry(*from).or_default() += figures.total;
        }
        let shown = |(id, (from, figures)): (&Uuid, &(Option<Uuid>, Figures))| {
            let shown = PeriodTransition {
                from_step_id: *from,
                taken: figures.total,
                share: rate(figures.total, leaving[from]),
                default_share: rate(figures.defaults, figures.total),
            };
            (*id, shown)
        };
        self.transitions.iter().map(shown).collect()
    }
}

impl Executions {
    fn of(figures: &Figures) -> Self {
        let times = Durations::of(&figures.times, figures.completed);
        Self {
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
            p90_execution_time: times.p90,
            p95_execution_time: times.p95,
            p99_execution_time: times.p99,
            targets_met: figures.targets_met,
            targets_missed: figures.targets_missed,
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
            p90_time: times.p90,
            p95_time: times.p95,
            p99_time: times.p99,
            phases: figures.phases,
            incidents: figures.incidents,
            average_incident_time: incident_time(figures),
            targets_met: figures.targets_met,
            targets_missed: figures.targets_missed,
        }
    }
}

impl PeriodGroup {
    fn of(figures: &Figures) -> Self {
        let [unassigned, with_person] =
            [Phase::Unassigned, Phase::WithPerson].map(|phase| figures.phases.get(phase));
        Self {
            tasks: figures.total,
            completed: figures.completed,
            failed: figures.failed,
            skipped: figures.skipped,
            unassigned_time: Millis(unassigned),
            person_time: Millis(with_person),
            average_unassigned_time: Millis::mean(unassigned, figures.total),
            average_person_time: Millis::mean(with_person, figures.total),
        }
    }
}

/// How long an operator took.
pub fn incident_time(figures: &Figures) -> Option<Millis> {
    Millis::mean(figures.phases.get(Phase::Incident), figures.incidents)
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
            p90: percentile(90),
            p95: percentile(95),
            p99: percentile(99),
        }
    }
}
