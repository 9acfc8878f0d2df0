//! Choosing the way on, and telling why. Invariant: transitions are judged in one fixed order, and what
//! was judged is told with the values that were seen.

use model::condition::Verdict;
use model::graph::Edge;
use model::kind::Kind;
use serde_json::{Map, Value, json};

use super::Step;

/// What judging a condition costs, beside what its expressions go through.
const JUDGING: u64 = 50;

/// The ways on from a step.
pub(super) struct Route {
    /// Indices of the steps to go to.
    pub to: Vec<usize>,
    /// `{candidates, taken}`; absent if there was nothing to judge.
    pub told: Option<Value>,
}

impl Route {
    /// Whether ways were judged and none was taken.
    pub fn is_dead_end(&self) -> bool {
        self.told.is_some() && self.to.is_empty()
    }
}

impl Step<'_> {
    /// Judges what leaves `step`: after a failure only the catches, after success only the others,
    /// where the default is taken if nothing else holds. A `parallel` step takes all that hold. `seen` is what conditions see as `step`.
    pub(super) fn route(&self, step: usize, seen: &Value, failed: bool) -> Route {
        let graph = self.graph;
        let outgoing = &graph.nodes[step].outgoing;
        let mut candidates = Vec::new();
        let takes_all = matches!(graph.nodes[step].kind, Kind::Parallel);
        let mut taken: Vec<&Edge> = Vec::new();
        for edge in outgoing.iter().filter(|edge| edge.is_catch == failed) {
            if edge.is_default && !taken.is_empty() {
                break;
            }
            let mut told = match &edge.condition {
                Some(condition) => {
                    self.effort.spend(JUDGING);
                    explain(&self.with_scope(seen, None, |scope| condition.evaluate(scope)))
                }
                None => Map::from_iter([("holds".to_owned(), Value::Bool(true))]),
            };
            let holds = told["holds"] == Value::Bool(true);
            told.insert("to".to_owned(), json!(graph.definition.steps[edge.to].name));
            if edge.is_default {
                told.insert("default".to_owned(), Value::Bool(true));
            }
            if !edge.id.is_nil() {
                told.insert("transitionId".to_owned(), json!(edge.id));
            }
            candidates.push(Value::Object(told));
            if holds {
                taken.push(edge);
                if !takes_all {
                    break;
                }
            }
        }
        let ids: Vec<_> = taken
            .iter()
            .filter(|e| !e.id.is_nil())
            .map(|e| e.id)
            .collect();
        Route {
            to: taken.iter().map(|edge| edge.to).collect(),
            told: (!candidates.is_empty())
                .then(|| json!({ "candidates": candidates, "taken": ids })),
        }
    }
}

/// What a verdict saw and lacked, for the log.
fn explain(verdict: &Verdict) -> Map<String, Value> {
    let mut told = Map::new();
    told.insert("holds".to_owned(), Value::Bool(verdict.holds));
    if !verdict.seen.is_empty() {
        let seen: Map<String, Value> = verdict.seen.iter().cloned().collect();
        told.insert("seen".to_owned(), Value::Object(seen));
    }
    if !verdict.missing.is_empty() {
        told.insert("missing".to_owned(), json!(verdict.missing));
    }
    if let Some(error) = &verdict.error {
        told.insert("error".to_owned(), json!(error));
    }
    told
}
