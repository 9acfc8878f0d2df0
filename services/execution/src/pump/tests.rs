//! Rows of `commands`, taken up by one replica or several.

use serde_json::json;

use super::*;
use crate::fixtures::catalog::Stage;

async fn ask(stage: &Stage, kind: &str, execution_id: Uuid) {
    stage
        .world
        .run(&format!(
            "insert into execution.commands (id, kind, execution_id, payload)
             values (gen_random_uuid(), '{kind}', '{execution_id}', '{{\"reason\": \"asked\", \"compensate\": false}}')"
        ))
        .await;
}

#[tokio::test]
async fn what_is_asked_of_an_execution_is_done_once_whoever_takes_it_up() {
    let stage = Stage::new().await;
    let workflow = stage.publish(1, &[("pack", "pack", json!({}))]).await;
    let (mut one, mut two) = (stage.replica(), stage.replica());
    let mut ids = Vec::new();
    for _ in 0..20 {
        let id = one.start(workflow, json!({})).await;
        ask(&stage, "cancel", id).await;
        ids.push(id);
    }
    tokio::join!(one.pump.drain(), two.pump.drain());
    // A row that the other one held at that moment is tried again.
    one.pump.drain().await;
    assert_eq!(stage.commands().await, 0);
    for id in ids {
        assert_eq!(stage.status(id).await.0, "CANCELLED");
    }
    let ends = "select event_count from execution.workflow_executions where event_count <> 3";
    assert!(stage.world.rows(ends).await.is_empty());
}

#[tokio::test]
async fn what_can_have_no_effect_any_more_is_forgotten() {
    let stage = Stage::new().await;
    let workflow = stage.publish(1, &[("pack", "pack", json!({}))]).await;
    let mut replica = stage.replica();
    let id = replica.start(workflow, json!({})).await;
    ask(&stage, "cancel", id).await;
    ask(&stage, "cancel", id).await;
    ask(&stage, "cancel", Uuid::now_v7()).await;
    assert_eq!(replica.pump.drain().await, 3);
    assert_eq!(stage.commands().await, 0);
}

#[tokio::test]
async fn what_cannot_be_done_now_is_kept_for_later() {
    let stage = Stage::new().await;
    let mut replica = stage.replica();
    ask(&stage, "of a newer release", Uuid::now_v7()).await;
    assert_eq!(replica.pump.drain().await, 1);
    assert_eq!(stage.commands().await, 1);
    let soon = "select id from execution.commands where available_at <= clock_timestamp()";
    assert!(stage.world.rows(soon).await.is_empty());
}
