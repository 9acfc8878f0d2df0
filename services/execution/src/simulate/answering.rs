//! Those who give the answers of a simulation, each in its time. Invariant: whoever has no answer given answers at
//! once, so that a simulation always goes on.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use model::graph::Graph;
use model::instant::later;
use model::kind::Kind;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::mocks::{Mock, Mocks, Reply};
use super::{Moment, Others, take_up};
use crate::engine::{Actor, Branch, Command, Hold, Outcome, Resolution};

/// Who answers where a name is shown.
const NAME: &str = "simulation";

/// A simulation's people, workers and senders of signals.
pub struct Answering<'a> {
    graph: &'a Graph,
    mocks: &'a Mocks,
    /// By list: how many answers were taken.
    used: Vec<usize>,
    /// By the seq of a branch: the answer that is its turn.
    turns: HashMap<i32, &'a Mock>,
    /// The seqs of branches whose lock no other branch holds. Other executions hold none.
    free: HashSet<i32>,
}

impl<'a> Answering<'a> {
    pub(super) fn new(mocks: &'a Mocks, graph: &'a Graph) -> Self {
        Self {
            graph,
            mocks,
            used: vec![0; mocks.lists.len()],
            turns: HashMap::new(),
            free: HashSet::new(),
        }
    }
}

impl Others for Answering<'_> {
    /// An answer is taken when its step begins to wait, also if it then comes too late.
    fn notice(&mut self, branches: &[Branch]) {
        let is_new = |branch: &&Branch| {
            waits(&branch.hold)
                && self.mocks.of_step.contains_key(&branch.step)
                && !self.turns.contains_key(&branch.seq)
        };
        let mut new: Vec<&Branch> = branches.iter().filter(is_new).collect();
        new.sort_by_key(|branch| branch.seq);
        for branch in new {
            let list = self.mocks.of_step[&branch.step];
            let (answers, turn) = (&self.mocks.lists[list], self.used[list]);
            let mock = answers.get(turn).or(answers.last());
            self.turns.extend(mock.map(|mock| (branch.seq, mock)));
            self.used[list] += 1;
        }
        self.free = free_locks(branches);
    }

    fn when(&self, branch: &Branch) -> Moment {
        let from = branch.times.available_at;
        match &branch.hold {
            Hold::Runnable | Hold::Incident { .. } => answered(from),
            Hold::Timer { until } => due(*until),
            Hold::Lock { due_at } if !self.free.contains(&branch.seq) => never_or(*due_at),
            Hold::Lock { .. } => answered(from),
            Hold::Join { due_at } | Hold::Items { due_at } => never_or(*due_at),
            Hold::Job { .. } | Hold::Person { .. } | Hold::Signal { .. } | Hold::Child { .. } => {
                let mock = self.turns.get(&branch.seq);
                let delay = mock.map_or(Duration::ZERO, |mock| mock.delay);
                let answer = answered(later(from, delay));
                match (mock.map(|mock| &mock.reply), self.deadline(branch)) {
                    (Some(Reply::Timeout | Reply::QueueTimeout), Some(end)) => due(end),
                    (_, Some(end)) => answer.min(due(end)),
                    (_, None) => answer,
                }
            }
        }
    }

    fn act(&mut self, branch: &mut Branch, now: DateTime<Utc>) -> Option<Command> {
        let seq = branch.seq;
        Some(match branch.hold {
            Hold::Runnable => Command::Resume,
            Hold::Lock { .. } if self.free.contains(&seq) => Command::Grant { seq },
            Hold::Timer { .. } | Hold::Join { .. } | Hold::Items { .. } | Hold::Lock { .. } => {
                Command::Wake { seq }
            }
            // Nobody is there to resolve it: it fails as it would without parking.
            Hold::Incident { .. } => Command::Resolve {
                seq,
                actor: Actor {
                    id: NAME.to_owned(),
                    ..Actor::default()
                },
                resolution: Resolution::GiveUp,
            },
            Hold::Job { .. } | Hold::Person { .. } | Hold::Signal { .. } | Hold::Child { .. } => {
                let deadline = self.deadline(branch);
                let mock = self.turns.remove(&seq);
                if !matches!(mock.map(|mock| &mock.reply), Some(Reply::QueueTimeout)) {
                    self.take(branch, now, deadline);
                }
                let waited = mock.map_or(Duration::ZERO, |mock| mock.delay);
                let late =
                    deadline.is_some_and(|end| end <= later(branch.times.available_at, waited));
                match mock.map(|mock| &mock.reply) {
                    Some(Reply::Timeout | Reply::QueueTimeout) => Command::Wake { seq },
                    _ if late => Command::Wake { seq },
                    reply => Command::Settle {
                        seq,
                        outcome: outcome(&self.graph.nodes[branch.step].kind, reply, now),
                    },
                }
            }
        })
    }
}

impl Answering<'_> {
    /// When the branch stops waiting for its answer.
    fn deadline(&self, branch: &Branch) -> Option<DateTime<Utc>> {
        let reply = self.turns.get(&branch.seq).map(|mock| &mock.reply);
        match (&branch.hold, reply) {
            (Hold::Job { wake_at, .. }, Some(Reply::QueueTimeout)) => *wake_at,
            (Hold::Job { .. }, _) => {
                let limit = self.graph.nodes[branch.step].timeout;
                limit.map(|limit| later(branch.times.available_at, limit))
            }
            (hold, _) => hold.wake_at(branch.times.queued_at),
        }
    }

    /// Somebody takes it up as soon as that is possible.
    fn take(&self, branch: &mut Branch, now: DateTime<Utc>, deadline: Option<DateTime<Utc>>) {
        let from = branch.times.available_at;
        match branch.hold {
            Hold::Job { .. } => take_up(branch, from, deadline),
            Hold::Person { .. } if deadline.is_none_or(|end| now < end) => {
                branch.times.assigned_at = Some(now);
            }
            _ => {}
        }
    }
}

/// For each lock that nobody holds, the branch that has waited longest.
fn free_locks(branches: &[Branch]) -> HashSet<i32> {
    let locked = branches
        .iter()
        .filter_map(|branch| Some((branch.lock.as_deref()?, branch)));
    let mut first: HashMap<&str, i32> = HashMap::new();
    let mut held: HashSet<&str> = HashSet::new();
    for (lock, branch) in locked {
        match branch.hold {
            Hold::Lock { .. } => {
                let seq = first.entry(lock).or_insert(branch.seq);
                *seq = branch.seq.min(*seq);
            }
            _ => drop(held.insert(lock)),
        }
    }
    let free = first.into_iter().filter(|(lock, _)| !held.contains(lock));
    free.map(|(_, seq)| seq).collect()
}

fn waits(hold: &Hold) -> bool {
    matches!(
        hold,
        Hold::Job { .. } | Hold::Person { .. } | Hold::Signal { .. } | Hold::Child { .. }
    )
}

/// The clock comes before those who answer at the same instant.
fn due(at: DateTime<Utc>) -> Moment {
    Moment { at, rank: 0 }
}

/// Others end it, or its instant.
fn never_or(at: Option<DateTime<Utc>>) -> Moment {
    due(at.unwrap_or(DateTime::<Utc>::MAX_UTC))
}

fn answered(at: DateTime<Utc>) -> Moment {
    Moment { at, rank: 1 }
}

fn outcome(kind: &Kind, reply: Option<&Reply>, now: DateTime<Utc>) -> Outcome {
    let mut output = match reply {
        Some(Reply::Error(failure)) => return Outcome::Failed(failure.clone()),
        Some(Reply::BusinessError(failure)) => return Outcome::Thrown(failure.clone()),
        Some(Reply::Output(output)) => output.clone(),
        Some(Reply::Timeout | Reply::QueueTimeout) | None => Map::new(),
    };
    let word = match kind {
        Kind::Approval(_) => {
            let stamp = now.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            let documented = json!({
                "approved": true, "approver": NAME, "comment": "", "timestamp": stamp,
            });
            for (key, value) in documented.as_object().into_iter().flatten() {
                output.entry(key).or_insert_with(|| value.clone());
            }
            match output["approved"] == Value::Bool(true) {
                true => format!("approved by {NAME}"),
                false => format!("rejected by {NAME}"),
            }
        }
        Kind::Subworkflow(called) => {
            output
                .entry("executionId")
                .or_insert_with(|| json!(Uuid::nil()));
            if called.waits {
                output.entry("result").or_insert_with(|| json!({}));
            }
            format!("nothing was started by {NAME}")
        }
        Kind::DataEntry(_) => format!("submitted by {NAME}"),
        Kind::Signal { name, .. } => format!("received signal {name:?}"),
        _ => format!("completed by worker {NAME:?}"),
    };
    Outcome::Done {
        output,
        message: Some(word),
    }
}
