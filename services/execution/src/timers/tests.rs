//! What is due, beside what cannot be written.

use serde_json::json;

use super::*;
use crate::fixtures::catalog::Stage;

/// Makes every wait due.
const DUE: &str = "update execution.waits set wake_at = now() - interval '1 second'";

async fn waiting(stage: &Stage, count: usize) -> Vec<Uuid> {
    let replica = stage.replica();
    let steps = [("sleep", "wait", json!({ "duration": "1h" }))];
    let workflow = stage.publish(1, &steps).await;
    let mut started = Vec::new();
    for _ in 0..count {
        started.push(replica.start(workflow, json!({})).await);
    }
    started
}

async fn is_over(stage: &Stage, id: Uuid) -> bool {
    stage.status(id).await.0 == "COMPLETED"
}

#[tokio::test]
async fn timers_that_cannot_be_written_rest_and_others_have_their_turn() {
    let stage = Stage::new().await;
    let ids = waiting(&stage, 6).await;
    // More than are taken up at once, and all of them before the others.
    let broken = format!(
        "delete from execution.execution_states where execution_id in ('{}', '{}', '{}');
         {DUE};
         update execution.waits set wake_at = wake_at - interval '1 hour'
         where execution_id in ('{0}', '{1}', '{2}')",
        ids[0], ids[1], ids[2]
    );
    stage.world.run(&broken).await;
    let replica = stage.replica();
    let mut timers = Timers::new(stage.world.pool.clone(), replica.committer.clone());
    timers.at_once = 2;
    let deadline = Instant::now() + Duration::from_secs(30);
    for id in &ids[3..] {
        while !is_over(&stage, *id).await {
            assert!(Instant::now() < deadline, "it starves");
            timers.wake().await.unwrap();
        }
    }
    // Some may still be on their way.
    while timers.resting.len() < 3 {
        assert!(Instant::now() < deadline, "{} rest", timers.resting.len());
        timers.wake().await.unwrap();
    }
    let (id, rest) = timers.resting.iter().next().unwrap();
    let (id, before) = (*id, rest.length);
    timers.rest(id, &Error::internal("again"));
    assert_eq!(timers.resting[&id].length, before * 2);
}

#[tokio::test]
async fn timer_that_somebody_else_holds_holds_up_no_other() {
    let stage = Stage::new().await;
    let ids = waiting(&stage, 2).await;
    stage.world.run(DUE).await;
    let mut other = stage.world.pool.begin().await.unwrap();
    sqlx::query("select from execution.workflow_executions where id = $1 for update")
        .bind(ids[0])
        .execute(&mut *other)
        .await
        .unwrap();
    let replica = stage.replica();
    let mut timers = Timers::new(stage.world.pool.clone(), replica.committer.clone());
    timers.at_once = 4;
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_over(&stage, ids[1]).await {
        assert!(Instant::now() < deadline, "it waits for the other one");
        timers.wake().await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(!is_over(&stage, ids[0]).await);
    other.rollback().await.unwrap();
    while !is_over(&stage, ids[0]).await {
        assert!(Instant::now() < deadline, "it is forgotten");
        timers.wake().await.unwrap();
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn replicas_take_up_different_timers_of_very_many() {
    let stage = Stage::new().await;
    let committer = stage.replica().committer.clone();
    let timers = || Timers::new(stage.world.pool.clone(), committer.clone());
    let due: Vec<Uuid> = (0..4000).map(Uuid::from_u128).collect();
    let others = HashSet::from([due[0], due[1]]);
    let (one, other) = (timers(), timers());
    let picked = one.pick(due.clone(), &others, 1000);
    assert_eq!(picked, one.pick(due.clone(), &others, 1000));
    let shared: HashSet<Uuid> = picked.into_iter().collect();
    let twice = other.pick(due.clone(), &others, 1000);
    let twice = twice.iter().filter(|id| shared.contains(id)).count();
    assert!(twice < 500, "{twice} of 1000 are picked by both");
    assert_eq!(one.pick(due[..4].to_vec(), &others, 1000), due[2..4]);
}
