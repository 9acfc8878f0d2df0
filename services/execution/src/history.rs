//! The events of an execution, from its rows. Invariant: a pure function of what is stored, so what was
//! sent at a commit and what is told again years later are equal.

use model::event::{Event, ExecutionEvents, StepFinished};
use model::status::ExecutionStatus;
use serde_json::Value;
use uuid::Uuid;

use crate::engine;
use crate::store::executions::Told;
use crate::store::logs::Ended;

/// Every event of an execution so far: the start is number 1, each ended log has its own number, the end
/// has the last one. `logs` are those of this execution by event; later ones than the row knows of, read
/// after it, are left for the next time.
pub fn events(execution: &Told, logs: &[Ended]) -> ExecutionEvents {
    let status =
        ExecutionStatus::parse(&execution.status).expect("the enum type has the same words");
    let mut events = vec![Event::Started];
    let steps = logs
        .iter()
        .take_while(|log| log.event_seq <= execution.event_count);
    events.extend(steps.map(|ended| Event::StepFinished(step_finished(&ended.log))));
    if let Some(completed_at) = execution.completed_at.filter(|_| status.is_final()) {
        events.push(Event::Finished {
            status,
            completed_at,
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
pub fn step_finished(log: &engine::Log) -> StepFinished {
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
        taken_transition_ids: log.route.as_ref().map(taken).unwrap_or_default(),
        will_retry: log.will_retry,
    }
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
    use chrono::{DateTime, Utc};
    use model::status::StepStatus;
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()
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
                event_seq: Some(event_seq),
                from: None,
            },
        }
    }

    #[test]
    fn start_is_first_and_end_is_last() {
        let logs = [ended(2, json!({})), ended(3, json!({}))];
        let told = events(&execution("FAILED", 4), &logs);
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
        };
        assert_eq!(*end, finished);
        assert_eq!(
            events(&execution("RUNNING", 1), &[]).events,
            [Event::Started]
        );
    }

    #[test]
    fn logs_that_ended_after_the_execution_was_read_wait_for_the_next_time() {
        let logs = [ended(2, json!({})), ended(3, json!({}))];
        assert_eq!(events(&execution("RUNNING", 2), &logs).events.len(), 2);
    }

    #[test]
    fn event_tells_the_row_and_nothing_of_its_content() {
        let step = step_finished(&ended(2, json!({})).log);
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
            will_retry: true,
        };
        assert_eq!(step, want);
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
