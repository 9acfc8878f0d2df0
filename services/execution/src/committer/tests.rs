//! The queue and its writers.

use tokio::net::TcpListener;
use tonic::Code;

use super::*;
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
            while committer.queue.capacity() < QUEUE {
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
