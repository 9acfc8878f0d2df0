//! What a restarted execution takes over from the one that it replaces. Invariant: a step is taken over only where
//! everything that led to it was, so nothing that is done again is followed by what was done before it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::graph::Graph;
use model::kind::Kind;
use model::status::StepStatus;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Step;
use super::settle::Outcome;
use super::state::{Branch, Hold};

/// How a log begins to tell that its step was taken over.
const TAKEN_OVER: &str = "taken over from execution ";

/// An attempt of an execution that is over, as its log tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    pub seq: i32,
    pub step_id: Uuid,
    pub activation: i32,
    pub attempt: i32,
    pub status: StepStatus,
    pub event_seq: i32,
    pub from: Option<i32>,
    /// Which item of a foreach it was for.
    pub item_index: Option<i32>,
    pub message: Option<String>,
}

/// An activation that was completed, or a foreach that was not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    step_id: Uuid,
    activation: i32,
    /// The activation that led to it; none for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    item_index: Option<i32>,
    /// Its place in the order of endings.
    ended: i32,
    /// Only items of it were completed: it is not taken over itself, and nothing that follows it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    in_part: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    output: Map<String, Value>,
}

/// What is left to be taken over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reuse {
    of: Uuid,
    /// By the seq of the last attempt.
    done: BTreeMap<i32, Done>,
    /// By the seq of a branch: the activation that it repeats.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    repeats: BTreeMap<i32, i32>,
    /// By the seq of an earlier attempt, whose log keeps what an operator corrected: its activation. Needed only
    /// until outputs are known.
    #[serde(skip)]
    corrections: BTreeMap<i32, i32>,
}

impl Reuse {
    /// What the execution `of`, which ran `graph`, has completed and not undone, up to the step `afresh`; for one that
    /// is going to run `next`.
    pub fn new(
        of: Uuid,
        (graph, next): (&Graph, &Graph),
        past: &[Past],
        afresh: Option<Uuid>,
    ) -> Self {
        let mut activations: BTreeMap<(Uuid, i32), (&Past, &Past)> = BTreeMap::new();
        for log in past {
            let entry = (log.step_id, log.activation);
            let (first, last) = activations.entry(entry).or_insert((log, log));
            if log.attempt < first.attempt {
                *first = log;
            }
            if log.attempt > last.attempt {
                *last = log;
            }
        }
        // What an operator corrected meanwhile may have changed the lists that items come from.
        let is_corrected = |log: &Past| {
            log.status == StepStatus::Skipped && {
                let entry = &activations[&(log.step_id, log.activation)];
                entry.1.attempt > log.attempt
            }
        };
        let has_same_items =
            graph.definition.version == next.definition.version && !past.iter().any(is_corrected);
        let undone = undone(graph, activations.values().copied());
        let mut in_order: Vec<(&Past, &Past)> = activations.into_values().collect();
        in_order.sort_by_key(|(first, _)| first.seq);
        let mut done: BTreeMap<i32, Done> = BTreeMap::new();
        for (first, last) in in_order {
            let before = first.from.and_then(|from| done.get(&from));
            let follows = match (first.from, before) {
                (Some(_), before) => {
                    before.is_some_and(|it| it.in_part == first.item_index.is_some())
                }
                (None, _) => first.seq == 1,
            };
            let is_completed = last.status == StepStatus::Completed;
            let stands = is_completed && !undone.contains(&last.seq);
            // Its items are the same only if nothing else is.
            let in_part = !is_completed && has_same_items && is_foreach(graph, last.step_id);
            let is_same = is_same((graph, next), last.step_id);
            if follows && is_same && (stands || in_part) && Some(last.step_id) != afresh {
                let activation = Done {
                    step_id: last.step_id,
                    activation: last.activation,
                    from: first.from,
                    item_index: first.item_index,
                    ended: last.event_seq,
                    in_part,
                    message: last.message.clone(),
                    output: Map::new(),
                };
                done.insert(last.seq, activation);
            }
        }
        let last: HashMap<(Uuid, i32), i32> = done
            .iter()
            .map(|(seq, done)| ((done.step_id, done.activation), *seq))
            .collect();
        let skipped = past.iter().filter(|log| log.status == StepStatus::Skipped);
        let corrections = skipped
            .filter_map(|log| Some((log.seq, *last.get(&(log.step_id, log.activation))?)))
            .collect();
        Self {
            of,
            done,
            repeats: BTreeMap::new(),
            corrections,
        }
    }

    /// The logs whose outputs are needed when `graph` runs, in order.
    pub fn wanted(&self, graph: &Graph) -> Vec<i32> {
        let is_wanted = |seq: &i32| {
            let at = self.done.get(seq);
            let at = at.and_then(|done| graph.node_of(done.step_id));
            at.is_some_and(|at| is_taken_over(&graph.nodes[at].kind))
        };
        let done = self.done.keys().filter(|seq| is_wanted(seq));
        let corrected = self.corrections.iter().filter(|(_, done)| is_wanted(done));
        let mut wanted: Vec<i32> = done.chain(corrected.map(|(seq, _)| seq)).copied().collect();
        wanted.sort_unstable();
        wanted
    }

    /// Adds the output of a log that is wanted; they come in order.
    pub fn keep(&mut self, seq: i32, output: Map<String, Value>) {
        let at = self.corrections.get(&seq).copied().unwrap_or(seq);
        if let Some(done) = self.done.get_mut(&at) {
            done.output.extend(output);
        }
    }

    /// What a branch repeats, if what follows it may be taken over.
    fn repeated(&self, seq: i32) -> Option<i32> {
        let at = *self.repeats.get(&seq)?;
        let in_part = self.done.get(&at).is_none_or(|done| done.in_part);
        (!in_part).then_some(at)
    }

    /// The activation that a new branch repeats, if what led to the branch repeats `before`.
    fn next(&self, before: Option<i32>, step_id: Uuid, join: Option<i32>) -> Option<i32> {
        // Whatever comes later has a greater seq.
        let mut later = self.done.range(before.map_or(0, |seq| seq + 1)..);
        let found = later.find(|(seq, done)| {
            // Whichever branch came to a join first, its round is the same.
            let is_next = match join {
                Some(activation) => done.activation == activation,
                None => done.from == before,
            };
            is_next && done.step_id == step_id && !self.repeats.values().any(|used| used == *seq)
        });
        found.map(|(seq, _)| *seq)
    }
}

/// Whether a step is the same in both versions. If not, what it did is not what it would do: above all nobody has
/// decided what people are asked now.
fn is_same((graph, next): (&Graph, &Graph), step_id: Uuid) -> bool {
    let find = |graph: &Graph| {
        let step = &graph.definition.steps[graph.node_of(step_id)?];
        Some((step.step_type.clone(), step.config.clone()))
    };
    find(graph).is_some_and(|step| find(next) == Some(step))
}

fn is_foreach(graph: &Graph, step_id: Uuid) -> bool {
    let at = graph.node_of(step_id);
    at.is_some_and(|at| matches!(graph.nodes[at].kind, Kind::Foreach(_)))
}

/// Of activations the seqs of those that were undone: the newest first, one for each that undid.
fn undone<'a>(
    graph: &Graph,
    activations: impl Iterator<Item = (&'a Past, &'a Past)>,
) -> BTreeSet<i32> {
    let undoing: BTreeSet<usize> = graph.nodes.iter().filter_map(|it| it.undone_by).collect();
    let (mut undid, mut undoable) = (Vec::new(), Vec::new());
    for (first, last) in activations {
        match graph.node_of(last.step_id) {
            Some(at) if undoing.contains(&at) => undid.push((first, last)),
            Some(at) if graph.nodes[at].undone_by.is_some() && last.item_index.is_none() => {
                undoable.push(last);
            }
            _ => {}
        }
    }
    undid.sort_by_key(|(first, _)| first.seq);
    undoable.retain(|last| last.status == StepStatus::Completed);
    undoable.sort_by_key(|last| std::cmp::Reverse(last.event_seq));
    let pairs = undoable.into_iter().zip(undid);
    pairs
        .filter(|(_, (_, undid))| undid.status == StepStatus::Completed)
        .map(|(done, _)| done.seq)
        .collect()
}

/// Whether a step has effects or waits. What only steers and computes is done again: it comes to the same.
fn is_taken_over(kind: &Kind) -> bool {
    !matches!(
        kind,
        Kind::Decision | Kind::Parallel | Kind::Join(_) | Kind::Transform(_) | Kind::End(_)
    )
}

impl Step<'_> {
    /// Notes what led to a branch that has come to a step, or to a join where another one waits.
    pub(super) fn follow(&mut self, from: Option<i32>, step: usize, begun: Option<i32>) {
        let mut branches = self.execution.branches.iter_mut();
        let branch = branches.find(|branch| match begun {
            Some(seq) => branch.seq == seq,
            None => {
                branch.step == step && matches!(branch.hold, Hold::Join { .. } | Hold::Runnable)
            }
        });
        let Some(branch) = branch else { return };
        if begun.is_some() {
            branch.from = from;
        }
        let Some(reuse) = &mut self.execution.memory.reuse else {
            return;
        };
        let before = from.map(|seq| reuse.repeated(seq));
        match before {
            // What led here is done afresh: so is whatever follows, also for those who come together.
            Some(None) => drop(reuse.repeats.remove(&branch.seq)),
            _ if begun.is_none() => {}
            _ => {
                let node = &self.graph.nodes[step];
                let join = matches!(node.kind, Kind::Join(_)).then_some(branch.activation);
                let step_id = self.graph.definition.steps[step].id;
                if let Some(next) = reuse.next(before.flatten(), step_id, join) {
                    reuse.repeats.insert(branch.seq, next);
                }
            }
        }
    }

    /// Notes which item a branch is for that a foreach has begun.
    pub(super) fn follow_item(&mut self, of: i32, begun: i32, index: i32) {
        if let Ok(branch) = self.branch(begun) {
            branch.from = Some(of);
        }
        let Some(reuse) = &mut self.execution.memory.reuse else {
            return;
        };
        let Some(of) = reuse.repeats.get(&of).copied() else {
            return;
        };
        let mut later = reuse.done.range(of + 1..);
        let same = later.find(|(_, done)| done.from == Some(of) && done.item_index == Some(index));
        if let Some((item, _)) = same {
            reuse.repeats.insert(begun, *item);
        }
    }

    /// The branch that runs next. Those that are taken over end in the order in which they ended before, so that
    /// what depends on the order comes out the same.
    pub(super) fn next_ready(&self) -> Option<usize> {
        let branches = self.execution.branches.iter().enumerate();
        let mut ready = branches.filter(|(_, branch)| branch.hold == Hold::Runnable);
        let next = match &self.execution.memory.reuse {
            None => ready.next(),
            Some(reuse) => ready.min_by_key(|(_, branch)| {
                let repeated = reuse.repeats.get(&branch.seq)?;
                let done = reuse.done.get(repeated)?;
                let kind = &self.graph.nodes[branch.step].kind;
                (is_taken_over(kind) && !done.in_part).then_some(done.ended)
            }),
        };
        next.map(|(at, _)| at)
    }

    /// How a branch ended before, if it is taken over.
    pub(super) fn taken_over(&mut self, branch: &Branch) -> Option<Outcome> {
        if !is_taken_over(&self.graph.nodes[branch.step].kind) {
            return None;
        }
        let reuse = self.execution.memory.reuse.as_mut()?;
        let done = reuse.done.get_mut(reuse.repeats.get(&branch.seq)?)?;
        if done.in_part {
            return None;
        }
        let note = format!("{TAKEN_OVER}{}", reuse.of);
        let before = done.message.take().map(|message| {
            // That execution may have taken it over, too.
            let before = message
                .find(TAKEN_OVER)
                .map_or(&*message, |at| &message[..at]);
            before.trim_end_matches("; ").to_owned()
        });
        let message = match before {
            Some(before) if !before.is_empty() => format!("{before}; {note}"),
            _ => note,
        };
        Some(Outcome::Done {
            output: std::mem::take(&mut done.output),
            message: Some(message),
        })
    }

    /// Forgets what a branch repeated that is over.
    pub(super) fn repeated(&mut self, branch: &Branch) {
        if let Some(reuse) = &mut self.execution.memory.reuse
            && let Some(done) = reuse.repeats.remove(&branch.seq)
        {
            reuse.done.remove(&done);
        }
    }

    /// Forgets all of it once no branch repeats anything.
    pub(super) fn tidy_reuse(&mut self) {
        let Some(reuse) = &mut self.execution.memory.reuse else {
            return;
        };
        let open: BTreeSet<i32> = (self.execution.branches.iter())
            .map(|branch| branch.seq)
            .collect();
        reuse.repeats.retain(|seq, _| open.contains(seq));
        if reuse.repeats.is_empty() {
            self.execution.memory.reuse = None;
        }
    }
}
