//! The events of an execution, from its rows. Invariant: a pure function of what is stored, so what was
//! sent at a commit and what is told again years later are equal.

use model::event::{Cause, Event, ExecutionEvents, StepFinished};
use model::graph::Graph;
use model::kind::Kind;
use model::status::ExecutionStatus;
use serde_json::Value;
use uuid::Uuid;

use crate::engine;
use crate::store::executions::Told;
use crate::store::logs::Ended;

/// Every event of an execution so far: the start is number 1, each ended log has its own number, the end
/// has the last one. `logs` are those of this execution by event; later ones than the row knows of, read
/// after it, are left for the next time.
pub fn events(execution: &Told, logs: &[Ended], graph: &Graph) -> ExecutionEvents {
    let status =
        ExecutionStatus::parse(&execution.status).expect("the enum type has the same words");
    let mut events = vec![Event::Started];
    let steps = logs
        .iter()
        .take_while(|log| log.event_seq <= execution.event_count);
    events.extend(steps.map(|ended| Event::StepFinished(step_finished(&ended.log, graph))));
    if let Some(completed_at) = execution.completed_at.filter(|_| status.is_final()) {
        events.push(Event::Finished {
            status,
            completed_at,
            target: graph.target,
        });
    }
    ExecutionEvents {
        execution_id: execution.id,
        workflow_id: execution.workflow_id,
        client_id: execution.client_id,
        workflow_version: execution.workflow_version,
        started_at: execution.started_at,
        first_seq: 1,
        events,
    }
}

/// Cuts the events of one execution into parts of at most `most` that follow each other.
pub fn parts(all: ExecutionEvents, most: usize) -> Vec<ExecutionEvents> {
    if all.events.len() <= most {
        return vec![all];
    }
    let parts = all.events.chunks(most).enumerate();
    let part = |(at, events): (usize, &[_])| ExecutionEvents {
        first_seq: all.first_seq + i32::try_from(at * most).expect("few parts"),
        events: events.to_vec(),
        ..all
    };
    parts.map(part).collect()
}

/// The event of a log that has ended.
pub fn step_finished(log: &engine::Log, graph: &Graph) -> StepFinished {
    let node = graph.node_of(log.step_id).map(|at| &graph.nodes[at]);
    let route = log.route.as_ref();
    let taken = route.map(taken).unwrap_or_default();
    StepFinished {
        step_id: log.step_id,
        status: log.status,
        activation: log.activation,
        attempt: log.attempt,
        queued_at: log.times.queued_at,
        available_at: log.times.available_at,
        assigned_at: log.times.assigned_at,
        completed_at: log.completed_at.expect("a log that has ended says when"),
        error_code: log.failure.as_ref().map(|failure| failure.code.clone()),
        took_default: route.is_some_and(|route| took_default(route, &taken)),
        taken_transition_ids: taken,
        will_retry: log.will_retry,
        cause: match node {
            _ if log.incident => Cause::Incident,
            Some(node) => cause(&node.kind),
            None => Cause::Engine,
        },
        // Whoever retries backs off first; the first attempt waits for nothing but a lock.
        locked: log.attempt == 1 && node.is_some_and(|node| node.lock.is_some()),
        group: node.and_then(|node| match &node.kind {
            Kind::Approval(audience) | Kind::DataEntry(audience) => audience.group.clone(),
            _ => None,
        }),
        target: node.and_then(|node| node.target),
        taken_over: log.taken_over,
    }
}

fn cause(kind: &Kind) -> Cause {
    match kind {
        Kind::Approval(_) | Kind::DataEntry(_) => Cause::Person,
        Kind::Job { .. } => Cause::Job,
        Kind::Wait(_) => Cause::Timer,
        Kind::Signal { .. } => Cause::Signal,
        Kind::Join(_) => Cause::Join,
        Kind::Foreach(_) | Kind::Subworkflow(_) => Cause::Children,
        Kind::Notification { .. }
        | Kind::Transform(_)
        | Kind::Decision
        | Kind::Parallel
        | Kind::End(_) => Cause::Engine,
    }
}

/// Whether what was taken was the default: then nothing else was.
fn took_default(route: &Value, taken: &[Uuid]) -> bool {
    let [only] = taken else { return false };
    let candidates = route.get("candidates").and_then(Value::as_array);
    candidates.into_iter().flatten().any(|candidate| {
        let id = candidate.get("transitionId").and_then(Value::as_str);
        id.and_then(|id| id.parse().ok()) == Some(*only)
            && candidate.get("default") == Some(&Value::Bool(true))
    })
}

/// The transitions that a route took. Nil ids are ways that the definition only implies.
fn taken(route: &Value) -> Vec<Uuid> {
    let ids = route.get("taken").and_then(Value::as_array);
    ids.into_iter()
        .flatten()
        .filter_map(|id| id.as_str()?.parse().ok())
        .filter(|id: &Uuid| !id.is_nil())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::{DateTime, Utc};
    use model::status::StepStatus;
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()
    }

    /// One step, of a type and with a config.
    fn graph(step_type: &str, config: &Value) -> Graph {
        let definition = json!({
            "workflowId": Uuid::from_u128(2), "version": 4, "clientId": Uuid::from_u128(3), "name": "Order",
            "target": "48h",
            "steps": [{
                "id": Uuid::from_u128(5), "key": "pay", "name": "Pay", "stepType": step_type, "order": 1,
                "config": config, "isRequired": true,
            }],
            "transitions": [],
        });
        Graph::parse(serde_json::from_value(definition).unwrap())
            .unwrap()
            .0
    }

    fn execution(status: &str, event_count: i32) -> Told {
        Told {
            id: Uuid::from_u128(1),
            workflow_id: Uuid::from_u128(2),
            client_id: Uuid::from_u128(3),
            workflow_version: 4,
            status: status.to_owned(),
            started_at: at(0),
            completed_at: (status != "RUNNING").then(|| at(9)),
            event_count,
        }
    }

    fn ended(event_seq: i32, route: Value) -> Ended {
        Ended {
            execution_id: Uuid::from_u128(1),
            event_seq,
            log: engine::Log {
                id: Uuid::from_u128(10),
                seq: event_seq,
                step_id: Uuid::from_u128(5),
                status: StepStatus::Failed,
                activation: 2,
                item_index: None,
                attempt: 3,
                times: engine::Times {
                    arrived_at: at(1),
                    queued_at: at(2),
                    available_at: at(3),
                    assigned_at: Some(at(4)),
                    started_at: at(4),
                },
                completed_at: Some(at(5)),
                message: None,
                data: None,
                failure: Some(engine::Failure::new("TIMEOUT", "never told")),
                route: Some(route),
                will_retry: true,
                incident: false,
                taken_over: false,
                event_seq: Some(event_seq),
                from: None,
            },
        }
    }

    #[test]
    fn start_is_first_and_end_is_last() {
        let logs = [ended(2, json!({})), ended(3, json!({}))];
        let told = events(&execution("FAILED", 4), &logs, &graph("pay", &json!({})));
        assert_eq!((told.first_seq, told.started_at), (1, at(0)));
        let [
            Event::Started,
            Event::StepFinished(_),
            Event::StepFinished(_),
            end,
        ] = told.events.as_slice()
        else {
            panic!("{:?}", told.events);
        };
        let finished = Event::Finished {
            status: ExecutionStatus::Failed,
            completed_at: at(9),
            target: Some(Duration::from_hours(48)),
        };
        assert_eq!(*end, finished);
        assert_eq!(
            events(&execution("RUNNING", 1), &[], &graph("pay", &json!({}))).events,
            [Event::Started]
        );
    }

    #[test]
    fn logs_that_ended_after_the_execution_was_read_wait_for_the_next_time() {
        let logs = [ended(2, json!({})), ended(3, json!({}))];
        let told = events(&execution("RUNNING", 2), &logs, &graph("pay", &json!({})));
        assert_eq!(told.events.len(), 2);
    }

    #[test]
    fn event_tells_the_row_and_nothing_of_its_content() {
        let config = json!({ "approverRole": "Accounting", "target": "1h" });
        let step = step_finished(&ended(2, json!({})).log, &graph("approval", &config));
        let want = StepFinished {
            step_id: Uuid::from_u128(5),
            status: StepStatus::Failed,
            activation: 2,
            attempt: 3,
            queued_at: at(2),
            available_at: at(3),
            assigned_at: Some(at(4)),
            completed_at: at(5),
            error_code: Some("TIMEOUT".to_owned()),
            taken_transition_ids: Vec::new(),
            took_default: false,
            locked: false,
            will_retry: true,
            cause: Cause::Person,
            group: Some("Accounting".to_owned()),
            target: Some(Duration::from_hours(1)),
            taken_over: false,
        };
        assert_eq!(step, want);
        let mut copied = ended(2, json!({})).log;
        copied.taken_over = true;
        assert!(step_finished(&copied, &graph("approval", &config)).taken_over);
    }

    #[test]
    fn causes_follow_from_the_definition_and_the_row() {
        let check = |step_type: &str, config: Value, want: Cause| {
            let graph = graph(step_type, &config);
            let told = step_finished(&ended(2, json!({})).log, &graph);
            assert_eq!(told.cause, want, "{step_type}");
            let mut incident = ended(2, json!({})).log;
            incident.incident = true;
            assert_eq!(step_finished(&incident, &graph).cause, Cause::Incident);
        };
        check("pay", json!({}), Cause::Job);
        check("wait", json!({ "duration": "1h" }), Cause::Timer);
        check("signal", json!({ "name": "paid" }), Cause::Signal);
        check("decision", json!({}), Cause::Engine);
        let locked = graph("pay", &json!({ "lock": { "name": "ledger" } }));
        let mut first = ended(2, json!({})).log;
        first.attempt = 1;
        assert!(step_finished(&first, &locked).locked);
        first.attempt = 2;
        assert!(!step_finished(&first, &locked).locked);
    }

    #[test]
    fn a_default_is_told_only_if_it_was_taken() {
        let one = Uuid::from_u128(7);
        let check = |is_default: bool, taken: &[Uuid], want: bool| {
            let candidate = json!({ "transitionId": one, "default": is_default });
            let route = json!({ "candidates": [candidate], "taken": taken });
            let told = step_finished(&ended(2, route).log, &graph("pay", &json!({})));
            assert_eq!(told.took_default, want);
        };
        check(true, &[one], true);
        check(false, &[one], false);
        check(true, &[], false);
    }

    #[test]
    fn only_real_transitions_count_as_taken() {
        let check = |route: Value, want: &[u128]| {
            let ids: Vec<Uuid> = want.iter().copied().map(Uuid::from_u128).collect();
            assert_eq!(taken(&route), ids, "{route}");
        };
        let (one, nil) = (Uuid::from_u128(7), Uuid::nil());
        check(json!({"taken": [one]}), &[7]);
        check(json!({"taken": [nil, one]}), &[7]);
        check(
            json!({"candidates": [{"transitionId": one}], "taken": []}),
            &[],
        );
        check(json!({"taken": ["no id", 5]}), &[]);
        check(json!(null), &[]);
    }
}
