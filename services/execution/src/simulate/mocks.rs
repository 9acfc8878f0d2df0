//! Given answers. Invariant: an answer that nobody would ever be asked for is refused, not ignored.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use model::duration;
use model::graph::Graph;
use model::instant::later;
use model::kind::Kind;
use model::problem::did_you_mean;
use serde_json::{Map, Value, json};

use super::{Moment, Others, take_up};
use crate::engine::{Actor, Branch, Command, Failure, Hold, Outcome, Resolution};

/// Who answers where a name is shown.
const NAME: &str = "simulation";

const FORM: &str = "an answer is {\"output\": {…}}, {\"error\": {\"code\": …, \"message\": …}}, \
                    {\"businessError\": {\"code\": …, \"message\": …}}, each perhaps with a \"delay\" (`2h`), or \
                    {\"timeout\": true} or {\"queueTimeout\": true}";

/// Unknown words that get a hint.
const MOST_HINTS: usize = 10;

/// One answer, and how long it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Mock {
    delay: Duration,
    reply: Reply,
}

#[derive(Debug, Clone, PartialEq)]
enum Reply {
    Output(Map<String, Value>),
    /// A technical failure: the retry policy applies.
    Error(Failure),
    /// A business error: routed, never retried.
    BusinessError(Failure),
    /// None before the step's timeout; a worker has taken the job.
    Timeout,
    /// No worker takes the job before its queue timeout.
    QueueTimeout,
}

impl Mock {
    /// Reads what [`FORM`] says.
    pub fn parse(value: &Value) -> Result<Self, String> {
        let mut object = value.as_object().cloned().ok_or(FORM)?;
        let delay = object.remove("delay");
        let mut words = object.into_iter();
        let (Some((word, body)), None) = (words.next(), words.next()) else {
            return Err(FORM.to_owned());
        };
        let reply = match (word.as_str(), body) {
            ("output", Value::Object(output)) => Reply::Output(output),
            ("error", Value::Object(body)) => Reply::Error(failure(&word, &body)?),
            ("businessError", Value::Object(body)) => Reply::BusinessError(failure(&word, &body)?),
            ("timeout", Value::Bool(true)) => Reply::Timeout,
            ("queueTimeout", Value::Bool(true)) => Reply::QueueTimeout,
            _ => return Err(FORM.to_owned()),
        };
        let delay = match delay {
            None => Duration::ZERO,
            Some(_) if matches!(reply, Reply::Timeout | Reply::QueueTimeout) => {
                return Err(
                    "delay has no meaning with a timeout: the step says when it ends".into(),
                );
            }
            Some(Value::String(text)) => {
                duration::parse(&text).map_err(|error| format!("delay: {error}"))?
            }
            Some(_) => return Err("delay is no text such as `2h`".to_owned()),
        };
        Ok(Self { delay, reply })
    }
}

fn failure(word: &str, body: &Map<String, Value>) -> Result<Failure, String> {
    let text = |key: &str| match body.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("{word}.{key} is not a text")),
    };
    let code = text("code")?.ok_or_else(|| format!("{word}.code is required"))?;
    let message = text("message")?.unwrap_or_default();
    Ok(Failure { code, message })
}

/// Lists of answers, each used one after another by the steps that it is for; the last answer repeats.
#[derive(Debug, Default)]
pub struct Mocks {
    lists: Vec<Vec<Mock>>,
    /// By step: which list is for it.
    of_step: HashMap<usize, usize>,
}

impl Mocks {
    /// Finds out which steps the lists are for, by a step's name or key or a signal's name, in this order.
    /// Or says, by the place in the lists, what is wrong.
    pub fn bind(
        given: BTreeMap<String, Vec<Mock>>,
        graph: &Graph,
    ) -> Result<Self, Vec<(String, String)>> {
        let mut mocks = Self::default();
        let mut wrong = Vec::new();
        let steps = &graph.definition.steps;
        let mut signals = Vec::new();
        for (word, list) in given {
            let by_name = steps.iter().position(|step| step.name == word);
            let named = by_name.or_else(|| steps.iter().position(|step| step.key == word));
            match named {
                Some(step) => mocks.give(&word, list, &[step], graph, &mut wrong),
                None => signals.push((word, list)),
            }
        }
        for (word, list) in signals {
            let all = (0..steps.len()).filter(|&at| is_signal(graph, at, &word));
            let all: Vec<usize> = all.collect();
            if all.is_empty() {
                // Comparing words is expensive.
                let hint = match wrong.len() < MOST_HINTS {
                    true => did_you_mean(&word, known(graph)),
                    false => String::new(),
                };
                let nothing = format!("there is no such step or signal.{hint}");
                wrong.push((place(&word), nothing));
                continue;
            }
            let own = |at: &usize| !mocks.of_step.contains_key(at);
            let left: Vec<usize> = all.into_iter().filter(own).collect();
            if left.is_empty() {
                let twice = "its steps have answers of their own".to_owned();
                wrong.push((place(&word), twice));
            }
            mocks.give(&word, list, &left, graph, &mut wrong);
        }
        match wrong.is_empty() {
            true => Ok(mocks),
            false => Err(wrong),
        }
    }

    fn give(
        &mut self,
        word: &str,
        list: Vec<Mock>,
        steps: &[usize],
        graph: &Graph,
        wrong: &mut Vec<(String, String)>,
    ) {
        for &step in steps {
            if let Some(never) = never_asked(&graph.nodes[step].kind) {
                wrong.push((place(word), never.to_owned()));
                continue;
            }
            for (at, mock) in list.iter().enumerate() {
                if let Err(why) = can_be(mock, graph, step) {
                    wrong.push((format!("{}[{at}]", place(word)), why));
                }
            }
            if self.of_step.insert(step, self.lists.len()).is_some() {
                let twice = "the step has answers under its other name, too".to_owned();
                wrong.push((place(word), twice));
            }
        }
        self.lists.push(list);
    }

    /// Those who give these answers, once.
    pub fn answering<'a>(&'a self, graph: &'a Graph) -> Answering<'a> {
        Answering {
            graph,
            mocks: self,
            used: vec![0; self.lists.len()],
            turns: HashMap::new(),
            free: HashSet::new(),
        }
    }
}

fn place(word: &str) -> String {
    format!("mocks[{:?}]", model::text::clean(word, 200))
}

fn is_signal(graph: &Graph, step: usize, word: &str) -> bool {
    matches!(&graph.nodes[step].kind, Kind::Signal { name, .. } if name == word)
}

/// All words that a list can be given under.
fn known(graph: &Graph) -> impl Iterator<Item = &str> {
    let names = graph.definition.steps.iter().map(|step| step.name.as_str());
    let keys = graph.definition.steps.iter().map(|step| step.key.as_str());
    let signals = graph.nodes.iter().filter_map(|node| match &node.kind {
        Kind::Signal { name, .. } => Some(name.as_str()),
        _ => None,
    });
    // Of words that are as near, the last one is proposed.
    keys.chain(signals).chain(names)
}

/// Why nobody answers for a step of this kind, if so.
fn never_asked(kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::Job { .. } | Kind::Approval(_) | Kind::DataEntry(_) | Kind::Signal { .. } => None,
        Kind::Wait(_) => Some("nobody answers for a wait: time jumps to its end"),
        Kind::Join(_) => Some(
            "nobody answers for a join: it times out if the answers that lead to it take longer",
        ),
        Kind::Foreach(_) => {
            Some("nobody answers for a foreach: the step that it does for each item is asked")
        }
        _ => Some("nobody is asked at this step: the engine does what it says"),
    }
}

fn can_be(mock: &Mock, graph: &Graph, step: usize) -> Result<(), String> {
    let node = &graph.nodes[step];
    let (limit, setting) = match mock.reply {
        Reply::Timeout => (node.timeout, "timeout"),
        Reply::QueueTimeout => (node.queue_timeout, "queueTimeout"),
        _ => return Ok(()),
    };
    let name = &graph.definition.steps[step].name;
    match limit {
        Some(_) => Ok(()),
        None => Err(format!("the step {name:?} has no {setting}")),
    }
}

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

impl Others for Answering<'_> {
    /// An answer is taken when its step begins to wait, also if it then comes too late.
    fn notice(&mut self, branches: &[Branch]) {
        let is_new =
            |branch: &&Branch| waits(&branch.hold) && !self.turns.contains_key(&branch.seq);
        let mut new: Vec<&Branch> = branches.iter().filter(is_new).collect();
        new.sort_by_key(|branch| branch.seq);
        for branch in new {
            let Some(&list) = self.mocks.of_step.get(&branch.step) else {
                continue;
            };
            let (answers, turn) = (&self.mocks.lists[list], self.used[list]);
            if let Some(mock) = answers.get(turn).or(answers.last()) {
                self.turns.insert(branch.seq, mock);
                self.used[list] += 1;
            }
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
        Kind::DataEntry(_) => format!("submitted by {NAME}"),
        Kind::Signal { name, .. } => format!("received signal {name:?}"),
        _ => format!("completed by worker {NAME:?}"),
    };
    Outcome::Done {
        output,
        message: Some(word),
    }
}
