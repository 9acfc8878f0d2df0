//! Executions that others start, on a real database and with a catalog that can be away.

use serde_json::json;
use uuid::Uuid;

use crate::committer::{Action, Target};
use crate::engine::Signal;
use crate::fixtures::catalog::{Replica, Stage};

/// A workflow that waits for a signal, and tells what it brought.
async fn child(stage: &Stage) -> Uuid {
    let steps = [("hear", "signal", json!({ "name": "go" }))];
    stage.publish(1, &steps).await
}

async fn parent(stage: &Stage, client: u128, called: Uuid, mode: &str) -> Uuid {
    let config = json!({
        "workflowId": called, "mode": mode, "input": { "order": "data.order" }, "timeout": "1d",
    });
    let steps = [
        ("call", "subworkflow", config),
        ("after", "wait", json!({ "duration": "1h" })),
    ];
    stage.publish(client, &steps).await
}

async fn children(stage: &Stage, of: Uuid) -> Vec<Uuid> {
    let sql = format!(
        "select id from execution.workflow_executions where parent_execution_id = '{of}' order by id"
    );
    let rows = stage.world.rows(&sql).await;
    rows.iter()
        .map(|row| row["id"].as_str().unwrap().parse().unwrap())
        .collect()
}

/// Kinds of what an execution waits for.
async fn waits(stage: &Stage, of: Uuid) -> Vec<String> {
    let sql = format!("select kind from execution.waits where execution_id = '{of}'");
    let rows = stage.world.rows(&sql).await;
    rows.iter()
        .map(|row| row["kind"].as_str().unwrap().to_owned())
        .collect()
}

async fn go(replica: &Replica, id: Uuid) {
    let signal = Signal {
        name: "go".to_owned(),
        data: json!({ "answer": 42 }).as_object().unwrap().clone(),
        expires_at: None,
    };
    replica
        .tell(Target::Execution(id), Action::Signal(signal))
        .await;
}

fn cancel(compensate: bool) -> Action {
    let reason = "no time".to_owned();
    Action::Cancel { reason, compensate }
}

#[tokio::test]
async fn a_call_outlives_the_replicas_that_begin_and_end_it() {
    let stage = Stage::new().await;
    let called = child(&stage).await;
    let workflow = parent(&stage, 1, called, "CALL").await;
    // Each step is done by a replica that knows nothing but the tables.
    let id = stage.replica().start(workflow, json!({ "order": 7 })).await;
    assert_eq!(waits(&stage, id).await, ["children"]);
    assert!(children(&stage, id).await.is_empty());
    assert_eq!(stage.replica().pump.drain().await, 1);
    let [child] = children(&stage, id).await[..] else {
        panic!("one child");
    };
    let input = format!(
        "select metadata -> 'inputData' as input from execution.workflow_executions where id = '{child}'"
    );
    assert_eq!(
        stage.world.rows(&input).await[0]["input"],
        json!({ "order": 7 })
    );
    go(&stage.replica(), child).await;
    assert_eq!(waits(&stage, id).await, ["children"]);
    assert_eq!(stage.replica().pump.drain().await, 1);
    assert_eq!(waits(&stage, id).await, ["timer"]);
    let output = format!("select data from execution.execution_logs where id = '{child}'");
    let output = stage.world.rows(&output).await[0]["data"].clone();
    assert_eq!(
        output,
        json!({ "executionId": child, "result": { "answer": 42 } })
    );
    assert_eq!(stage.commands().await, 0);
}

#[tokio::test]
async fn two_replicas_start_each_child_once_and_hear_its_end_once() {
    let stage = Stage::new().await;
    let called = child(&stage).await;
    let workflow = parent(&stage, 1, called, "CALL").await;
    let (mut one, mut two) = (stage.replica(), stage.replica());
    let mut parents = Vec::new();
    for order in 0..20 {
        parents.push(one.start(workflow, json!({ "order": order })).await);
    }
    for _ in 0..3 {
        tokio::join!(one.pump.drain(), two.pump.drain());
    }
    for id in &parents {
        let [child] = children(&stage, *id).await[..] else {
            panic!("one child");
        };
        go(&two, child).await;
    }
    for _ in 0..3 {
        tokio::join!(one.pump.drain(), two.pump.drain());
    }
    for id in parents {
        assert_eq!(waits(&stage, id).await, ["timer"]);
    }
    assert_eq!(stage.commands().await, 0);
}

#[tokio::test]
async fn a_child_that_never_waits_is_over_with_its_start() {
    let stage = Stage::new().await;
    let sum = json!({ "output": { "sum": "data.order + 1" } });
    let called = stage.publish(1, &[("sum", "transform", sum)]).await;
    let workflow = parent(&stage, 1, called, "CALL").await;
    let mut replica = stage.replica();
    let id = replica.start(workflow, json!({ "order": 7 })).await;
    assert_eq!(replica.pump.drain().await, 1);
    assert_eq!(waits(&stage, id).await, ["timer"]);
    let [child] = children(&stage, id).await[..] else {
        panic!("one child");
    };
    assert_eq!(stage.status(child).await.0, "COMPLETED");
}

#[tokio::test]
async fn a_start_goes_on_and_is_not_called_off() {
    let stage = Stage::new().await;
    let called = child(&stage).await;
    let workflow = parent(&stage, 1, called, "START").await;
    let mut replica = stage.replica();
    let id = replica.start(workflow, json!({ "order": 7 })).await;
    replica.pump.drain().await;
    assert_eq!(waits(&stage, id).await, ["timer"]);
    let [child] = children(&stage, id).await[..] else {
        panic!("one child");
    };
    replica.tell(Target::Execution(id), cancel(true)).await;
    assert_eq!(replica.pump.drain().await, 0);
    assert_eq!(stage.status(child).await.0, "RUNNING");
    go(&replica, child).await;
    assert_eq!(stage.commands().await, 0);
}

#[tokio::test]
async fn cancelling_goes_down_whether_or_not_the_child_has_begun() {
    let stage = Stage::new().await;
    let called = child(&stage).await;
    let middle = parent(&stage, 1, called, "CALL").await;
    let workflow = parent(&stage, 1, middle, "CALL").await;
    let mut replica = stage.replica();
    let id = replica.start(workflow, json!({ "order": 7 })).await;
    assert_eq!(replica.pump.drain().await, 2);
    let unborn = replica.start(workflow, json!({ "order": 8 })).await;
    for id in [id, unborn] {
        replica.tell(Target::Execution(id), cancel(false)).await;
    }
    replica.pump.drain().await;
    let all = "select status, count(*) from execution.workflow_executions group by status";
    let [row] = &stage.world.rows(all).await[..] else {
        panic!("all are over");
    };
    assert_eq!(
        (&row["status"], &row["count"]),
        (&json!("CANCELLED"), &json!(4))
    );
    assert_eq!(stage.commands().await, 0);
}

#[tokio::test]
async fn what_may_not_start_fails_the_step() {
    let stage = Stage::new().await;
    let (called, foreign) = (child(&stage).await, child(&stage).await);
    stage.set_status(called, "INACTIVE");
    let mut replica = stage.replica();
    let cases = [
        (1, called, "WORKFLOW_NOT_ACTIVE"),
        (1, Uuid::from_u128(404), "WORKFLOW_NOT_FOUND"),
        (2, foreign, "SUBWORKFLOW_OF_ANOTHER_CLIENT"),
    ];
    for (client, called, code) in cases {
        let workflow = parent(&stage, client, called, "CALL").await;
        let id = replica.start(workflow, json!({ "order": 7 })).await;
        replica.pump.drain().await;
        let failed = ("FAILED".to_owned(), Some(code.to_owned()));
        assert_eq!(stage.status(id).await, failed);
        assert!(children(&stage, id).await.is_empty());
    }
}

#[tokio::test]
async fn a_start_waits_for_a_catalog_that_is_away() {
    let stage = Stage::new().await;
    let called = child(&stage).await;
    let workflow = parent(&stage, 1, called, "CALL").await;
    let mut replica = stage.replica();
    let id = replica.start(workflow, json!({ "order": 7 })).await;
    stage.set_away(true);
    replica.pump.drain().await;
    assert_eq!(waits(&stage, id).await, ["children"]);
    assert_eq!(stage.commands().await, 1);
    stage.set_away(false);
    stage
        .world
        .run("update execution.commands set available_at = now()")
        .await;
    replica.pump.drain().await;
    assert_eq!(children(&stage, id).await.len(), 1);
    assert_eq!(stage.commands().await, 0);
}

#[tokio::test]
async fn a_failed_child_fails_its_caller_with_its_code() {
    let stage = Stage::new().await;
    let end = json!({ "status": "FAILED", "errorCode": "REJECTED", "message": "turned down" });
    let steps = [
        ("hear", "signal", json!({ "name": "go" })),
        ("end", "end", end),
    ];
    let called = stage.publish(1, &steps).await;
    let workflow = parent(&stage, 1, called, "CALL").await;
    let mut replica = stage.replica();
    let id = replica.start(workflow, json!({ "order": 7 })).await;
    replica.pump.drain().await;
    go(&replica, children(&stage, id).await[0]).await;
    replica.pump.drain().await;
    let failed = ("FAILED".to_owned(), Some("REJECTED".to_owned()));
    assert_eq!(stage.status(id).await, failed);
}

#[tokio::test]
async fn a_workflow_that_calls_itself_ends_at_the_bottom() {
    let stage = Stage::new().await;
    let itself = Uuid::now_v7();
    let config = json!({ "workflowId": itself });
    let workflow = stage
        .publish_as(itself, 1, &[("call", "subworkflow", config)])
        .await;
    let mut replica = stage.replica();
    let id = replica.start(workflow, json!({})).await;
    replica.pump.drain().await;
    let failed = ("FAILED".to_owned(), Some("SUBWORKFLOW_TOO_DEEP".to_owned()));
    assert_eq!(stage.status(id).await, failed);
    let all = "select id from execution.workflow_executions where status = 'FAILED'";
    assert_eq!(stage.world.rows(all).await.len(), 9);
    assert_eq!(stage.commands().await, 0);
}
