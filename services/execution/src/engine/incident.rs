//! Steps that failed for good and wait for an operator. Invariant: an incident ends in place, by the
//! operator's word: the execution and all its other branches are as they were.

use model::json;
use model::status::StepStatus;
use serde_json::{Map, Value};

use super::foreach::Ended;
use super::settle::Outcome;
use super::state::{Branch, Failure, Hold, OutputRef, Times};
use super::{Actor, MAX_CONTEXT_BYTES, Refusal, Step};

/// What the log of a final failure says that waits for an operator.
pub const PARKED: &str = "parked: an operator decides how it goes on";

/// What an operator makes of an incident.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolution {
    /// One more attempt, after the data was corrected.
    Retry { data: Map<String, Value> },
    /// The step is done, with this output.
    Complete { output: Map<String, Value> },
    /// The execution fails, as it would have without parking.
    GiveUp,
}

impl Step<'_> {
    /// Lets a step that failed wait for an operator.
    pub(super) fn park(&mut self, branch: &Branch, failure: Failure) {
        let times = Times {
            arrived_at: branch.times.arrived_at,
            ..Times::fresh(self.now)
        };
        let hold = Hold::Incident {
            failure: failure.clone(),
        };
        self.end(branch, StepStatus::Failed, |log| {
            log.message = Some(PARKED.to_owned());
            log.failure = Some(failure);
            log.will_retry = true;
        });
        self.try_again(branch, times, hold);
    }

    pub(super) fn resolve(
        &mut self,
        seq: i32,
        actor: &Actor,
        resolution: Resolution,
    ) -> Result<(), Refusal> {
        let branch = self.branch(seq)?;
        let step = branch.step;
        let Hold::Incident { failure } = &branch.hold else {
            return Err(Refusal::NotAnIncident);
        };
        let failure = failure.clone();
        let by = actor.name();
        match resolution {
            Resolution::Retry { data } => {
                self.check_room(&data)?;
                self.correct(seq, data, by)?;
            }
            Resolution::Complete { .. } if self.asks_people(step) => {
                return Err(Refusal::PeopleDecide);
            }
            Resolution::Complete { output } => {
                self.check_room(&output)?;
                let message = Some(format!("completed by {by}"));
                let branch = self.take(seq)?;
                self.settle(branch, Outcome::Done { output, message });
            }
            Resolution::GiveUp => {
                let branch = self.take(seq)?;
                self.end(&branch, StepStatus::Failed, |log| {
                    log.message = Some(format!("given up by {by}"));
                    log.failure = Some(failure.clone());
                });
                if self.is_closing() {
                    self.undo_next();
                    return Ok(());
                }
                if let Some(item) = &branch.item {
                    self.item_ended(item, Ended::Failed(failure));
                    return Ok(());
                }
                let name = &self.graph.definition.steps[branch.step].name;
                let told = format!("step {name:?} failed: {}", failure.message);
                let whole = Failure::new(&failure.code, told);
                self.close_failed(whole);
            }
        }
        Ok(())
    }

    /// Overlays the context with corrected data, which the incident's log keeps, and tries again.
    fn correct(&mut self, seq: i32, data: Map<String, Value>, by: &str) -> Result<(), Refusal> {
        let branch = self.take(seq)?;
        let mut message = format!("tried again by {by}");
        if !data.is_empty() {
            let bytes = json::measure(&data, json::INPUT).unwrap_or(json::INPUT.bytes);
            self.execution.memory.context_bytes += bytes;
            self.execution.memory.outputs.push(OutputRef {
                seq,
                step_id: self.graph.definition.steps[branch.step].id,
                latest: false,
                bytes,
            });
            self.execution.context.overlay("", &data, false);
            message.push_str(" with corrected data");
        }
        self.end(&branch, StepStatus::Skipped, |log| {
            log.message = Some(message);
            log.data = (!data.is_empty()).then_some(data);
            log.will_retry = true;
        });
        let times = Times {
            arrived_at: branch.times.arrived_at,
            ..Times::fresh(self.now)
        };
        self.try_again(&branch, times, Hold::Runnable);
        Ok(())
    }

    /// Refuses data from outside that would not fit beside what the execution knows: it must not fail for it.
    pub(super) fn check_room(&self, data: &Map<String, Value>) -> Result<(), Refusal> {
        let bytes = json::measure(data, json::INPUT).unwrap_or(MAX_CONTEXT_BYTES);
        match self.execution.memory.context_bytes + bytes > MAX_CONTEXT_BYTES {
            true => Err(Refusal::ContextFull),
            false => Ok(()),
        }
    }

    /// Begins the next attempt at a branch's step.
    pub(super) fn try_again(&mut self, branch: &Branch, times: Times, hold: Hold) -> i32 {
        let (activation, attempt) = (branch.activation, branch.attempt + 1);
        let seq = self.begin_attempt(branch.step, activation, attempt, times, hold);
        if let Some(next) = self.execution.branches.last_mut() {
            next.from = Some(branch.seq);
        }
        let memory = &mut self.execution.memory;
        if let Some(begun) = self.execution.branches.last_mut() {
            begun.item = branch.item.clone();
            // One that was only waited for is waited for again.
            begun.lock = match branch.hold {
                Hold::Lock { .. } => None,
                _ => branch.lock.clone(),
            };
        }
        if let Some(late) = memory.late.remove(&branch.seq) {
            memory.late.insert(seq, late);
        }
        if let Some(arrived) = memory.arrived.remove(&branch.seq) {
            memory.arrived.insert(seq, arrived);
        }
        seq
    }
}
