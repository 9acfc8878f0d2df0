//! Entering steps: what each kind of step does when a branch arrives at it. Invariant: a branch leaves
//! here settled or with the `Hold` that says what it waits for.

use chrono::{DateTime, Utc};
use model::effort::Effort;
use model::instant::{self, later};
use model::kind::{Kind, WaitUntil};
use model::scope::Scope;
use model::status::{ExecutionStatus, StepStatus};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::foreach::Item;
use super::settle::Outcome;
use super::state::{Branch, Failure, Hold, Log, Notification, Times};
use super::{ACTIVATION_EFFORT, MAX_ACTIVATIONS, MAX_EFFORT, Step};

impl Step<'_> {
    pub(super) fn start(&mut self) {
        self.execution.status = ExecutionStatus::Running;
        let start = self.graph.start;
        let begun = self.arrive(start, &[]);
        self.follow(None, start, begun);
    }

    /// A branch that is over goes on to these steps, each with a branch of its own.
    pub(super) fn go_to(&mut self, from: &Branch, steps: Vec<usize>) {
        let late = self.execution.memory.late.remove(&from.seq);
        let late = late.unwrap_or_default();
        for step in steps {
            let begun = self.arrive(step, &late);
            self.follow(Some(from.seq), step, begun);
        }
        self.repeated(from);
    }

    /// A branch reaches a step; it runs in `run_ready`. The joins of `late` have gone on without it. Returns its
    /// seq, unless it ends here.
    fn arrive(&mut self, step: usize, late: &[usize]) -> Option<i32> {
        // The arrival before may have gone over the limit: then what was done is being undone.
        if self.execution.status.is_final() || self.is_closing() || self.merges(step, late) {
            return None;
        }
        let seq = self.begin_activation(step)?;
        if !late.is_empty() {
            self.execution.memory.late.insert(seq, late.to_vec());
        }
        Some(seq)
    }

    /// Counts an arrival at a step and opens its first attempt; returns its seq. None, and the execution is
    /// over or being undone, if that was one too many.
    pub(super) fn begin_activation(&mut self, step: usize) -> Option<i32> {
        let memory = &mut self.execution.memory;
        memory.activations += 1;
        if memory.activations > MAX_ACTIVATIONS {
            let failure = Failure::new(
                "LIMIT_EXCEEDED",
                format!("more than {MAX_ACTIVATIONS} activations"),
            );
            self.close_failed(failure);
            return None;
        }
        let step_id = self.graph.definition.steps[step].id;
        let arrivals = memory.arrivals.entry(step_id).or_default();
        *arrivals += 1;
        let activation = *arrivals;
        let times = Times::fresh(self.now);
        Some(self.begin_attempt(step, activation, 1, times, Hold::Runnable))
    }

    /// Opens the log and the branch of an attempt; returns its seq.
    pub(super) fn begin_attempt(
        &mut self,
        step: usize,
        activation: i32,
        attempt: i32,
        times: Times,
        hold: Hold,
    ) -> i32 {
        self.execution.memory.log_count += 1;
        let seq = self.execution.memory.log_count;
        let branch = Branch {
            id: Uuid::nil(),
            seq,
            step,
            activation,
            attempt,
            from: None,
            times,
            hold,
            item: None,
            lock: None,
        };
        self.execution.branches.push(branch);
        seq
    }

    /// Runs branches that wait for nothing, until none is left or the slice ends.
    pub(super) fn run_ready(&mut self) {
        while !self.execution.status.is_final() && self.is_affordable() {
            if self.judge_joins(false) {
                continue;
            }
            let Some(at) = self.next_ready() else {
                if self.judge_joins(true) {
                    continue;
                }
                break;
            };
            if self.budget == 0 {
                break;
            }
            self.budget -= 1;
            let branch = self.execution.branches.remove(at);
            self.enter(branch);
        }
        if !self.execution.status.is_final() && self.execution.branches.is_empty() {
            self.finish(ExecutionStatus::Completed, None);
        }
        self.tidy_reuse();
        for at in 0..self.execution.branches.len() {
            let branch = &self.execution.branches[at];
            let status = match branch.hold {
                Hold::Timer { .. }
                | Hold::Join { .. }
                | Hold::Items { .. }
                | Hold::Signal { .. }
                | Hold::Child { .. } => StepStatus::Running,
                _ => StepStatus::Pending,
            };
            match self.change.logs.get_mut(&branch.seq) {
                None if branch.id.is_nil() => {
                    let log = self.log(branch, status);
                    self.change.logs.insert(log.seq, log);
                }
                // A branch that has come further within this change, or has got its lock.
                Some(log) if log.status == StepStatus::Pending => log.status = status,
                _ => {}
            }
        }
    }

    /// Counts what the last activation cost. One that was too expensive ends the execution: nothing that
    /// was judged without the means to do so may decide anything.
    fn is_affordable(&mut self) -> bool {
        let spent = self.effort.spent();
        let memory = &mut self.execution.memory;
        memory.effort += spent;
        if self.effort.is_exhausted() || memory.effort > MAX_EFFORT {
            let costly =
                "the conditions and expressions of one step, or of all, go through too much data";
            // What is undone may be what costs too much.
            let failure = Failure::new("LIMIT_EXCEEDED", costly);
            self.execution.memory.to_undo.clear();
            self.close_failed(failure);
            return false;
        }
        self.slice_effort += spent;
        if self.slice_effort > ACTIVATION_EFFORT {
            self.budget = 0;
        }
        self.effort = Effort::new(ACTIVATION_EFFORT);
        true
    }

    fn enter(&mut self, mut branch: Branch) {
        if let Some(outcome) = self.taken_over(&branch) {
            let seq = branch.seq;
            self.settle(branch, outcome);
            if let Some(log) = self.change.logs.get_mut(&seq) {
                log.taken_over = log.status == StepStatus::Completed;
            }
            return;
        }
        let graph = self.graph;
        let node = &graph.nodes[branch.step];
        if let (Some(lock), None) = (&node.lock, &branch.lock) {
            return self.wait_for_lock(branch, lock);
        }
        match &node.kind {
            Kind::Notification {
                notification_type,
                template,
                recipients,
            } => {
                self.change.notifications.push(Notification {
                    step_id: graph.definition.steps[branch.step].id,
                    notification_type: notification_type.clone(),
                    template: template.clone(),
                    recipients: recipients.clone(),
                });
                let message = match template {
                    Some(template) => format!("sent {notification_type} {template:?}"),
                    None => format!("sent {notification_type}"),
                };
                self.settle(branch, done(Map::new(), Some(message)));
            }
            Kind::Decision | Kind::Parallel => self.settle(branch, done(Map::new(), None)),
            Kind::Join(_) => self.wait_at_join(branch),
            Kind::Foreach(foreach) => self.go_through(branch, foreach),
            Kind::Signal { name, correlation } => {
                self.wait_for_signal(branch, name, correlation.as_ref());
            }
            Kind::End(end) => self.end_all(&branch, end),
            Kind::Subworkflow(called) => self.call(branch, called),
            Kind::Transform(outputs) => {
                let outcome = match self.evaluate(&branch, outputs, "output") {
                    Ok(object) => done(object, None),
                    Err(message) => Outcome::Failed(Failure::new("EXPRESSION_FAILED", message)),
                };
                self.settle(branch, outcome);
            }
            Kind::Wait(until) => match self.instant(&branch, until) {
                Ok(until) if until <= self.now => {
                    self.settle(
                        branch,
                        done(Map::new(), Some("the instant has passed".to_owned())),
                    );
                }
                Ok(until) => {
                    branch.hold = Hold::Timer { until };
                    self.execution.branches.push(branch);
                }
                Err(message) => {
                    let failure = Failure::new("WAIT_UNDEFINED", message);
                    self.settle(branch, Outcome::Failed(failure));
                }
            },
            Kind::Approval(_) | Kind::DataEntry(_) => {
                branch.hold = Hold::Person {
                    claimed_by: None,
                    due_at: node.timeout.map(|timeout| later(self.now, timeout)),
                };
                self.execution.branches.push(branch);
            }
            Kind::Job { .. } => {
                branch.hold = self.job(branch.step, branch.times.available_at);
                self.execution.branches.push(branch);
            }
        }
    }

    /// The hold of a job that may be leased from `available_at` on.
    pub(super) fn job(&self, step: usize, available_at: DateTime<Utc>) -> Hold {
        let node = &self.graph.nodes[step];
        let Kind::Job { job_type } = &node.kind else {
            unreachable!("only jobs are queued for workers");
        };
        Hold::Job {
            job_type: job_type.clone(),
            held_by: None,
            lease_until: None,
            wake_at: node.queue_timeout.map(|limit| later(available_at, limit)),
        }
    }

    fn instant(&self, branch: &Branch, until: &WaitUntil) -> Result<DateTime<Utc>, String> {
        match until {
            WaitUntil::For(duration) => Ok(later(self.now, *duration)),
            WaitUntil::At(instant) => Ok(*instant),
            WaitUntil::Field(path) => {
                self.with_scope(&Value::Null, branch.item.as_ref(), |scope| {
                    match path.resolve(scope) {
                        Some(Value::String(text)) => {
                            instant::parse(text).map_err(|error| format!("untilField: {error}"))
                        }
                        Some(_) => Err("untilField: not a text".to_owned()),
                        None => Err("untilField: there is no such field".to_owned()),
                    }
                })
            }
        }
    }

    /// Calls `f` with what conditions and expressions see now.
    pub(super) fn with_scope<T>(
        &self,
        step: &Value,
        item: Option<&Item>,
        f: impl FnOnce(&Scope<'_>) -> T,
    ) -> T {
        let execution = &self.execution;
        let about = json!({
            "id": execution.id,
            "workflowId": execution.workflow_id,
            "version": execution.version,
            "startedAt": execution.started_at,
        });
        let client = json!({ "id": execution.client_id });
        f(&Scope {
            data: &execution.context.data,
            item: item.map(|item| &item.fields),
            steps: &execution.context.steps,
            step,
            execution: &about,
            client: &client,
            effort: &self.effort,
        })
    }

    /// A branch's log, not over.
    pub(super) fn log(&self, branch: &Branch, status: StepStatus) -> Log {
        Log {
            id: branch.id,
            seq: branch.seq,
            step_id: self.graph.definition.steps[branch.step].id,
            status,
            activation: branch.activation,
            attempt: branch.attempt,
            item_index: branch.item.as_ref().map(|item| item.index),
            times: branch.times.clone(),
            completed_at: None,
            message: None,
            data: None,
            failure: None,
            route: None,
            will_retry: false,
            incident: matches!(branch.hold, Hold::Incident { .. }),
            taken_over: false,
            event_seq: None,
            from: branch.from,
        }
    }
}

fn done(output: Map<String, Value>, message: Option<String>) -> Outcome {
    Outcome::Done { output, message }
}
