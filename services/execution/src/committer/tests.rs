//! The queue and its writers.

use chassis::idempotency::RequestKey;
use serde_json::json;
use tokio::net::TcpListener;
use tonic::Code;

use super::*;
use crate::fixtures::catalog::Stage;
use crate::fixtures::{World, peer};

fn command(target: Target, action: Action) -> Command {
    Command {
        target,
        action,
        request: None,
        actor: Actor::default(),
    }
}

fn start() -> Command {
    let new = NewExecution {
        workflow_id: Uuid::from_u128(1),
        ..NewExecution::default()
    };
    command(Target::New(Box::new(new)), Action::Start)
}

#[tokio::test]
async fn silent_catalog_stops_nothing_but_starts() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let catalog = peer(&listener.local_addr().unwrap().to_string());
    let definitions = Definitions::new(world.pool.clone(), catalog);
    let (outbox, _) = mpsc::channel(1);
    let shutdown = Shutdown::new();
    let committer = Committer::start(
        world.pool.clone(),
        definitions,
        outbox,
        Hints::default(),
        &shutdown,
    );
    let others = async {
        // It takes the call of the first writer and says nothing; then the second one asks, too.
        let _silent = listener.accept().await.unwrap();
        let second = committer.submit(start());
        let other = async {
            while committer.queue.waiting_starts() > 0 {
                tokio::task::yield_now().await;
            }
            let reason = String::new();
            let cancel = Action::Cancel {
                reason,
                compensate: false,
            };
            let cancel = command(Target::Execution(Uuid::nil()), cancel);
            committer.submit(cancel).await.unwrap_err()
        };
        tokio::select! {
            biased;
            _ = second => panic!("the catalog is silent"),
            refused = other => refused,
        }
    };
    tokio::select! {
        biased;
        _ = committer.submit(start()) => panic!("the catalog is silent"),
        refused = others => assert_eq!(refused.code(), Code::NotFound),
    }
    shutdown.soft.cancel();
}

#[tokio::test]
async fn of_two_replicas_one_starts_the_execution_of_a_key() {
    let stage = Stage::new().await;
    let workflow_id = stage.publish(1, &[("pack", "pack", json!({}))]).await;
    let replicas = [stage.replica(), stage.replica()];
    for round in 0..50_u8 {
        let start = |id: u8| {
            let new = NewExecution {
                workflow_id,
                business_key: Some(BusinessKey {
                    key: format!("order {round}"),
                    policy: KeyPolicy::RejectAlways,
                }),
                ..NewExecution::default()
            };
            Command {
                request: Some(RequestKey {
                    caller: "user:1".to_owned(),
                    method: "StartExecution",
                    id: Uuid::from_bytes([round, id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
                    body_hash: vec![id],
                }),
                ..command(Target::New(Box::new(new)), Action::Start)
            }
        };
        // One call comes twice: its repetition finds what it started, or is refused like it.
        let (one, other, again) = tokio::join!(
            replicas[0].committer.submit(start(1)),
            replicas[1].committer.submit(start(2)),
            replicas[1].committer.submit(start(1)),
        );
        let started = [&one, &other].into_iter().flatten().count();
        assert_eq!(started, 1, "{one:?} {other:?}");
        match (one, again) {
            (Ok(one), Ok(again)) => assert_eq!(one.execution_id, again.execution_id),
            (Err(one), Err(again)) => {
                assert_eq!(one.reason(), "BUSINESS_KEY_IN_USE");
                assert_eq!(one.message(), again.message());
            }
            (one, again) => panic!("{one:?}, and again {again:?}"),
        }
    }
}

#[tokio::test]
async fn start_whose_caller_has_left_is_not_begun() {
    let stage = Stage::new().await;
    let workflow_id = stage.publish(1, &[("pack", "pack", json!({}))]).await;
    let replica = stage.replica();
    let open = replica.start(workflow_id, json!({})).await;
    let gone = CallerGone::default();
    gone.0.cancel();
    let new = NewExecution {
        workflow_id,
        ..NewExecution::default()
    };
    let start = command(Target::New(Box::new(new)), Action::Start);
    let refused = gone.during(replica.committer.submit(start)).await;
    assert_eq!(refused.unwrap_err().reason(), "CALLER_GONE");
    let all = "select id from execution.workflow_executions";
    assert_eq!(stage.world.rows(all).await.len(), 1);
    // What has begun is another matter.
    let cancel = Action::Cancel {
        reason: String::new(),
        compensate: false,
    };
    let cancel = command(Target::Execution(open), cancel);
    gone.during(replica.committer.submit(cancel)).await.unwrap();
    assert_eq!(stage.status(open).await.0, "CANCELLED");
}
