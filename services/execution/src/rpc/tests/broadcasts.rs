//! Broadcast signals that come before anybody waits for them.

use serde_json::json;

use super::*;
use crate::committer::{Action, Target};
use crate::fixtures::catalog::{Replica, Stage};
use crate::rpc::broadcast;

const DAY: i64 = 24 * 3600;

fn paid(order: &str, amount: i64) -> pb::BroadcastSignalRequest {
    let data = json!({ "amount": amount });
    pb::BroadcastSignalRequest {
        name: "paid".to_owned(),
        correlation: order.to_owned(),
        workflow_id: String::new(),
        data: Some(wire::struct_from_json(data.as_object().unwrap())),
        ttl: Some(prost_types::Duration {
            seconds: DAY,
            nanos: 0,
        }),
        request_id: String::new(),
    }
}

/// A way to call, beside a replica whose committer does what is called for.
fn serving(stage: &Stage, replica: &Replica) -> Service {
    Service {
        committer: replica.committer.clone(),
        ..service(&stage.world)
    }
}

async fn send(
    service: &Service,
    request: pb::BroadcastSignalRequest,
) -> chassis::Result<pb::BroadcastSignalResponse> {
    broadcast::to_all(service, call(request)).await
}

async fn workflow(stage: &Stage) -> Uuid {
    let steps = [
        (
            "pay",
            "signal",
            json!({ "name": "paid", "correlation": "order" }),
        ),
        ("rest", "wait", json!({ "duration": "1h" })),
    ];
    stage.publish(1, &steps).await
}

/// What each execution that has taken one was paid, in order.
async fn amounts(stage: &Stage) -> Vec<i64> {
    let sql = "select (data ->> 'amount')::int as amount from execution.execution_logs
                where data ? 'amount' order by 1";
    let rows = stage.world.rows(sql).await;
    rows.iter()
        .map(|row| row["amount"].as_i64().unwrap())
        .collect()
}

async fn kept(stage: &Stage) -> usize {
    let all = "select id from execution.kept_signals";
    stage.world.rows(all).await.len()
}

#[tokio::test]
async fn an_early_signal_is_taken_once_by_whoever_comes_for_it() {
    let stage = Stage::new().await;
    let workflow = workflow(&stage).await;
    let mut replica = stage.replica();
    let service = serving(&stage, &replica);
    let told = send(&service, paid("o-1", 10)).await.unwrap();
    assert!(told.kept && told.delivered == 0);
    replica.pump.drain().await;
    for order in ["o-2", "o-1", "o-1"] {
        replica.start(workflow, json!({ "order": order })).await;
    }
    replica.pump.drain().await;
    assert_eq!(amounts(&stage).await, [10]);
    assert_eq!((kept(&stage).await, stage.commands().await), (0, 0));
    // Who still waits takes the next one at once, and then it is not kept.
    let told = send(&service, paid("o-1", 20)).await.unwrap();
    assert!(!told.kept && told.delivered == 1);
    assert_eq!(amounts(&stage).await, [10, 20]);
}

#[tokio::test]
async fn two_replicas_give_each_signal_to_one() {
    let stage = Stage::new().await;
    let workflow = workflow(&stage).await;
    let (mut one, mut two) = (stage.replica(), stage.replica());
    let service = serving(&stage, &one);
    for amount in 0..10 {
        assert!(send(&service, paid("o-1", amount)).await.unwrap().kept);
    }
    for _ in 0..12 {
        two.start(workflow, json!({ "order": "o-1" })).await;
    }
    for _ in 0..3 {
        tokio::join!(one.pump.drain(), two.pump.drain());
    }
    assert_eq!(amounts(&stage).await, (0..10).collect::<Vec<_>>());
    assert_eq!((kept(&stage).await, stage.commands().await), (0, 0));
    let waits = "select id from execution.waits where kind = 'signal'";
    assert_eq!(stage.world.rows(waits).await.len(), 2);
}

/// A branch begins to wait after the broadcast has looked for those who do, before the signal is kept.
#[tokio::test]
async fn whoever_comes_between_the_look_and_the_keeping_gets_it() {
    let stage = Stage::new().await;
    let workflow = workflow(&stage).await;
    let mut replica = stage.replica();
    replica.start(workflow, json!({ "order": "o-1" })).await;
    // It has found nothing yet.
    replica.pump.drain().await;
    let id = Uuid::now_v7();
    stage
        .world
        .run(&format!(
            "insert into execution.kept_signals (id, name, correlation, data, expires_at)
             values ('{id}', 'paid', 'o-1', '{{\"amount\": 5}}', now() + interval '1 day');
             insert into execution.commands (id, kind, execution_id)
             values (gen_random_uuid(), 'kept', '{id}')"
        ))
        .await;
    stage.replica().pump.drain().await;
    assert_eq!(amounts(&stage).await, [5]);
    assert_eq!((kept(&stage).await, stage.commands().await), (0, 0));
}

#[tokio::test]
async fn an_early_signal_is_for_its_workflow_and_for_its_time() {
    let stage = Stage::new().await;
    let (workflow, other) = (workflow(&stage).await, workflow(&stage).await);
    let mut replica = stage.replica();
    let service = serving(&stage, &replica);
    let restricted = pb::BroadcastSignalRequest {
        workflow_id: other.to_string(),
        ..paid("o-1", 10)
    };
    assert!(send(&service, restricted).await.unwrap().kept);
    replica.start(workflow, json!({ "order": "o-1" })).await;
    replica.pump.drain().await;
    assert_eq!(amounts(&stage).await, [0; 0]);
    let expire = "update execution.kept_signals set expires_at = now()";
    stage.world.run(expire).await;
    replica.start(other, json!({ "order": "o-1" })).await;
    replica.pump.drain().await;
    assert_eq!(amounts(&stage).await, [0; 0]);
    let mut conn = stage.world.pool.acquire().await.unwrap();
    let forgotten = crate::store::kept_signals::forget_expired(&mut conn).await;
    assert_eq!(forgotten.unwrap(), 1);
}

#[tokio::test]
async fn a_repeated_broadcast_is_kept_once() {
    let stage = Stage::new().await;
    let workflow = workflow(&stage).await;
    let mut replica = stage.replica();
    let service = serving(&stage, &replica);
    let first = pb::BroadcastSignalRequest {
        request_id: Uuid::now_v7().to_string(),
        ..paid("o-1", 10)
    };
    for _ in 0..2 {
        assert!(send(&service, first.clone()).await.unwrap().kept);
    }
    assert_eq!(kept(&stage).await, 1);
    // Nor again after somebody has taken it.
    replica.start(workflow, json!({ "order": "o-1" })).await;
    replica.pump.drain().await;
    assert!(send(&service, first.clone()).await.unwrap().kept);
    assert_eq!((kept(&stage).await, amounts(&stage).await), (0, vec![10]));
    let other = pb::BroadcastSignalRequest {
        correlation: "o-2".to_owned(),
        ..first
    };
    let reused = send(&service, other).await.unwrap_err();
    assert_eq!(reused.reason(), "REQUEST_ID_REUSED");
    // One that was delivered is not kept by its repetition.
    let id = replica.start(workflow, json!({ "order": "o-3" })).await;
    let second = pb::BroadcastSignalRequest {
        request_id: Uuid::now_v7().to_string(),
        ..paid("o-3", 30)
    };
    let told = send(&service, second.clone()).await.unwrap();
    assert_eq!((told.delivered, told.kept), (1, false));
    let told = send(&service, second).await.unwrap();
    assert_eq!((told.delivered, told.kept), (1, false));
    let reason = String::new();
    let compensate = false;
    replica
        .tell(Target::Execution(id), Action::Cancel { reason, compensate })
        .await;
}

/// As a crash leaves it: the deliveries are done, and nobody has said that they were all.
async fn forget_the_end(stage: &Stage) {
    let forget = "delete from execution.requests where method = 'EndBroadcast'";
    stage.world.run(forget).await;
}

#[tokio::test]
async fn a_repeated_broadcast_does_not_reach_who_waits_anew() {
    let stage = Stage::new().await;
    let config = json!({ "name": "paid", "correlation": "order" });
    let steps = ["first", "second"].map(|name| (name, "signal", config.clone()));
    let workflow = stage.publish(1, &steps).await;
    let replica = stage.replica();
    let service = serving(&stage, &replica);
    replica.start(workflow, json!({ "order": "o-1" })).await;
    let request = pb::BroadcastSignalRequest {
        request_id: Uuid::now_v7().to_string(),
        ..paid("o-1", 10)
    };
    for _ in 0..2 {
        let told = send(&service, request.clone()).await.unwrap();
        assert_eq!((told.delivered, told.kept), (1, false));
        forget_the_end(&stage).await;
    }
    assert_eq!((kept(&stage).await, amounts(&stage).await), (0, vec![10]));
    // One that has waited since before the first call, and was not reached yet.
    let late = replica.start(workflow, json!({ "order": "o-1" })).await;
    let backdate = format!(
        "update execution.waits set created_at =
             (select created_at from execution.requests where method = 'BroadcastSignal')
         where execution_id = '{late}'"
    );
    stage.world.run(&backdate).await;
    for _ in 0..2 {
        let told = send(&service, request.clone()).await.unwrap();
        assert_eq!((told.delivered, told.kept), (2, false));
    }
    assert_eq!(amounts(&stage).await, [10, 10]);
    // Another call is for all that wait now.
    let told = send(&service, paid("o-1", 20)).await.unwrap();
    assert_eq!(told.delivered, 2);
}

#[tokio::test]
async fn repetitions_at_once_reach_each_branch_once() {
    let stage = Stage::new().await;
    let workflow = workflow(&stage).await;
    let (one, two) = (stage.replica(), stage.replica());
    let services = [serving(&stage, &one), serving(&stage, &two)];
    for order in ["o-1", "o-1", "o-1", "o-2"] {
        one.start(workflow, json!({ "order": order })).await;
    }
    let request = |order| pb::BroadcastSignalRequest {
        request_id: Uuid::now_v7().to_string(),
        ..paid(order, 10)
    };
    for (order, wanted) in [("o-1", (3, false)), ("o-3", (0, true))] {
        let request = request(order);
        let calls = services
            .each_ref()
            .map(|service| send(service, request.clone()));
        for told in futures_util::future::join_all(calls).await {
            let told = told.unwrap();
            assert_eq!((told.delivered, told.kept), wanted);
        }
    }
    assert_eq!(
        (kept(&stage).await, amounts(&stage).await),
        (1, vec![10; 3])
    );
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused() {
    let stage = Stage::new().await;
    let replica = stage.replica();
    let service = serving(&stage, &replica);
    let ttl = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    for (correlation, ttl) in [("", ttl(1)), ("o-1", ttl(0)), ("o-1", ttl(30 * DAY + 1))] {
        let request = pb::BroadcastSignalRequest {
            ttl,
            ..paid(correlation, 10)
        };
        let error = send(&service, request).await.unwrap_err();
        assert_eq!(
            (error.code(), error.message().starts_with("ttl: ")),
            (Code::InvalidArgument, true)
        );
    }
    stage
        .world
        .run(
            "insert into execution.kept_signals (id, name, correlation, data, expires_at)
             select gen_random_uuid(), 'paid', 'o-1', '{}', now() + interval '1 day'
               from generate_series(1, 100)",
        )
        .await;
    let full = send(&service, paid("o-1", 10)).await.unwrap_err();
    assert_eq!(
        (full.code(), full.reason()),
        (Code::ResourceExhausted, "TOO_MANY_SIGNALS")
    );
    assert!(send(&service, paid("o-2", 10)).await.unwrap().kept);
}
