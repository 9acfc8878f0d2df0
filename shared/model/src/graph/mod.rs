//! The parsed workflow graph: constructing one is the validation. Invariant: a [`Graph`] can run — it has
//! one start, reaches all its steps, every config and condition in it is understood, and no loop spins.

mod apart;
mod edges;
mod facts;
mod joins;
mod labels;
mod shape;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use crate::condition::Condition;
use crate::definition::Definition;
use crate::duration;
use crate::kind::{self, Kind, Lock, Settings};
use crate::problem::Problem;
use crate::retry::Retry;
use apart::References;
use facts::Facts;
use labels::Labels;

/// A workflow that can run.
#[derive(Debug, Clone)]
pub struct Graph {
    pub definition: Definition,
    /// Where it begins: index into `nodes` and `definition.steps`.
    pub start: usize,
    /// One for each of `definition.steps`, in the same order.
    pub nodes: Vec<Node>,
    /// Within which time an execution should end, from its start.
    pub target: Option<Duration>,
    by_id: HashMap<Uuid, usize>,
    /// For each join, the steps from which a branch can still come to it.
    sources: HashMap<usize, Vec<bool>>,
}

/// A step, understood.
#[derive(Debug, Clone)]
pub struct Node {
    pub kind: Kind,
    /// In judging order: by the target step's `order`, then by id; the default last.
    pub outgoing: Vec<Edge>,
    pub retry: Retry,
    pub timeout: Option<Duration>,
    pub queue_timeout: Option<Duration>,
    /// Within which time an activation should be done, from its first attempt's becoming visible.
    pub target: Option<Duration>,
    /// Whether its final failure waits for an operator instead of failing the execution.
    pub parks: bool,
    /// What it must hold while it is under way.
    pub lock: Option<Lock>,
    /// The step that undoes it.
    pub undone_by: Option<usize>,
    /// The step that is done for each item.
    pub each: Option<usize>,
    /// Steps at which branches are withdrawn when this one is completed.
    pub cancels: Vec<usize>,
}

/// A transition, understood.
#[derive(Debug, Clone)]
pub struct Edge {
    /// The transition's; nil where a workflow without transitions runs by order.
    pub id: Uuid,
    pub to: usize,
    /// None: always.
    pub condition: Option<Condition>,
    pub is_default: bool,
    /// Judged only after a failure; every other one only after success.
    pub is_catch: bool,
}

/// The workflows that a definition's steps run, each with the place that names it; malformed ids are left out.
pub fn called(definition: &Definition) -> Vec<(String, Uuid)> {
    let steps = definition.steps.iter().enumerate();
    let mut labels = None;
    let calls = steps.filter(|(_, step)| step.step_type == "subworkflow");
    let named = calls.filter_map(|(at, step)| {
        let id = kind::uuid(step.config.get("workflowId")?).ok()?;
        let labels = labels.get_or_insert_with(|| Labels::of(definition));
        Some((format!("{}.config.workflowId", labels.step(at)), id))
    });
    named.collect()
}

/// What the workflow's `target` says.
fn target(definition: &Definition, problems: &mut Vec<Problem>) -> Option<Duration> {
    let read = duration::parse_positive(definition.target.as_deref()?);
    read.map_err(|message| problems.push(Problem::error("target", "DURATION_INVALID", message)))
        .ok()
}

impl Graph {
    /// Accepts a definition, with warnings, or returns everything that is wrong with it.
    pub fn parse(definition: Definition) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let mut problems = Vec::new();
        if !steps::check_counts(&definition, &mut problems) {
            return Err(problems);
        }
        let target = target(&definition, &mut problems);
        let labels = Labels::of(&definition);
        let by_id = steps::check(&definition, &labels, &mut problems);
        let settings: Vec<Option<Settings>> = (definition.steps.iter().enumerate())
            .map(|(at, step)| kind::parse(step, labels.step(at), &mut problems))
            .collect();
        let facts = Facts::of(&definition, &settings);
        let references = apart::resolve(&definition, &labels, &settings, &mut problems);
        let apart = apart::is_apart(&references);
        let known = (&by_id, &apart[..], &facts);
        let outgoing = edges::build(&definition, &labels, known, &mut problems);
        steps::check_references(&labels, &settings, &facts, &mut problems);

        let view = shape::View {
            definition: &definition,
            labels: &labels,
            outgoing: &outgoing,
            references: &references,
            apart: &apart,
        };
        let start = view.start(&mut problems);
        view.check_reachable(&start, &mut problems);
        view.check_loops(&settings, &mut problems);
        let sources = joins::sources(&settings, &outgoing);
        joins::check(&view, &settings, &sources, &mut problems);

        let settings: Option<Vec<Settings>> = settings.into_iter().collect();
        match (&start[..], settings) {
            ([start], Some(settings)) if !problems.iter().any(Problem::is_error) => {
                let parts = settings.into_iter().zip(outgoing).zip(references);
                let nodes = parts.map(Node::new).collect();
                let graph = Self {
                    start: *start,
                    nodes,
                    target,
                    by_id,
                    sources,
                    definition,
                };
                Ok((graph, problems))
            }
            _ => Err(problems),
        }
    }

    /// Whether a branch that is at `step` can still come to this join. A branch that waits there has come.
    pub fn can_come(&self, step: usize, join: usize) -> bool {
        self.sources.get(&join).is_some_and(|from| from[step])
    }

    /// Whether some join waits for branches that are at this step.
    pub fn leads_to_join(&self, step: usize) -> bool {
        self.sources.values().any(|from| from[step])
    }

    /// Where a step stands in `nodes` and `definition.steps`.
    pub fn node_of(&self, step_id: Uuid) -> Option<usize> {
        self.by_id.get(&step_id).copied()
    }
}

impl Node {
    fn new(((settings, outgoing), named): ((Settings, Vec<Edge>), References)) -> Self {
        Self {
            kind: settings.kind,
            outgoing,
            retry: settings.retry,
            timeout: settings.timeout,
            queue_timeout: settings.queue_timeout,
            target: settings.target,
            parks: settings.parks,
            lock: settings.lock,
            undone_by: named.undone_by,
            each: named.each,
            cancels: named.cancels,
        }
    }
}
