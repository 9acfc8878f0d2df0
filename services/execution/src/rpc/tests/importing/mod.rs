//! ImportExecutions, on a workflow that loops: what is written, what is refused, and what is left of either.

mod refusing;
mod repeating;
mod writing;

use proto::execution::v1::{ImportExecutionsRequest, ImportExecutionsResponse};
use proto::execution::v1::{ImportedExecution, ImportedStep};
use tonic::Status;

use super::*;
use crate::rpc::import::Imports;

/// A workflow of which every step leads on: `a` to `b`, `b` back to `a` or, by default, to `c`.
pub(super) struct Loop {
    pub workflow: Uuid,
    pub a_to_b: Uuid,
    pub b_to_a: Uuid,
    pub b_to_c: Uuid,
}

/// Steps are called as given, and known by the keys `a`, `b`, `c`.
pub(super) async fn a_loop(world: &World, names: [&str; 3]) -> Loop {
    let [workflow, a, b, c, a_to_b, b_to_a, b_to_c] = [(); 7].map(|()| Uuid::now_v7());
    let client = Uuid::from_u128(1 << 64);
    let step = |id: Uuid, key: &str, name: &str, order: i32| {
        json!({
            "id": id, "key": key, "name": name, "stepType": "work", "order": order, "config": {},
            "isRequired": true,
        })
    };
    let way = |id: Uuid, from: Uuid, to: Uuid, condition: Value, is_default: bool| {
        json!({
            "id": id, "fromStepId": from, "toStepId": to, "condition": condition, "isDefault": is_default,
        })
    };
    let again = json!({ "field": "again", "operator": "equals", "value": true });
    let definition = json!({
        "workflowId": workflow, "version": 1, "clientId": client, "name": "Loop",
        "steps": [step(a, "a", names[0], 1), step(b, "b", names[1], 2), step(c, "c", names[2], 3)],
        "transitions": [
            way(a_to_b, a, b, Value::Null, false), way(b_to_a, b, a, again, false),
            way(b_to_c, b, c, Value::Null, true),
        ],
    });
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    world
        .run(&format!(
            "insert into catalog.clients (id, name) values ('{client}', 'client') on conflict do nothing;
             insert into catalog.workflows (id, name, client_id) values ('{workflow}', 'Loop', '{client}');
             insert into catalog.workflow_steps (id, workflow_id, name, step_type, \"order\", key)
             values ('{a}', '{workflow}', {}, 'work', 1, 'a'), ('{b}', '{workflow}', {}, 'work', 2, 'b'),
                    ('{c}', '{workflow}', {}, 'work', 3, 'c');
             insert into execution.definitions (workflow_id, version, definition)
             values ('{workflow}', 1, {})",
            quoted(names[0]),
            quoted(names[1]),
            quoted(names[2]),
            quoted(&definition.to_string()),
        ))
        .await;
    Loop {
        workflow,
        a_to_b,
        b_to_a,
        b_to_c,
    }
}

/// So many seconds after the beginning of a day long past.
pub(super) fn second(second: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp {
        seconds: 1_262_304_000 + second,
        nanos: 0,
    })
}

/// A step that was completed, of an event log with one instant an event.
pub(super) fn done(step: &str, at: i64) -> ImportedStep {
    ImportedStep {
        step: step.to_owned(),
        completed_at: second(at),
        ..ImportedStep::default()
    }
}

pub(super) fn case(case_id: &str, steps: Vec<ImportedStep>) -> ImportedExecution {
    ImportedExecution {
        case_id: case_id.to_owned(),
        steps,
        ..ImportedExecution::default()
    }
}

pub(super) fn of(workflow: Uuid, executions: Vec<ImportedExecution>) -> ImportExecutionsRequest {
    ImportExecutionsRequest {
        workflow_id: workflow.to_string(),
        workflow_version: 1,
        executions,
    }
}

/// What each request is answered with.
pub(super) async fn answers(
    service: &Service,
    requests: Vec<ImportExecutionsRequest>,
) -> Vec<Result<ImportExecutionsResponse, Status>> {
    let caller = call(()).extensions().get::<Caller>().unwrap().clone();
    let incoming = tokio_stream::iter(requests.into_iter().map(Ok));
    let stream = Imports::default().start(service, &caller, incoming);
    stream.unwrap().collect().await
}

/// The answer to the only request.
pub(super) async fn answer(
    service: &Service,
    request: ImportExecutionsRequest,
) -> ImportExecutionsResponse {
    let [answer] = <[_; 1]>::try_from(answers(service, vec![request]).await).unwrap();
    answer.unwrap()
}

/// How many are new, were there and were refused.
fn counts(response: &ImportExecutionsResponse) -> (i32, i32, usize) {
    let ImportExecutionsResponse {
        imported,
        unchanged,
        failures,
        ..
    } = response;
    (*imported, *unchanged, failures.len())
}

/// The reason of each failure, with its place.
fn reasons(response: &ImportExecutionsResponse) -> Vec<(i32, &str)> {
    let failures = response.failures.iter();
    let reason = failures.map(|it| (it.position, it.error.as_ref().unwrap().reason.as_str()));
    reason.collect()
}

async fn count(world: &World, table: &str) -> i64 {
    let rows = world
        .rows(&format!("select count(*) from execution.{table}"))
        .await;
    rows[0]["count"].as_i64().unwrap()
}
