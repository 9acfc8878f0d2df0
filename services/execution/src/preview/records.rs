//! Recorded answers. Invariant: an answer belongs to one attempt at one step, comes after as long as it took,
//! and is none for whoever is asked something else now.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use model::graph::{Graph, Node};
use model::instant::later;
use model::kind::Kind;
use serde_json::Map;

use super::{Key, Missing};
use crate::engine::{Actor, Branch, Command, Failure, Hold, LEFT, Outcome, PARKED, Resolution};
use crate::simulate::{Moment, Others, Played, take_up};
use crate::store::records::Attempt;

/// Those who answered then.
pub(super) struct Records<'a> {
    draft: &'a Graph,
    old: &'a Graph,
    by_key: &'a HashMap<Key, &'a Attempt>,
    /// Why it is not known how the last branch goes on.
    why: &'static str,
}

/// What happens to a branch next.
enum Next<'a> {
    Resume,
    Wake,
    Grant,
    /// The job was taken at the first instant and is not done at the second.
    JobIsLate(DateTime<Utc>, DateTime<Utc>),
    Settle(&'a Attempt),
    Resolve(&'a Attempt),
    Leave(&'a Attempt),
    Unknown(&'static str),
}

const NEVER: &str = "the step, or this arrival or attempt, was not reached then";
const OTHER: &str = "the step asked somebody else then";
const WITHDRAWN: &str = "the step was withdrawn then before it was answered";
const LONGER: &str = "the step had timed out by then, and has more time now";
const PEOPLE: &str = "an operator ended the step then, and people decide it now";

impl<'a> Records<'a> {
    pub(super) fn new(
        draft: &'a Graph,
        old: &'a Graph,
        by_key: &'a HashMap<Key, &'a Attempt>,
    ) -> Self {
        let why = NEVER;
        Self {
            draft,
            old,
            by_key,
            why,
        }
    }

    /// The answer that the branch of this seq would have needed.
    pub(super) fn missing(&self, played: &Played, seq: i32) -> Missing {
        let mut branches = played.execution.branches.iter();
        let branch = branches.find(|branch| branch.seq == seq);
        Missing {
            step_id: branch
                .map(|branch| self.draft.definition.steps[branch.step].id)
                .unwrap_or_default(),
            activation: branch.map_or(0, |branch| branch.activation),
            attempt: branch.map_or(0, |branch| branch.attempt),
            why: self.why,
        }
    }

    fn recorded(&self, branch: &Branch) -> Option<&'a Attempt> {
        let step_id = self.draft.definition.steps[branch.step].id;
        let key = (step_id, branch.activation, branch.attempt);
        self.by_key.get(&key).copied()
    }

    /// The branch's step as it was and as it is.
    fn nodes(&self, branch: &Branch) -> (Option<&'a Node>, &'a Node) {
        let step_id = self.draft.definition.steps[branch.step].id;
        let old = self.old.node_of(step_id).map(|at| &self.old.nodes[at]);
        (old, &self.draft.nodes[branch.step])
    }

    fn next(&self, branch: &Branch) -> (Moment, Next<'a>) {
        let from = branch.times.available_at;
        let recorded = self.recorded(branch);
        let unknown = |why| (unknown_at(from), Next::Unknown(why));
        if let Some(it) = recorded.filter(|it| is_left(it)) {
            return (as_recorded(from, it), Next::Leave(it));
        }
        match &branch.hold {
            Hold::Runnable => (Moment { at: from, rank: 0 }, Next::Resume),
            Hold::Timer { until } => match recorded.filter(|it| it.taken_over) {
                Some(it) => (as_recorded(from, it), Next::Settle(it)),
                None => (self.by_clock(branch, *until), Next::Wake),
            },
            Hold::Join { due_at } | Hold::Items { due_at } => {
                let due = due_at.unwrap_or(DateTime::<Utc>::MAX_UTC);
                (self.by_clock(branch, due), Next::Wake)
            }
            Hold::Lock { due_at } => self.lock(branch, *due_at),
            Hold::Incident { .. } => match recorded {
                None => unknown(NEVER),
                Some(it) if is_withdrawn(it) => {
                    (unknown_at(after(from, it)), Next::Unknown(WITHDRAWN))
                }
                Some(it) if it.status == COMPLETED && is_for_people(self.nodes(branch).1) => {
                    unknown(PEOPLE)
                }
                Some(it) => (as_recorded(from, it), Next::Resolve(it)),
            },
            Hold::Job { .. } | Hold::Person { .. } | Hold::Signal { .. } | Hold::Child { .. } => {
                match recorded {
                    None => unknown(NEVER),
                    Some(it) => self.answer(branch, it),
                }
            }
        }
    }

    /// When the clock ends a waiting: a recorded one never before it did then, for clocks are noticed late.
    fn by_clock(&self, branch: &Branch, due: DateTime<Utc>) -> Moment {
        let (old, new) = self.nodes(branch);
        match (self.recorded(branch), old) {
            (Some(it), Some(old))
                if has_same_limits(old, new) && same_wait(&old.kind, &new.kind) =>
            {
                let recorded = as_recorded(branch.times.available_at, it);
                Moment {
                    at: due.max(recorded.at),
                    ..recorded
                }
            }
            _ => Moment { at: due, rank: 0 },
        }
    }

    /// When a lock is had: after as long as then. One that was not waited for then is free.
    fn lock(&self, branch: &Branch, due_at: Option<DateTime<Utc>>) -> (Moment, Next<'a>) {
        let from = branch.times.available_at;
        let (old, new) = self.nodes(branch);
        let same = old.is_some_and(|old| old.lock == new.lock);
        let Some(it) = self.recorded(branch).filter(|_| same) else {
            return (Moment { at: from, rank: 0 }, Next::Grant);
        };
        if it.error_code.as_deref() == Some("LOCK_TIMEOUT") {
            return (as_recorded(from, it), Next::Settle(it));
        }
        let at = later(from, span(it.queued_at, it.available_at));
        match due_at {
            Some(due) if due < at => (Moment { at: due, rank: 0 }, Next::Wake),
            _ => (Moment { at, rank: 0 }, Next::Grant),
        }
    }

    /// What comes of a step that asks somebody who answered, or did not.
    fn answer(&self, branch: &Branch, it: &'a Attempt) -> (Moment, Next<'a>) {
        let from = branch.times.available_at;
        let (old, new) = self.nodes(branch);
        let Some(old) = old.filter(|old| asks_the_same(&old.kind, &new.kind)) else {
            return (unknown_at(from), Next::Unknown(OTHER));
        };
        let recorded = as_recorded(from, it);
        if !has_same_limits(old, new) {
            if let Some((at, next)) = deadline(branch, new, it).filter(|(at, _)| *at <= recorded.at)
            {
                return (Moment { at, rank: 0 }, next);
            }
            if is_timeout(it) {
                return (unknown_at(recorded.at), Next::Unknown(LONGER));
            }
        }
        match is_withdrawn(it) {
            true => (unknown_at(recorded.at), Next::Unknown(WITHDRAWN)),
            false => (recorded, Next::Settle(it)),
        }
    }

    fn outcome(&self, branch: &Branch, it: &Attempt) -> Outcome {
        let Some(code) = &it.error_code else {
            return Outcome::Done {
                output: it
                    .data
                    .as_ref()
                    .map_or_else(Map::new, |data| data.0.clone()),
                message: None,
            };
        };
        let failure = Failure::new(code, it.error.clone().unwrap_or_default());
        let is_final = !it.will_retry || it.message.as_deref() == Some(PARKED);
        let (old, new) = self.nodes(branch);
        let is_thrown = old.is_some_and(|old| {
            let attempt = u32::try_from(it.attempt).unwrap_or(u32::MAX);
            let had_more = attempt < old.retry.max_attempts && old.retry.total_timeout.is_none();
            // By the same policy the end is the same, whatever it was; by another one only a business error,
            // which no policy has tried again, is sure to be final.
            old.retry == new.retry || had_more
        });
        match is_final && is_thrown {
            true => Outcome::Thrown(failure),
            false => Outcome::Failed(failure),
        }
    }
}

impl Others for Records<'_> {
    fn notice(&mut self, _: &[Branch]) {}

    fn when(&self, branch: &Branch) -> Moment {
        self.next(branch).0
    }

    fn act(&mut self, branch: &mut Branch, _: DateTime<Utc>) -> Option<Command> {
        let seq = branch.seq;
        Some(match self.next(branch).1 {
            Next::Resume => Command::Resume,
            Next::Wake => Command::Wake { seq },
            Next::Grant => Command::Grant { seq },
            Next::Leave(it) => {
                self.why = PEOPLE;
                Command::Leave {
                    seq,
                    actor: Actor::default(),
                    reason: String::new(),
                    goes_on: it.route.is_some() || it.status == COMPLETED,
                }
            }
            Next::JobIsLate(taken_at, deadline) => {
                take_up(branch, taken_at, Some(deadline));
                Command::Wake { seq }
            }
            Next::Settle(it) => Command::Settle {
                seq,
                outcome: self.outcome(branch, it),
            },
            Next::Resolve(it) => Command::Resolve {
                seq,
                actor: Actor::default(),
                resolution: resolution(it),
            },
            Next::Unknown(why) => {
                self.why = why;
                return None;
            }
        })
    }
}

// Words of `execution.step_status`.
const COMPLETED: &str = "COMPLETED";
const SKIPPED: &str = "SKIPPED";

/// Behind everything that is known to happen at the same instant.
fn unknown_at(at: DateTime<Utc>) -> Moment {
    Moment { at, rank: i32::MAX }
}

/// As long after its beginning as it was then, and in the same order.
fn as_recorded(from: DateTime<Utc>, it: &Attempt) -> Moment {
    Moment {
        at: after(from, it),
        rank: it.event_seq,
    }
}

fn after(from: DateTime<Utc>, it: &Attempt) -> DateTime<Utc> {
    later(from, span(it.available_at, it.completed_at))
}

/// From the one instant to the other; nothing if that is backwards.
fn span(from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
    (to - from).to_std().unwrap_or_default()
}

/// Withdrawn by an operator, whatever it waited for.
fn is_left(it: &Attempt) -> bool {
    let message = it.message.as_deref().unwrap_or_default();
    message.starts_with(LEFT) && it.error_code.is_none()
}

/// Ended from outside: neither done nor failed, and not by an operator who tried again.
fn is_withdrawn(it: &Attempt) -> bool {
    it.status == SKIPPED && it.error_code.is_none() && !it.will_retry
}

fn is_timeout(it: &Attempt) -> bool {
    matches!(it.error_code.as_deref(), Some("TIMEOUT" | "QUEUE_TIMEOUT"))
}

fn is_for_people(node: &Node) -> bool {
    matches!(node.kind, Kind::Approval(_) | Kind::DataEntry(_))
}

fn has_same_limits(old: &Node, new: &Node) -> bool {
    (old.timeout, old.queue_timeout) == (new.timeout, new.queue_timeout)
}

fn same_wait(old: &Kind, new: &Kind) -> bool {
    match (old, new) {
        (Kind::Wait(old), Kind::Wait(new)) => old == new,
        (Kind::Join(old), Kind::Join(new)) => old == new,
        (Kind::Foreach(_), Kind::Foreach(_)) => true,
        _ => false,
    }
}

/// Whether an answer to the one is an answer to the other.
fn asks_the_same(old: &Kind, new: &Kind) -> bool {
    match (old, new) {
        (Kind::Approval(_), Kind::Approval(_)) | (Kind::DataEntry(_), Kind::DataEntry(_)) => true,
        (Kind::Signal { name: old, .. }, Kind::Signal { name: new, .. }) => old == new,
        (Kind::Job { job_type: old }, Kind::Job { job_type: new }) => old == new,
        (Kind::Subworkflow(old), Kind::Subworkflow(new)) => {
            (old.workflow_id, old.waits) == (new.workflow_id, new.waits)
        }
        _ => false,
    }
}

/// When the draft's own limits end an attempt that went as recorded.
fn deadline<'a>(branch: &Branch, new: &Node, it: &Attempt) -> Option<(DateTime<Utc>, Next<'a>)> {
    let from = branch.times.available_at;
    if !matches!(branch.hold, Hold::Job { .. }) {
        let due = branch.hold.wake_at(branch.times.queued_at)?;
        return Some((due, Next::Wake));
    }
    let taken_after = it.assigned_at.map(|at| span(it.available_at, at));
    if let Some(limit) = new.queue_timeout
        && taken_after.is_none_or(|took| took >= limit)
    {
        return Some((later(from, limit), Next::Wake));
    }
    let taken_at = later(from, taken_after?);
    let due = later(taken_at, new.timeout?);
    Some((due, Next::JobIsLate(taken_at, due)))
}

fn resolution(it: &Attempt) -> Resolution {
    let data = || {
        it.data
            .as_ref()
            .map_or_else(Map::new, |data| data.0.clone())
    };
    match it.status.as_str() {
        COMPLETED => Resolution::Complete { output: data() },
        SKIPPED => Resolution::Retry { data: data() },
        _ => Resolution::GiveUp,
    }
}
