//! Attempts as the engine would have logged them. Invariant: logs come in the order in which the attempts ended; of those
//! that ended together, in the order in which they were sent.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use model::graph::Graph;
use model::status::StepStatus;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Attempt;
use crate::engine::{Log, Times};

/// Said of an attempt of which nobody knows what led to it: what ended before it need not have. Unlike none at all, which
/// begins an execution, it keeps a restart from taking the step over.
const UNKNOWN: i32 = 0;

/// The logs of an execution; or the attempts, by their place, that continue no attempt before them.
pub fn logs(
    graph: &Graph,
    execution_id: Uuid,
    attempts: Vec<Attempt>,
) -> Result<Vec<Log>, Vec<usize>> {
    let mut ordered: Vec<(usize, Attempt)> = attempts.into_iter().enumerate().collect();
    ordered.sort_by_key(|(_, attempt)| attempt.completed_at);
    let mut logs: Vec<Log> = Vec::with_capacity(ordered.len());
    let mut nodes = Vec::with_capacity(ordered.len());
    let mut lost = Vec::new();
    // By step: where its last log is.
    let mut last: HashMap<usize, usize> = HashMap::new();
    for (at, attempt) in ordered {
        let before = last.get(&attempt.node).map(|before| &mut logs[*before]);
        let follows = match (attempt.number, before) {
            (1, before) => Follows {
                activation: before.map_or(1, |it| it.activation + 1),
                arrived_at: attempt.queued_at,
                from: UNKNOWN,
            },
            (number, Some(before))
                if before.attempt == number - 1 && before.status == StepStatus::Failed =>
            {
                before.will_retry = true;
                Follows {
                    activation: before.activation,
                    arrived_at: before.times.arrived_at,
                    from: before.seq,
                }
            }
            _ => {
                lost.push(at);
                continue;
            }
        };
        last.insert(attempt.node, logs.len());
        nodes.push(attempt.node);
        let seq = i32::try_from(logs.len()).expect("far fewer attempts") + 1;
        let step_id = graph.definition.steps[attempt.node].id;
        logs.push(log(attempt, (execution_id, step_id), seq, &follows));
    }
    if !lost.is_empty() {
        return Err(lost);
    }
    choose_ways(graph, &mut logs, &nodes);
    Ok(logs)
}

/// What an attempt goes on with.
struct Follows {
    activation: i32,
    arrived_at: DateTime<Utc>,
    from: i32,
}

fn log(
    attempt: Attempt,
    (execution_id, step_id): (Uuid, Uuid),
    seq: i32,
    follows: &Follows,
) -> Log {
    Log {
        id: Uuid::new_v5(&execution_id, &seq.to_be_bytes()),
        seq,
        step_id,
        status: attempt.status,
        activation: follows.activation,
        item_index: None,
        attempt: attempt.number,
        times: Times {
            arrived_at: follows.arrived_at,
            queued_at: attempt.queued_at,
            available_at: attempt.available_at,
            assigned_at: attempt.assigned_at,
            started_at: attempt.assigned_at.unwrap_or(attempt.available_at),
        },
        completed_at: Some(attempt.completed_at),
        message: attempt.message,
        data: attempt.output,
        failure: attempt.failure,
        route: None,
        will_retry: false,
        incident: false,
        taken_over: false,
        // The start was the first event.
        event_seq: Some(seq + 1),
        from: Some(follows.from),
    }
}

/// The end of an arrival has taken the way to the step at which the next arrival is logged, if there is one.
fn choose_ways(graph: &Graph, logs: &mut [Log], nodes: &[usize]) {
    let mut next = None;
    for (log, node) in logs.iter_mut().zip(nodes).rev() {
        if let Some(to) = next.filter(|_| !log.will_retry) {
            log.route = way(graph, *node, to, log.status == StepStatus::Failed);
        }
        if log.attempt == 1 {
            next = Some(*node);
        }
    }
}

/// A way as the engine tells of one that it has taken. After a failure a catch is likelier, else any other.
fn way(graph: &Graph, from: usize, to: usize, failed: bool) -> Option<Value> {
    let mut edges = (graph.nodes[from].outgoing.iter()).filter(|edge| edge.to == to);
    let likely = edges.clone().find(|edge| edge.is_catch == failed);
    let edge = likely.or_else(|| edges.next())?;
    let mut told = Map::new();
    told.insert("holds".to_owned(), Value::Bool(true));
    told.insert("to".to_owned(), json!(graph.definition.steps[to].name));
    if edge.is_default {
        told.insert("default".to_owned(), Value::Bool(true));
    }
    let is_real = !edge.id.is_nil();
    if is_real {
        told.insert("transitionId".to_owned(), json!(edge.id));
    }
    let taken: Vec<Uuid> = is_real.then_some(edge.id).into_iter().collect();
    Some(json!({ "candidates": [told], "taken": taken }))
}
