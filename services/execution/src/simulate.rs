//! Running a definition without effects: people, workers and timers answer at once, time jumps.
//! Invariant: the semantics are the engine's alone; this only supplies the answers.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, SecondsFormat, Utc};
use model::graph::Graph;
use model::json;
use model::kind::Kind;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::engine::{
    self, Actor, Branch, Change, Command, Execution, Failure, Hold, Outcome, Resolution,
};

/// What one simulation may come to: it is kept in memory until it is over, and a start stores it at once.
/// Every activation that an execution can have is allowed, if few of its attempts fail.
const MOST_ATTEMPTS: usize = 20_000;
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// A simulation has more attempts or larger outputs than that.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the simulation comes to more than {MOST_ATTEMPTS} attempts, or 16 MiB of outputs")]
pub struct TooLarge;

/// Answers by step name or key, used one after another; the last one repeats.
pub type Mocks = HashMap<String, Vec<Mock>>;

/// One answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Mock {
    Output(Map<String, Value>),
    /// A technical failure: the retry policy applies.
    Error(Failure),
    /// A business error: routed, never retried.
    BusinessError(Failure),
}

impl Mock {
    /// Reads `{"output": {…}}`, `{"error": {"code", "message"}}` or `{"businessError": {…}}`.
    pub fn parse(value: &Value) -> Result<Self, String> {
        let expected = "an answer is {\"output\": {…}}, {\"error\": {\"code\": …, \"message\": …}} or \
                        {\"businessError\": {…}}";
        let object = value.as_object().filter(|object| object.len() == 1);
        let (word, body) = object.and_then(|o| o.iter().next()).ok_or(expected)?;
        let body = body.as_object().ok_or(expected)?;
        let failure = || {
            let text = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
            let code = text("code").ok_or_else(|| format!("{word}.code is required"))?;
            let message = text("message").unwrap_or_default();
            Ok::<_, String>(Failure { code, message })
        };
        match word.as_str() {
            "output" => Ok(Self::Output(body.clone())),
            "error" => failure().map(Self::Error),
            "businessError" => failure().map(Self::BusinessError),
            _ => Err(expected.to_owned()),
        }
    }
}

/// A finished simulation.
#[derive(Debug)]
pub struct Simulated {
    pub execution: Execution,
    pub change: Change,
    pub unvisited_steps: Vec<Uuid>,
    pub untaken_transitions: Vec<Uuid>,
}

/// Runs `graph` from `input` to its end.
pub fn run(
    graph: &Graph,
    input: Map<String, Value>,
    mocks: &Mocks,
    now: DateTime<Utc>,
) -> Result<Simulated, TooLarge> {
    let mut execution = engine::begin(graph, Uuid::now_v7(), input, now);
    let mut change = Change::default();
    let mut used: HashMap<usize, usize> = HashMap::new();
    let mut command = Command::Start;
    let mut time = now;
    let (mut ended, mut bytes) = (0, 0);
    loop {
        engine::advance(graph, &mut execution, command, time, &mut change)
            .expect("only branches that are there are answered");
        bytes += outputs(&change, ended);
        ended = change.finished.len();
        if ended > MOST_ATTEMPTS || bytes > MOST_BYTES {
            return Err(TooLarge);
        }
        if execution.status.is_final() {
            break;
        }
        let next = execution
            .branches
            .iter()
            .min_by_key(|b| (ready_at(b), b.seq));
        let branch = next.expect("an open execution has a branch");
        time = time.max(ready_at(branch));
        command = match branch.hold {
            Hold::Runnable => Command::Resume,
            Hold::Lock { .. } => Command::Grant { seq: branch.seq },
            Hold::Timer { .. } | Hold::Join { .. } | Hold::Items { .. } => {
                Command::Wake { seq: branch.seq }
            }
            // Nobody is there to resolve it: it fails as it would without parking.
            Hold::Incident { .. } => Command::Resolve {
                seq: branch.seq,
                actor: Actor {
                    id: "simulation".to_owned(),
                    ..Actor::default()
                },
                resolution: Resolution::GiveUp,
            },
            Hold::Job { .. } | Hold::Person { .. } | Hold::Signal { .. } => {
                let turn = used.entry(branch.step).or_default();
                let outcome = answer(graph, branch.step, *turn, mocks, time);
                *turn += 1;
                Command::Settle {
                    seq: branch.seq,
                    outcome,
                }
            }
        };
    }
    // Nothing is stored of what has effects elsewhere.
    change.notifications.clear();
    change.messages.clear();
    let (unvisited_steps, untaken_transitions) = coverage(graph, &execution, &change);
    Ok(Simulated {
        execution,
        change,
        unvisited_steps,
        untaken_transitions,
    })
}

/// Bytes of what the logs hold that ended after the first `ended` ones.
fn outputs(change: &Change, ended: usize) -> usize {
    let logs = change.finished.iter().skip(ended);
    logs.filter_map(|seq| change.logs[seq].data.as_ref())
        .map(|data| json::measure(data, json::INPUT).unwrap_or(json::INPUT.bytes))
        .sum()
}

fn ready_at(branch: &Branch) -> DateTime<Utc> {
    match branch.hold {
        Hold::Timer { until } => until,
        Hold::Join { due_at } | Hold::Items { due_at } => {
            due_at.unwrap_or(DateTime::<Utc>::MAX_UTC)
        }
        _ => branch.times.available_at,
    }
}

fn answer(graph: &Graph, step: usize, turn: usize, mocks: &Mocks, now: DateTime<Utc>) -> Outcome {
    let about = &graph.definition.steps[step];
    let given = mocks.get(&about.name).or_else(|| mocks.get(&about.key));
    let mock = given.and_then(|answers| answers.get(turn).or(answers.last()));
    let message = Some("simulated".to_owned());
    let approval = matches!(graph.nodes[step].kind, Kind::Approval(_));
    let done = |output| Outcome::Done { output, message };
    match mock {
        Some(Mock::Error(failure)) => Outcome::Failed(failure.clone()),
        Some(Mock::BusinessError(failure)) => Outcome::Thrown(failure.clone()),
        Some(Mock::Output(output)) => done(output.clone()),
        None if approval => {
            let stamp = now.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            let output = serde_json::json!({
                "approved": true, "approver": "simulation", "comment": "", "timestamp": stamp,
            });
            done(output.as_object().cloned().unwrap_or_default())
        }
        None => done(Map::new()),
    }
}

fn coverage(graph: &Graph, execution: &Execution, change: &Change) -> (Vec<Uuid>, Vec<Uuid>) {
    let visited = &execution.memory.arrivals;
    let taken: HashSet<Uuid> = change
        .logs
        .values()
        .filter_map(|log| log.route.as_ref()?.get("taken")?.as_array())
        .flatten()
        .filter_map(|id| id.as_str()?.parse().ok())
        .collect();
    let steps = graph.definition.steps.iter().map(|step| step.id);
    let transitions = graph.definition.transitions.iter().map(|t| t.id);
    (
        steps.filter(|id| !visited.contains_key(id)).collect(),
        transitions.filter(|id| !taken.contains(id)).collect(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A worker's step that is gone through again and again.
    fn treadmill(mock: Value) -> Option<TooLarge> {
        let id = |n: u128| Uuid::from_u128(n);
        let definition = json!({
            "workflowId": id(1), "version": 1, "clientId": id(2), "name": "Treadmill",
            "steps": [{
                "id": id(3), "key": "run", "name": "Run", "stepType": "run", "order": 1,
                "isRequired": true, "config": { "retry": { "maxAttempts": 1000 } },
            }],
            "transitions": [
                { "id": id(4), "fromStepId": id(3), "toStepId": id(3), "isDefault": true },
                { "id": id(5), "fromStepId": id(3), "toStepId": id(3), "isDefault": false,
                  "condition": { "field": "step.status", "operator": "equals", "value": "FAILED" } },
            ],
        });
        let (graph, _) = Graph::parse(serde_json::from_value(definition).unwrap()).unwrap();
        let mocks = Mocks::from([("Run".to_owned(), vec![Mock::parse(&mock).unwrap()])]);
        run(&graph, Map::new(), &mocks, Utc::now()).err()
    }

    #[test]
    fn simulation_that_would_fill_the_memory_is_given_up() {
        let large = "x".repeat(200_000);
        let output = json!({ "output": { "x": large } });
        assert_eq!(treadmill(output), Some(TooLarge));
        let error = json!({ "error": { "code": "DOWN" } });
        assert_eq!(treadmill(error), Some(TooLarge));
        assert_eq!(treadmill(json!({ "output": { "x": 1 } })), None);
    }
}
