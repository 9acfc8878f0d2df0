//! Applies events to an execution's ledger and collects what they add to its day.
//! Invariant: an event counts exactly once, in the order of its number; what cannot count yet is given back.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Timelike, Utc};
use model::event::{Event, ExecutionEvents};
use model::status::ExecutionStatus;
use uuid::Uuid;

use super::execution::{Counts, ExecutionMetrics, Taken, micros_between, taken};
use super::figures::{DayKey, Figures, Grain, Label, Times, group_key, hour_key};
use super::number::Millis;
use super::period::{cohort, execution_report_id};
use super::phase::Phases;

/// What has been counted of one execution.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    /// The id of its report.
    pub id: Uuid,
    pub workflow_id: Uuid,
    pub execution_id: Uuid,
    pub started_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
    /// The number of the last event that was counted.
    pub applied_seq: i32,
    pub metrics: ExecutionMetrics,
}

/// What is to be added to the sums, in the order in which their rows are locked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes(pub BTreeMap<DayKey, Change>);

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    pub label: Label,
    pub figures: Figures,
}

/// Events that can never be applied: no repetition makes them right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Numbers start at 1 and fit 31 bits.
    Numbering,
    /// The first event is the start, and no other is.
    Start,
    /// Nothing comes after the end.
    AfterEnd,
    /// An execution never changes its workflow.
    OtherWorkflow,
    /// Only final statuses are told.
    Status,
    /// What was counted before cannot be read.
    Ledger,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Numbering => "an event's number is out of range",
            Self::Start => "the first event is not the start, or a later one is",
            Self::AfterEnd => "an event follows the end of the execution",
            Self::OtherWorkflow => "the execution was counted under another workflow",
            Self::Status => "an event tells of a status that is not final",
            Self::Ledger => "the execution's report does not hold what was written there",
        })
    }
}

/// Applies all parts of one execution that follow its ledger without a gap. Returns the ledger, unless
/// nothing of the execution has been counted yet, and the parts that lie behind a gap.
pub fn fold<'a>(
    mut ledger: Option<Ledger>,
    mut parts: Vec<&'a ExecutionEvents>,
    changes: &mut Changes,
) -> Result<(Option<Ledger>, Vec<&'a ExecutionEvents>), Fault> {
    // Of parts that begin alike the longest tells all that the others tell.
    parts.sort_by_key(|part| (part.first_seq, Reverse(part.events.len())));
    parts.dedup_by_key(|part| part.first_seq);
    let mut ahead = Vec::new();
    for part in parts {
        let applied = ledger.as_ref().map_or(0, |ledger| ledger.applied_seq);
        if last_seq(part)? <= applied {
            continue;
        }
        if part.first_seq > applied + 1 {
            ahead.push(part);
            continue;
        }
        let ledger = ledger.get_or_insert_with(|| open(part));
        if ledger.workflow_id != part.workflow_id {
            return Err(Fault::OtherWorkflow);
        }
        let counted =
            usize::try_from(applied + 1 - part.first_seq).map_err(|_| Fault::Numbering)?;
        for event in &part.events[counted..] {
            ledger.apply(event, changes)?;
        }
    }
    Ok((ledger, ahead))
}

/// The number of a part's last event.
pub fn last_seq(part: &ExecutionEvents) -> Result<i32, Fault> {
    if part.first_seq < 1 {
        return Err(Fault::Numbering);
    }
    i32::try_from(part.events.len())
        .ok()
        .and_then(|count| part.first_seq.checked_add(count))
        .map(|next| next - 1)
        .ok_or(Fault::Numbering)
}

fn open(part: &ExecutionEvents) -> Ledger {
    Ledger {
        id: execution_report_id(part.execution_id),
        workflow_id: part.workflow_id,
        execution_id: part.execution_id,
        started_at: part.started_at,
        completed_at: None,
        applied_seq: 0,
        metrics: ExecutionMetrics::new(part.workflow_version, part.client_id),
    }
}

impl Ledger {
    fn apply(&mut self, event: &Event, changes: &mut Changes) -> Result<(), Fault> {
        if self.completed_at.is_some() {
            return Err(Fault::AfterEnd);
        }
        if matches!(event, Event::Started) != (self.applied_seq == 0) {
            return Err(Fault::Start);
        }
        let mut day = self.day(changes);
        match event {
            Event::Started => day.start(),
            Event::StepFinished(step) => {
                if !step.status.is_final() {
                    return Err(Fault::Status);
                }
                if step.taken_over {
                    // It is told by the execution that did it.
                    self.applied_seq += 1;
                    return Ok(());
                }
                let figures = self.metrics.steps.entry(step.step_id).or_default();
                let added = figures.add(step);
                day.step(step.step_id, &added.counts, &added.phases, |times| {
                    added
                        .micros
                        .into_iter()
                        .for_each(|micros| times.add(micros));
                });
                if let Some(group) = &figures.group {
                    day.tasks(group, &added.counts, &added.phases);
                }
                for id in taken(step) {
                    let one = Taken {
                        from_step_id: step.step_id,
                        taken: 1,
                        taken_as_default: u64::from(step.took_default),
                    };
                    day.transition(*id, &one);
                    let sum = self.metrics.transitions.entry(*id).or_default();
                    sum.from_step_id = one.from_step_id;
                    sum.taken += one.taken;
                    sum.taken_as_default += one.taken_as_default;
                }
            }
            Event::Finished {
                status,
                completed_at,
                target,
            } => {
                let micros = micros_between(self.started_at, *completed_at);
                let within = target.map(|target| u128::from(micros) <= target.as_micros());
                let target_met = match status {
                    ExecutionStatus::Completed => within,
                    ExecutionStatus::Failed => within.map(|_| false),
                    ExecutionStatus::Cancelled => None,
                    ExecutionStatus::Pending | ExecutionStatus::Running => {
                        return Err(Fault::Status);
                    }
                };
                day.end(*status, micros, target_met);
                self.metrics.status = status.to_string();
                self.metrics.execution_time = Some(Millis(u128::from(micros)));
                self.metrics.target_met = target_met;
                self.completed_at = Some(*completed_at);
            }
        }
        self.applied_seq += 1;
        Ok(())
    }

    /// Adds everything that was counted of it to the sums: what all its events together added.
    pub fn contribute(&self, changes: &mut Changes) -> Result<(), Fault> {
        if self.applied_seq == 0 {
            return Ok(());
        }
        let mut day = self.day(changes);
        day.start();
        for (id, step) in &self.metrics.steps {
            day.step(*id, &step.counts, &step.phases, |times| {
                times.merge(&step.times)
            });
            if let Some(group) = &step.group {
                day.tasks(group, &step.counts, &step.phases);
            }
        }
        for (id, taken) in &self.metrics.transitions {
            day.transition(*id, taken);
        }
        if let Some(time) = self.metrics.execution_time {
            let status = ExecutionStatus::parse(&self.metrics.status).ok_or(Fault::Ledger)?;
            let micros = u64::try_from(time.0).map_err(|_| Fault::Ledger)?;
            day.end(status, micros, self.metrics.target_met);
        }
        Ok(())
    }

    fn day<'a>(&self, changes: &'a mut Changes) -> DayOf<'a> {
        DayOf {
            workflow_id: self.workflow_id,
            version: self.metrics.workflow_version,
            client_id: self.metrics.client_id,
            started_at: self.started_at,
            changes,
        }
    }
}

/// The day that everything about one execution is added to, however late it happens.
struct DayOf<'a> {
    workflow_id: Uuid,
    version: i32,
    client_id: Uuid,
    started_at: DateTime<Utc>,
    changes: &'a mut Changes,
}

impl DayOf<'_> {
    fn change(&mut self, grain: Grain, key: Uuid) -> &mut Change {
        let key = DayKey {
            workflow_id: self.workflow_id,
            day: cohort(self.started_at),
            version: self.version,
            grain,
            key,
        };
        let change = self.changes.0.entry(key).or_default();
        change.label.client_id = self.client_id;
        change
    }

    /// What counts whole executions.
    fn of_executions(&mut self, mut add: impl FnMut(&mut Figures)) {
        add(&mut self.change(Grain::Execution, self.client_id).figures);
        let hour = hour_key(self.started_at.hour());
        add(&mut self.change(Grain::Hour, hour).figures);
    }

    fn start(&mut self) {
        self.of_executions(|figures| figures.total += 1);
    }

    fn step(
        &mut self,
        id: Uuid,
        counts: &Counts,
        phases: &Phases,
        add_times: impl FnOnce(&mut Times),
    ) {
        let figures = &mut self.change(Grain::Step, id).figures;
        figures.add_counts(counts);
        figures.phases.merge(phases);
        add_times(&mut figures.times);
    }

    fn tasks(&mut self, group: &str, counts: &Counts, phases: &Phases) {
        let change = self.change(Grain::Group, group_key(group));
        change.label.group.get_or_insert_with(|| group.to_owned());
        change.figures.add_tasks(counts, phases);
    }

    fn transition(&mut self, id: Uuid, taken: &Taken) {
        let change = self.change(Grain::Transition, id);
        change.label.from_step_id = Some(taken.from_step_id);
        change.figures.total += taken.taken;
        change.figures.defaults += taken.taken_as_default;
    }

    fn end(&mut self, status: ExecutionStatus, micros: u64, target_met: Option<bool>) {
        self.of_executions(|figures| {
            match status {
                ExecutionStatus::Completed => {
                    figures.completed += 1;
                    figures.times.add(micros);
                }
                ExecutionStatus::Failed => figures.failed += 1,
                _ => figures.cancelled += 1,
            }
            figures.targets_met += u64::from(target_met == Some(true));
            figures.targets_missed += u64::from(target_met == Some(false));
        });
    }
}
