//! Why a command was not obeyed, as its caller is told. Invariant: what is over is told apart from what
//! never was, and from what somebody else holds at this moment.

use std::collections::HashMap;

use chassis::{Error, Result};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Action;
use super::batch::Verdict;
use super::load::Found;
use crate::engine::{self, Refusal};
use crate::store;

/// Why a target was not found.
pub(super) enum Missing {
    Unknown,
    /// The attempt is over.
    Over,
    Busy,
}

pub(super) async fn missing(
    conn: &mut PgConnection,
    found: &Found,
    ids: &[Uuid],
    wait_ids: &[Uuid],
) -> Result<HashMap<Uuid, Missing>> {
    let mut all = HashMap::new();
    let ids: Vec<Uuid> = ids
        .iter()
        .copied()
        .filter(|id| !found.executions.contains_key(id))
        .collect();
    if !ids.is_empty() {
        all.extend(ids.iter().map(|id| (*id, Missing::Unknown)));
        for id in store::load::existing_executions(conn, &ids).await? {
            all.insert(id, Missing::Busy);
        }
    }
    let wait_ids: Vec<Uuid> = wait_ids
        .iter()
        .copied()
        .filter(|id| !found.branches.contains_key(id))
        .collect();
    if !wait_ids.is_empty() {
        all.extend(wait_ids.iter().map(|id| (*id, Missing::Unknown)));
        for (id, over) in store::load::attempts(conn, &wait_ids).await? {
            all.insert(id, if over { Missing::Over } else { Missing::Busy });
        }
    }
    Ok(all)
}

pub(super) fn absent(id: Uuid, action: &Action, missing: Option<&Missing>) -> Verdict {
    let is_job = matches!(
        action,
        Action::Answer(
            engine::Answer::Complete { .. }
                | engine::Answer::Fail { .. }
                | engine::Answer::Throw { .. }
        )
    );
    let awaited = matches!(action, Action::Deliver(_) | Action::TakeKept);
    match missing {
        Some(Missing::Busy) => Verdict::Busy,
        // A row of `commands` that is refused can have no effect any more.
        _ if matches!(action, Action::Call(_) | Action::Hear(_)) => {
            Verdict::Refused(Error::not_found("wait", id))
        }
        _ if matches!(action, Action::Wake) => Verdict::Done(Uuid::nil().into()),
        Some(Missing::Over) => Verdict::Refused(refused(Refusal::BranchGone, action)),
        _ if awaited => Verdict::Refused(refused(Refusal::BranchGone, action)),
        _ if matches!(action, Action::Resolve(_)) => {
            Verdict::Refused(Error::not_found("incident", id))
        }
        _ if matches!(action, Action::Leave { .. }) => {
            Verdict::Refused(Error::not_found("wait", id))
        }
        _ if is_job => Verdict::Refused(Error::not_found("job", id)),
        _ => Verdict::Refused(Error::not_found("task", id)),
    }
}

pub(super) fn refused(refusal: Refusal, action: &Action) -> Error {
    let is_decision = matches!(
        action,
        Action::Answer(engine::Answer::Claim | engine::Answer::Release | engine::Answer::Decide(_))
    );
    let message = refusal.to_string();
    match refusal {
        // Where a task or a job was named, that is what is over.
        Refusal::BranchGone | Refusal::ExecutionFinished(_) if is_decision => {
            Error::precondition("TASK_FINISHED", "the task is over")
        }
        Refusal::BranchGone if matches!(action, Action::Resolve(_)) => {
            Error::precondition("INCIDENT_RESOLVED", "the incident is over")
        }
        Refusal::BranchGone if matches!(action, Action::Leave { .. }) => {
            Error::precondition("WAIT_OVER", "the branch has gone on")
        }
        Refusal::BranchGone if matches!(action, Action::Deliver(_) | Action::TakeKept) => {
            Error::precondition("SIGNAL_NOT_AWAITED", "nobody waits for the signal any more")
        }
        Refusal::ExecutionFinished(_) if !matches!(action, Action::Answer(_)) => {
            Error::precondition("EXECUTION_FINISHED", message)
        }
        Refusal::BranchGone | Refusal::JobNotHeld | Refusal::ExecutionFinished(_) => {
            Error::precondition(
                "JOB_NOT_HELD",
                "the job is not held by this worker (any more); nothing was changed",
            )
        }
        Refusal::Closing(_) => Error::precondition("EXECUTION_CLOSING", message),
        Refusal::PeopleDecide => Error::precondition("PEOPLE_DECIDE", message),
        Refusal::NotAnIncident => Error::precondition("NOT_AN_INCIDENT", message),
        Refusal::ContextFull => Error::precondition("LIMIT_EXCEEDED", message),
        Refusal::TooManySignals => Error::precondition("TOO_MANY_SIGNALS", message),
        Refusal::NotATask => Error::precondition("NOT_A_TASK", message),
        Refusal::NotAJob => Error::precondition("NOT_A_JOB", message),
        Refusal::WrongAnswer { .. } => Error::precondition("WRONG_ANSWER", message),
        Refusal::NotYourTask(_) => Error::denied("NOT_YOUR_TASK", message),
        Refusal::TaskClaimed(_) => Error::precondition("TASK_CLAIMED", message),
        Refusal::NotClaimed => Error::precondition("TASK_NOT_CLAIMED", message),
        Refusal::NotDue => Error::internal("only timers can be early"),
    }
}
