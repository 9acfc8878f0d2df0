//! What people and workers may do. Invariant: every way to a decision passes the same rule.

use chrono::SecondsFormat;
use model::kind::{Audience, Kind};
use model::status::StepStatus;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::settle::Outcome;
use super::state::{Failure, Hold};
use super::{Refusal, Step};

/// Who acts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Actor {
    /// The id of a user or of an API key, or the name of one of the platform's own services.
    pub id: String,
    pub email: String,
    pub groups: Vec<String>,
}

/// What a person or a worker does.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Takes a task for oneself.
    Claim,
    /// Gives a claimed task back.
    Release,
    /// Decides a task.
    Decide(Decision),
    /// Completes a job.
    Complete {
        worker: String,
        output: Map<String, Value>,
    },
    /// Reports a technical failure of a job.
    Fail {
        worker: String,
        failure: Failure,
        no_retry: bool,
    },
    /// Reports a business error of a job.
    Throw { worker: String, failure: Failure },
}

/// How a person decides.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    Approve { comment: String },
    Reject { comment: String },
    Submit { data: Map<String, Value> },
}

impl Actor {
    /// How logs name who acted.
    pub fn name(&self) -> &str {
        match self.email.as_str() {
            "" => &self.id,
            email => email,
        }
    }

    /// How a lease names its holder.
    pub fn holder(&self, worker: &str) -> String {
        format!("{}/{worker}", self.id)
    }

    /// Whether a task with this audience is open to the actor.
    fn belongs_to(&self, audience: &Audience) -> bool {
        let named = audience.group.is_some() || !audience.assignees.is_empty();
        let by_group = audience
            .group
            .as_ref()
            .is_some_and(|g| self.groups.contains(g));
        let by_name = || {
            let mut names = audience.assignees.iter();
            names.any(|name| name.eq_ignore_ascii_case(&self.email))
        };
        !named || by_group || by_name()
    }
}

impl Step<'_> {
    pub(super) fn answer(
        &mut self,
        seq: i32,
        actor: &Actor,
        answer: Answer,
    ) -> Result<(), Refusal> {
        match answer {
            Answer::Claim => self.claim(seq, actor),
            Answer::Release => self.release(seq, actor),
            Answer::Decide(decision) => self.decide(seq, actor, decision),
            Answer::Complete { worker, output } => {
                let message = Some(format!("completed by worker {worker:?}"));
                self.work(seq, actor, &worker, Outcome::Done { output, message })
            }
            Answer::Fail {
                worker,
                failure,
                no_retry: false,
            } => self.work(seq, actor, &worker, Outcome::Failed(failure)),
            Answer::Fail {
                worker, failure, ..
            }
            | Answer::Throw { worker, failure } => {
                self.work(seq, actor, &worker, Outcome::Thrown(failure))
            }
        }
    }

    fn work(
        &mut self,
        seq: i32,
        actor: &Actor,
        worker: &str,
        outcome: Outcome,
    ) -> Result<(), Refusal> {
        let now = self.now;
        let holder = actor.holder(worker);
        match &self.branch(seq)?.hold {
            Hold::Job {
                held_by: Some(held_by),
                lease_until: Some(until),
                ..
            } if *held_by == holder && *until > now => {}
            Hold::Job { .. } => return Err(Refusal::JobNotHeld),
            _ => return Err(Refusal::NotAJob),
        }
        let branch = self.take(seq)?;
        self.settle(branch, outcome);
        Ok(())
    }

    /// Passes if the branch is a task, open to the actor and not claimed by somebody else.
    fn permit(&mut self, seq: i32, actor: &Actor) -> Result<&'static str, Refusal> {
        let graph = self.graph;
        let branch = self.branch(seq)?;
        let Hold::Person { claimed_by, .. } = &branch.hold else {
            return Err(Refusal::NotATask);
        };
        let (audience, step_type) = match &graph.nodes[branch.step].kind {
            Kind::Approval(audience) => (audience, "approval"),
            Kind::DataEntry(audience) => (audience, "data_entry"),
            _ => unreachable!("only these wait for people"),
        };
        if !actor.belongs_to(audience) {
            let open_to = match &audience.group {
                Some(group) => format!("members of {group:?}"),
                None => "its assignees".to_owned(),
            };
            return Err(Refusal::NotYourTask(open_to));
        }
        match claimed_by {
            Some(holder) if *holder != actor.email => Err(Refusal::TaskClaimed(holder.clone())),
            _ => Ok(step_type),
        }
    }

    fn claim(&mut self, seq: i32, actor: &Actor) -> Result<(), Refusal> {
        self.permit(seq, actor)?;
        let now = self.now;
        let branch = self.branch(seq)?;
        if let Hold::Person { claimed_by, .. } = &mut branch.hold
            && claimed_by.is_none()
        {
            *claimed_by = Some(actor.email.clone());
            branch.times.assigned_at = Some(now);
            branch.times.started_at = now;
            self.show(seq, StepStatus::Running)?;
        }
        Ok(())
    }

    fn release(&mut self, seq: i32, actor: &Actor) -> Result<(), Refusal> {
        self.permit(seq, actor)?;
        let branch = self.branch(seq)?;
        let Hold::Person { claimed_by, .. } = &mut branch.hold else {
            return Err(Refusal::NotATask);
        };
        if claimed_by.take().is_none() {
            return Err(Refusal::NotClaimed);
        }
        branch.times.assigned_at = None;
        self.show(seq, StepStatus::Pending)
    }

    /// Writes an open branch's log as it stands.
    pub(super) fn show(&mut self, seq: i32, status: StepStatus) -> Result<(), Refusal> {
        let branch = self.branch(seq)?.clone();
        let log = self.log(&branch, status);
        self.change.logs.insert(seq, log);
        Ok(())
    }

    fn decide(&mut self, seq: i32, actor: &Actor, decision: Decision) -> Result<(), Refusal> {
        let step_type = self.permit(seq, actor)?;
        let stamp = self.now.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let approval = |approved: bool, comment: String| {
            let output = json!({
                "approved": approved, "approver": actor.email, "comment": comment, "timestamp": stamp,
            });
            match output {
                Value::Object(output) => output,
                _ => unreachable!("it is written as an object"),
            }
        };
        let (output, word) = match (step_type, decision) {
            ("approval", Decision::Approve { comment }) => (approval(true, comment), "approved"),
            ("approval", Decision::Reject { comment }) => (approval(false, comment), "rejected"),
            ("data_entry", Decision::Submit { data }) => (data, "submitted"),
            ("approval", _) => {
                return Err(Refusal::WrongAnswer {
                    step_type,
                    wrong: "submitted",
                    right: "approve or reject it",
                });
            }
            (_, _) => {
                return Err(Refusal::WrongAnswer {
                    step_type,
                    wrong: "approved or rejected",
                    right: "submit its data",
                });
            }
        };
        let mut branch = self.take(seq)?;
        branch.times.assigned_at.get_or_insert(self.now);
        let message = Some(format!("{word} by {}", actor.email));
        self.settle(branch, Outcome::Done { output, message });
        Ok(())
    }
}
