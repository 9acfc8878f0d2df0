//! How attempts, branches and executions end: outputs, retries, failures, withdrawals. Invariant: with an
//! execution's final status every branch is gone, and every log is terminal.

use chrono::{DateTime, Utc};
use model::instant::later;
use model::json;
use model::kind::{End, Kind};
use model::status::{ExecutionStatus, StepStatus};
use serde_json::{Map, Value};

use super::compensate::Closing;
use super::foreach::Ended;
use super::state::{Branch, Failure, Hold, Log, OutputRef, Times};
use super::{MAX_CONTEXT_BYTES, Refusal, Step};

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// With an output, possibly empty, and a word for the log.
    Done {
        output: Map<String, Value>,
        message: Option<String>,
    },
    /// Technically: the retry policy decides what follows.
    Failed(Failure),
    /// For good: a business error, or a worker that gave up.
    Thrown(Failure),
}

impl Step<'_> {
    pub(super) fn settle(&mut self, branch: Branch, outcome: Outcome) {
        match outcome {
            Outcome::Done { output, message } => self.complete(branch, output, message),
            Outcome::Failed(failure) => match self.retry_at(&branch) {
                Some(available_at) => self.retry(branch, failure, available_at),
                None => self.fail(branch, failure),
            },
            Outcome::Thrown(failure) => self.fail(branch, failure),
        }
    }

    fn complete(&mut self, branch: Branch, output: Map<String, Value>, message: Option<String>) {
        // People's and workers' outputs were checked when they came; what expressions make was not.
        let bytes = match json::measure(&output, json::INPUT) {
            Ok(bytes) => bytes,
            Err(wrong) => return self.exceed(branch, format!("the output {wrong}")),
        };
        if let Some(item) = branch.item.clone() {
            return self.complete_item(branch, &item, output, message, bytes);
        }
        if self.execution.memory.context_bytes + bytes > MAX_CONTEXT_BYTES {
            let limit = format!("input and outputs together exceed {MAX_CONTEXT_BYTES} bytes");
            return self.exceed(branch, limit);
        }
        self.leave_join(&branch);
        self.leave_items(&branch, true);
        self.remember(&branch, &output, bytes);

        if self.is_closing() {
            self.end(&branch, StepStatus::Completed, |log| {
                log.message = message;
                log.data = (!output.is_empty()).then_some(output);
            });
            return self.undo_next();
        }
        self.note_done(&branch);
        self.cancel_region(&branch);
        let name = &self.graph.definition.steps[branch.step].name;
        let seen = serde_json::json!({ "name": name, "status": StepStatus::Completed.as_str() });
        let (seen, output) = with_output(seen, output, |seen| self.route(branch.step, seen, false));
        self.end(&branch, StepStatus::Completed, |log| {
            log.message = message;
            log.data = (!output.is_empty()).then_some(output);
            log.route = seen.told.clone();
            if seen.is_dead_end() {
                let end = "no transition held: the branch ends here";
                log.message = Some(match log.message.take() {
                    Some(message) => format!("{message}; {end}"),
                    None => end.to_owned(),
                });
            }
        });
        self.go_to(&branch, seen.to);
    }

    /// Lets an output show in the context, and forgets what it hides.
    fn remember(&mut self, branch: &Branch, output: &Map<String, Value>, bytes: usize) {
        let step = &self.graph.definition.steps[branch.step];
        let memory = &mut self.execution.memory;
        let context = &mut self.execution.context;
        if let Some(before) = memory
            .outputs
            .iter()
            .position(|o| o.step_id == step.id && o.latest)
        {
            let hidden = context
                .steps
                .get(&step.name)
                .and_then(|shown| shown["output"].as_object())
                .is_some_and(|old| old.keys().all(|key| output.contains_key(key)));
            if hidden {
                let old = memory.outputs.remove(before);
                memory.context_bytes -= old.bytes;
            } else {
                memory.outputs[before].latest = false;
            }
            context.steps.remove(&step.name);
        }
        if output.is_empty() {
            return;
        }
        memory.outputs.push(OutputRef {
            seq: branch.seq,
            step_id: step.id,
            latest: true,
            bytes,
        });
        memory.context_bytes += bytes;
        context.overlay(&step.name, output, true);
    }

    /// When the next attempt may begin, if the policy grants one. Only jobs and subworkflows are retried: what
    /// the engine computes itself would fail the same way, and a person's timeout is final.
    fn retry_at(&self, branch: &Branch) -> Option<DateTime<Utc>> {
        let node = &self.graph.nodes[branch.step];
        let retry = &node.retry;
        let attempt = u32::try_from(branch.attempt).expect("attempts count from 1");
        let is_retried = matches!(node.kind, Kind::Job { .. } | Kind::Subworkflow(_));
        if !is_retried || attempt >= retry.max_attempts {
            return None;
        }
        let available_at = later(self.now, retry.delay(attempt, self.jitter(branch)));
        let within = retry
            .total_timeout
            .is_none_or(|total| available_at <= later(branch.times.arrived_at, total));
        within.then_some(available_at)
    }

    /// A number in 0..1 that is the same whenever this attempt is judged (FNV-1a).
    fn jitter(&self, branch: &Branch) -> f64 {
        let step = self.graph.definition.steps[branch.step].id;
        let counts = [branch.activation, branch.attempt].map(i32::to_be_bytes);
        let bytes = self.execution.id.as_bytes().iter();
        let hash = bytes
            .chain(step.as_bytes())
            .chain(counts.as_flattened())
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
        (hash >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn retry(&mut self, branch: Branch, failure: Failure, available_at: DateTime<Utc>) {
        self.end(&branch, StepStatus::Failed, |log| {
            log.message = Some(format!("attempt {} follows", branch.attempt + 1));
            log.failure = Some(failure);
            log.will_retry = true;
        });
        let times = Times {
            arrived_at: branch.times.arrived_at,
            queued_at: self.now,
            available_at,
            assigned_at: None,
            started_at: self.now,
        };
        if matches!(self.graph.nodes[branch.step].kind, Kind::Subworkflow(_)) {
            return self.call_again(&branch, times);
        }
        let hold = self.job(branch.step, available_at);
        self.try_again(&branch, times, hold);
    }

    /// The final failure of a step: a catch that holds, else skipped if optional, else parked if the step
    /// says so, else the execution fails.
    fn fail(&mut self, branch: Branch, failure: Failure) {
        if self.is_closing() {
            return self.park(&branch, failure);
        }
        self.leave_items(&branch, false);
        let step = &self.graph.definition.steps[branch.step];
        let seen = serde_json::json!({
            "name": step.name,
            "status": StepStatus::Failed.as_str(),
            "error": { "code": failure.code, "message": failure.message },
        });
        let caught = self.route(branch.step, &seen, true);
        if !caught.to.is_empty() {
            self.leave_join(&branch);
            self.end(&branch, StepStatus::Failed, |log| {
                log.failure = Some(failure);
                log.route = caught.told;
            });
            self.go_to(&branch, caught.to);
        } else if !step.is_required {
            self.skip(&branch, |log| {
                log.message = Some("failed, but not required".to_owned());
                log.failure = Some(failure);
            });
        } else if self.graph.nodes[branch.step].parks {
            self.park(&branch, failure);
        } else if let Some(item) = &branch.item {
            self.end(&branch, StepStatus::Failed, |log| {
                log.failure = Some(failure.clone());
            });
            self.item_ended(item, Ended::Failed(failure));
        } else {
            let told = format!("step {:?} failed: {}", step.name, failure.message);
            let whole = Failure::new(&failure.code, told);
            self.end(&branch, StepStatus::Failed, |log| {
                log.failure = Some(failure);
                log.route = caught.told;
            });
            self.close_failed(whole);
        }
    }

    /// A limit was exceeded: nothing catches that.
    pub(super) fn exceed(&mut self, branch: Branch, message: String) {
        let failure = Failure::new("LIMIT_EXCEEDED", message);
        if self.is_closing() {
            return self.park(&branch, failure);
        }
        self.end(&branch, StepStatus::Failed, |log| {
            log.failure = Some(failure.clone());
        });
        self.close_failed(failure);
    }

    /// The execution fails, after what was done has been undone.
    pub(super) fn close_failed(&mut self, failure: Failure) {
        self.close(Closing {
            cancelled: false,
            failure,
        });
    }

    /// An `end` step was reached: it is over, and with it everything else.
    pub(super) fn end_all(&mut self, branch: &Branch, end: &End) {
        self.end(branch, StepStatus::Completed, |log| {
            log.message = Some("ends the execution".to_owned());
        });
        match &end.failure {
            None => self.finish(ExecutionStatus::Completed, None),
            Some((code, message)) => {
                let failure = Failure::new(code, message);
                self.close_failed(failure);
            }
        }
    }

    pub(super) fn cancel(&mut self, reason: String, compensate: bool) -> Result<(), Refusal> {
        if let Some(closing) = &self.execution.memory.closing {
            if compensate {
                return Err(Refusal::Closing(closing.status()));
            }
            // What is left is not undone; what it will be was decided before.
            let (status, failure) = (closing.status(), closing.failure.clone());
            self.finish(status, Some(failure));
            return Ok(());
        }
        let failure = Failure::new("CANCELLED", reason);
        if compensate {
            self.close(Closing {
                cancelled: true,
                failure,
            });
        } else {
            self.finish(ExecutionStatus::Cancelled, Some(failure));
        }
        Ok(())
    }

    /// The end of the execution: what is still active is withdrawn.
    pub(super) fn finish(&mut self, status: ExecutionStatus, failure: Option<Failure>) {
        for branch in std::mem::take(&mut self.execution.branches) {
            self.end(&branch, StepStatus::Skipped, |log| {
                log.message = Some(format!("withdrawn: the execution is {status}"));
            });
        }
        self.execution.memory.loops.clear();
        self.execution.context.kept.clear();
        self.execution.status = status;
        self.execution.failure = failure;
        self.execution.completed_at = Some(self.now);
        self.execution.event_count += 1;
        self.report();
    }

    /// Writes the final log of an attempt.
    pub(super) fn end(&mut self, branch: &Branch, status: StepStatus, fill: impl FnOnce(&mut Log)) {
        self.call_off(branch, false);
        self.execution.event_count += 1;
        let mut log = self.log(branch, status);
        log.completed_at = Some(self.now);
        log.event_seq = Some(self.execution.event_count);
        fill(&mut log);
        self.change.finished.push(log.seq);
        self.change.logs.insert(log.seq, log);
    }

    /// The instant of a branch's `wake_at` has come.
    pub(super) fn wake(&mut self, seq: i32) -> Result<(), Refusal> {
        let now = self.now;
        let branch = self.branch(seq)?;
        let due = branch.hold.wake_at(branch.times.queued_at);
        if due.is_none_or(|due| due > now) {
            return Err(Refusal::NotDue);
        }
        let failed = |code, message: &str| Outcome::Failed(Failure::new(code, message));
        let outcome = match &branch.hold {
            Hold::Runnable | Hold::Incident { .. } => return Ok(()),
            Hold::Timer { until } => Outcome::Done {
                output: Map::new(),
                message: Some(format!("waited until {until:?}")),
            },
            Hold::Person { .. } => failed("TIMEOUT", "nobody decided in time"),
            Hold::Signal { name, .. } => {
                failed("TIMEOUT", &format!("signal {name:?} did not come in time"))
            }
            Hold::Child { .. } => failed("TIMEOUT", "the execution was not over in time"),
            Hold::Join { .. } => failed("TIMEOUT", "the other branches did not come in time"),
            Hold::Items { .. } => failed("TIMEOUT", "the items were not completed in time"),
            // Whoever has waited in vain does not queue up again.
            Hold::Lock { .. } => {
                let failure = Failure::new("LOCK_TIMEOUT", "the lock was not free in time");
                Outcome::Thrown(failure)
            }
            Hold::Job { held_by: None, .. } => {
                failed("QUEUE_TIMEOUT", "no worker took the job in time")
            }
            Hold::Job { lease_until, .. } if lease_until.is_some_and(|end| end <= now) => failed(
                "LEASE_EXPIRED",
                "the worker did not answer before its lease ended",
            ),
            Hold::Job { .. } => failed("TIMEOUT", "the worker took longer than the step allows"),
        };
        let mut branch = self.take(seq)?;
        if matches!(branch.hold, Hold::Child { .. }) {
            // It would have undone what it did, had it failed by itself.
            self.call_off(&branch, true);
            branch.hold = Hold::Runnable;
        }
        self.settle(branch, outcome);
        Ok(())
    }

    pub(super) fn branch(&mut self, seq: i32) -> Result<&mut Branch, Refusal> {
        let mut branches = self.execution.branches.iter_mut();
        branches
            .find(|branch| branch.seq == seq)
            .ok_or(Refusal::BranchGone)
    }

    pub(super) fn take(&mut self, seq: i32) -> Result<Branch, Refusal> {
        let mut branches = self.execution.branches.iter();
        let at = branches
            .position(|branch| branch.seq == seq)
            .ok_or(Refusal::BranchGone)?;
        Ok(self.execution.branches.remove(at))
    }
}

/// Calls `f` with `seen` and its `output`, without copying the output.
fn with_output<T>(
    mut seen: Value,
    output: Map<String, Value>,
    f: impl FnOnce(&Value) -> T,
) -> (T, Map<String, Value>) {
    seen["output"] = Value::Object(output);
    let result = f(&seen);
    match seen["output"].take() {
        Value::Object(output) => (result, output),
        _ => unreachable!("it was put there as an object"),
    }
}
