//! Undoing what was done, the newest first. Invariant: what the execution will end as is decided when
//! undoing begins, and nothing changes it afterwards.

use chrono::{DateTime, Utc};
use model::status::{ExecutionStatus, StepStatus};
use serde::{Deserialize, Serialize};

use super::Step;
use super::state::{Branch, Failure, Hold, Times};

/// What an execution ends as, once what was done is undone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Closing {
    /// CANCELLED if true, else FAILED.
    pub cancelled: bool,
    pub failure: Failure,
}

impl Closing {
    pub fn status(&self) -> ExecutionStatus {
        match self.cancelled {
            true => ExecutionStatus::Cancelled,
            false => ExecutionStatus::Failed,
        }
    }
}

impl Times {
    /// Of an attempt that begins now, with nothing before it.
    pub(super) fn fresh(now: DateTime<Utc>) -> Self {
        Self {
            arrived_at: now,
            queued_at: now,
            available_at: now,
            assigned_at: None,
            started_at: now,
        }
    }
}

impl Step<'_> {
    pub(super) fn is_closing(&self) -> bool {
        self.execution.memory.closing.is_some()
    }

    /// Notes that a step which can be undone is done.
    pub(super) fn note_done(&mut self, branch: &Branch) {
        if let Some(undo) = self.graph.nodes[branch.step].undone_by {
            self.execution.memory.to_undo.push(undo);
        }
    }

    /// Ends the execution after everything that can be undone has been.
    pub(super) fn close(&mut self, closing: Closing) {
        self.call_off_all();
        // Decided once: a failure while undoing changes nothing of it.
        let closing = self.execution.memory.closing.take().unwrap_or(closing);
        if self.execution.memory.to_undo.is_empty() {
            return self.finish(closing.status(), Some(closing.failure));
        }
        for branch in std::mem::take(&mut self.execution.branches) {
            self.end(&branch, StepStatus::Skipped, |log| {
                log.message = Some("withdrawn: what was done is being undone".to_owned());
            });
        }
        self.execution.memory.arrived.clear();
        self.execution.memory.late.clear();
        self.execution.memory.loops.clear();
        self.execution.context.kept.clear();
        self.execution.memory.reuse = None;
        self.execution.memory.closing = Some(closing);
        self.undo_next();
    }

    /// Undoes what was done last of all that is left, or ends the execution.
    pub(super) fn undo_next(&mut self) {
        let Some(step) = self.execution.memory.to_undo.pop() else {
            let closing = self.execution.memory.closing.clone();
            let closing = closing.expect("only a closing execution undoes");
            return self.finish(closing.status(), Some(closing.failure));
        };
        let step_id = self.graph.definition.steps[step].id;
        let arrivals = self.execution.memory.arrivals.entry(step_id).or_default();
        *arrivals += 1;
        let activation = *arrivals;
        self.begin_attempt(step, activation, 1, Times::fresh(self.now), Hold::Runnable);
    }
}
