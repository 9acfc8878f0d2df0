//! What a simulation has tried of its definition. Invariant: told from its logs alone, so that it is the
//! same for a run of any kind.

use std::collections::HashSet;

use model::graph::{Graph, Node};
use model::kind::{Kind, Needed, WaitUntil};
use model::status::StepStatus;
use serde_json::Value;
use uuid::Uuid;

use crate::engine::{Change, Log};

/// How a step that waits can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exercise {
    Completed,
    Failed,
    TimedOut,
    Approved,
    Rejected,
}

/// What was never tried.
#[derive(Debug, Default)]
pub struct Coverage {
    pub unvisited_steps: Vec<Uuid>,
    pub untaken_transitions: Vec<Uuid>,
    /// Steps that wait for somebody or something, and how they never ended.
    pub unexercised: Vec<(Uuid, Exercise)>,
}

impl Coverage {
    pub fn of(graph: &Graph, change: &Change) -> Self {
        let logs = || change.logs.values();
        let visited: HashSet<Uuid> = logs().map(|log| log.step_id).collect();
        let taken: HashSet<Uuid> = logs().flat_map(taken).collect();
        let exercised: HashSet<(Uuid, Exercise)> = logs()
            .filter_map(|log| {
                let node = &graph.nodes[graph.node_of(log.step_id)?];
                Some((log.step_id, ended(node, log)?))
            })
            .collect();
        let steps = graph.definition.steps.iter();
        let transitions = graph.definition.transitions.iter().map(|t| t.id);
        let possible = steps.clone().zip(&graph.nodes).flat_map(|(step, node)| {
            let ends = ends(node).into_iter();
            ends.map(|end| (step.id, end))
        });
        Self {
            unexercised: possible.filter(|end| !exercised.contains(end)).collect(),
            unvisited_steps: steps
                .map(|step| step.id)
                .filter(|id| !visited.contains(id))
                .collect(),
            untaken_transitions: transitions.filter(|id| !taken.contains(id)).collect(),
        }
    }
}

/// The transitions that a log's route took.
pub fn taken(log: &Log) -> Vec<Uuid> {
    let taken = log.route.as_ref().and_then(|route| route.get("taken"));
    let ids = taken.and_then(Value::as_array).into_iter().flatten();
    ids.filter_map(|id| id.as_str()?.parse().ok()).collect()
}

/// How a step can end; empty for those that do not wait.
fn ends(node: &Node) -> Vec<Exercise> {
    let has_limit = node.timeout.is_some() || node.queue_timeout.is_some();
    let (first, second) = match &node.kind {
        Kind::Approval(_) => (Exercise::Approved, Some(Exercise::Rejected)),
        Kind::DataEntry(_) => (Exercise::Completed, None),
        Kind::Job { .. } | Kind::Subworkflow(_) | Kind::Foreach(_) => {
            (Exercise::Completed, Some(Exercise::Failed))
        }
        // They fail if the instant, or the correlation, is not in the data.
        Kind::Wait(WaitUntil::Field(_))
        | Kind::Signal {
            correlation: Some(_),
            ..
        } => (Exercise::Completed, Some(Exercise::Failed)),
        Kind::Wait(_) | Kind::Signal { .. } => (Exercise::Completed, None),
        // One that waits for a number of branches fails if so many cannot come.
        Kind::Join(join) => match join.needed {
            Needed::All => (Exercise::Completed, None),
            Needed::Count(_) => (Exercise::Completed, Some(Exercise::Failed)),
        },
        _ => return Vec::new(),
    };
    let limit = has_limit.then_some(Exercise::TimedOut);
    [Some(first), second, limit].into_iter().flatten().collect()
}

/// How an attempt ended; None if it was withdrawn or is not over.
fn ended(node: &Node, log: &Log) -> Option<Exercise> {
    if let Some(failure) = &log.failure {
        return Some(match failure.code.as_str() {
            "TIMEOUT" | "QUEUE_TIMEOUT" => Exercise::TimedOut,
            _ => Exercise::Failed,
        });
    }
    let approved = || log.data.as_ref().and_then(|data| data.get("approved"));
    match (log.status, &node.kind) {
        (StepStatus::Completed, Kind::Approval(_)) => match approved() {
            Some(Value::Bool(true)) => Some(Exercise::Approved),
            _ => Some(Exercise::Rejected),
        },
        (StepStatus::Completed, _) => Some(Exercise::Completed),
        _ => None,
    }
}
