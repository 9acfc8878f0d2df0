//! Locks and items in the database, by several replicas.

use model::wire;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::committer::{Action, Target};
use crate::context;
use crate::engine::{Answer, Decision, Resolution};
use crate::fixtures::catalog::{Replica, Stage};

fn desk() -> Value {
    json!({ "lock": { "name": "desk", "key": "place" } })
}

impl Stage {
    /// Kinds of what an execution waits for.
    async fn kinds(&self, id: Uuid) -> Vec<String> {
        let sql =
            format!("select kind from execution.waits where execution_id = '{id}' order by id");
        let rows = self.world.rows(&sql).await;
        rows.iter()
            .map(|row| row["kind"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn held(&self) -> usize {
        self.world
            .rows("select lock_key from execution.locks")
            .await
            .len()
    }

    /// Submits the first task of an execution.
    async fn submit(&self, replica: &mut Replica, id: Uuid, data: Value) {
        let sql = format!(
            "select id from execution.waits where execution_id = '{id}' and kind = 'person' order by id"
        );
        let rows = self.world.rows(&sql).await;
        let wait = rows[0]["id"].as_str().unwrap().parse().unwrap();
        let data = data.as_object().unwrap().clone();
        let decision = Action::Answer(Answer::Decide(Decision::Submit { data }));
        replica.tell(Target::Wait(wait), decision).await;
        replica.pump.drain().await;
    }
}

#[tokio::test]
async fn a_lock_passes_from_one_execution_to_the_next() {
    let stage = Stage::new().await;
    let workflow = stage.publish(1, &[("pay", "data_entry", desk())]).await;
    let foreign = stage.publish(2, &[("pay", "data_entry", desk())]).await;
    let (mut one, mut two) = (stage.replica(), stage.replica());
    let here = json!({ "place": 4 });
    let first = one.start(workflow, here.clone()).await;
    let second = two.start(workflow, here.clone()).await;
    let third = one.start(workflow, here.clone()).await;
    let fourth = two.start(workflow, here.clone()).await;
    let elsewhere = two.start(workflow, json!({ "place": 5 })).await;
    let others = two.start(foreign, here).await;
    one.pump.drain().await;
    for id in [first, elsewhere, others] {
        assert_eq!(stage.kinds(id).await, ["person"]);
    }
    for id in [second, third, fourth] {
        assert_eq!(stage.kinds(id).await, ["lock"]);
    }
    stage.submit(&mut two, first, json!({})).await;
    assert_eq!(stage.status(first).await.0, "COMPLETED");
    assert_eq!(stage.kinds(second).await, ["person"]);
    // Neither who waits nor who holds keeps the others when cancelled.
    for id in [third, second] {
        let cancel = Action::Cancel {
            reason: String::new(),
            compensate: false,
        };
        one.tell(Target::Execution(id), cancel).await;
        one.pump.drain().await;
    }
    assert_eq!(stage.kinds(fourth).await, ["person"]);
    for id in [fourth, elsewhere, others] {
        stage.submit(&mut one, id, json!({})).await;
    }
    assert_eq!((stage.held().await, stage.commands().await), (0, 0));
}

#[tokio::test]
async fn a_crowd_before_one_lock_is_let_through_to_the_last() {
    let stage = Stage::new().await;
    let step = json!({ "lock": { "name": "desk" }, "output": { "done": "true" } });
    let workflow = stage.publish(1, &[("book", "transform", step)]).await;
    let (mut one, mut two) = (stage.replica(), stage.replica());
    let starts = (0..60).map(|n| if n % 2 == 0 { &one } else { &two }.start(workflow, json!({})));
    let ids = futures_util::future::join_all(starts).await;
    // What one replica holds at a moment the other one leaves to it.
    while stage.commands().await > 0 {
        tokio::join!(one.pump.drain(), two.pump.drain());
    }
    for id in ids {
        assert_eq!(stage.status(id).await.0, "COMPLETED");
    }
    assert_eq!(stage.held().await, 0);
}

#[tokio::test]
async fn items_are_gone_through_by_any_replica() {
    let stage = Stage::new().await;
    let each = json!({ "items": "places", "step": "visit", "concurrency": 2 });
    let steps = [
        ("each", "foreach", each),
        ("visit", "data_entry", json!({})),
    ];
    let workflow = stage.publish(1, &steps).await;
    let mut replicas = [stage.replica(), stage.replica(), stage.replica()];
    let id = replicas[0]
        .start(workflow, json!({ "places": ["a", "b", "c"] }))
        .await;
    assert_eq!(stage.kinds(id).await, ["children", "person", "person"]);
    for (n, replica) in replicas.iter_mut().enumerate() {
        stage.submit(replica, id, json!({ "visitor": n })).await;
    }
    assert_eq!(stage.status(id).await.0, "COMPLETED");
    let logs = stage
        .world
        .rows(&format!(
            "select item_index, data->'results' as results from execution.execution_logs
             where execution_id = '{id}' order by seq"
        ))
        .await;
    let results = json!([{ "visitor": 0 }, { "visitor": 1 }, { "visitor": 2 }]);
    assert_eq!(logs[0]["results"], results);
    let indices: Vec<_> = logs.iter().map(|log| log["item_index"].as_i64()).collect();
    assert_eq!(indices, [None, Some(0), Some(1), Some(2)]);
}

#[tokio::test]
async fn what_is_corrected_for_an_item_shows_to_whoever_does_it() {
    let stage = Stage::new().await;
    let visit = json!({ "timeout": "1h", "onFailure": "park" });
    let steps = [
        ("each", "foreach", json!({ "count": 1, "step": "visit" })),
        ("visit", "data_entry", visit),
    ];
    let workflow = stage.publish(1, &steps).await;
    let replica = stage.replica();
    let id = replica.start(workflow, json!({ "place": "old" })).await;
    let wait = async |kind: &str| {
        let sql = format!(
            "select id from execution.waits where execution_id = '{id}' and kind = '{kind}'"
        );
        let rows = stage.world.rows(&sql).await;
        Target::Wait(rows[0]["id"].as_str().unwrap().parse().unwrap())
    };
    let late = "update execution.waits set wake_at = now() where kind = 'person'";
    stage.world.run(late).await;
    replica.tell(wait("person").await, Action::Wake).await;
    let data = json!({ "place": "new" }).as_object().unwrap().clone();
    let retry = Action::Resolve(Resolution::Retry { data });
    replica.tell(wait("incident").await, retry).await;
    assert_eq!(stage.kinds(id).await.len(), 2);
    let mut conn = stage.world.pool.acquire().await.unwrap();
    let context = context::of(&mut conn, id).await.unwrap();
    assert_eq!(
        wire::json_from_struct(&context.data).unwrap()["place"],
        "new"
    );
}
