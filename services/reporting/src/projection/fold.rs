//! Applies events to an execution's ledger and collects what they add to its day.
//! Invariant: an event counts exactly once, in the order of its number; what cannot count yet is given back.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use model::event::{Event, ExecutionEvents, StepFinished};
use model::status::{ExecutionStatus, StepStatus};
use uuid::Uuid;

use super::execution::{ExecutionMetrics, micros_between, step_micros, taken};
use super::figures::{DayKey, Figures, Grain};
use super::period::{cohort, execution_report_id};

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
#[derive(Debug, Default, PartialEq)]
pub struct Changes(pub BTreeMap<DayKey, Change>);

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    pub client_id: Uuid,
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
            ledger.apply(event, part.client_id, changes)?;
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
        metrics: ExecutionMetrics::default(),
    }
}

impl Ledger {
    fn apply(&mut self, event: &Event, client: Uuid, changes: &mut Changes) -> Result<(), Fault> {
        if self.completed_at.is_some() {
            return Err(Fault::AfterEnd);
        }
        if matches!(event, Event::Started) != (self.applied_seq == 0) {
            return Err(Fault::Start);
        }
        let mut day = DayOf {
            workflow_id: self.workflow_id,
            day: cohort(self.started_at),
            client_id: client,
            changes,
        };
        match event {
            Event::Started => day.figures(Grain::Execution, client).total += 1,
            Event::StepFinished(step) => {
                day.add_step(step)?;
                self.metrics.add_step(step);
            }
            Event::Finished {
                status,
                completed_at,
            } => {
                let micros = micros_between(self.started_at, *completed_at);
                day.finish(*status, micros)?;
                self.metrics.finish(*status, micros);
                self.completed_at = Some(*completed_at);
            }
        }
        self.applied_seq += 1;
        Ok(())
    }
}

/// The day that everything about one execution is added to, however late it happens.
struct DayOf<'a> {
    workflow_id: Uuid,
    day: NaiveDate,
    client_id: Uuid,
    changes: &'a mut Changes,
}

impl DayOf<'_> {
    fn figures(&mut self, grain: Grain, key: Uuid) -> &mut Figures {
        let key = DayKey {
            workflow_id: self.workflow_id,
            day: self.day,
            grain,
            key,
        };
        let change = self.changes.0.entry(key).or_default();
        change.client_id = self.client_id;
        &mut change.figures
    }

    fn add_step(&mut self, step: &StepFinished) -> Result<(), Fault> {
        let figures = self.figures(Grain::Step, step.step_id);
        if step.attempt > 1 {
            figures.retries += 1;
        }
        if !step.will_retry {
            figures.total += 1;
            match step.status {
                StepStatus::Completed => {
                    figures.completed += 1;
                    figures.times.add(step_micros(step));
                }
                StepStatus::Failed => figures.failed += 1,
                StepStatus::Skipped => figures.skipped += 1,
                StepStatus::Pending | StepStatus::Running => return Err(Fault::Status),
            }
        }
        for transition in taken(step) {
            self.figures(Grain::Transition, *transition).total += 1;
        }
        Ok(())
    }

    fn finish(&mut self, status: ExecutionStatus, micros: u64) -> Result<(), Fault> {
        let figures = self.figures(Grain::Execution, self.client_id);
        match status {
            ExecutionStatus::Completed => {
                figures.completed += 1;
                figures.times.add(micros);
            }
            ExecutionStatus::Failed => figures.failed += 1,
            ExecutionStatus::Cancelled => figures.cancelled += 1,
            ExecutionStatus::Pending | ExecutionStatus::Running => return Err(Fault::Status),
        }
        Ok(())
    }
}
