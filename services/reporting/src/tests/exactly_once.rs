//! An event counts once, whatever its senders do.

use model::event::{Event, ExecutionEvents};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use uuid::Uuid;

use super::samples::{deliveries, part, simple};
use super::{Fixture, row};
use crate::ingest::settle;
use crate::wire::{self, Part};

fn thirty() -> Vec<ExecutionEvents> {
    (1..=30)
        .map(|number| simple(number, 1000 * number as i64))
        .collect()
}

#[tokio::test]
async fn any_delivery_gives_the_same_sums() {
    let mut runner = TestRunner::deterministic();
    for _ in 0..8 {
        let fixture = Fixture::new().await;
        let (histories, parts) = deliveries().new_tree(&mut runner).unwrap().current();
        fixture.know(&histories).await;
        for batch in parts.chunks(3) {
            fixture.settle(batch).await;
        }
        fixture.check(&histories).await;
        fixture.settle(&parts).await;
        fixture.check(&histories).await;
        assert_eq!(fixture.parked().await, 0);
    }
}

#[tokio::test]
async fn duplicates_within_one_batch_count_once() {
    let (fixture, histories) = (Fixture::new().await, thirty());
    fixture.know(&histories).await;
    let pieces = histories
        .iter()
        .flat_map(|own| [own.clone(), part(own, 0, 2), part(own, 1, 3), own.clone()]);
    fixture.settle(&Vec::from_iter(pieces)).await;
    fixture.check(&histories).await;
}

#[tokio::test]
async fn duplicates_of_held_events_are_held_once() {
    let (fixture, history) = (Fixture::new().await, simple(1, 5));
    fixture.know(std::slice::from_ref(&history)).await;
    let (short, long) = (part(&history, 1, 2), part(&history, 1, 3));
    fixture.settle(&[long.clone(), short.clone(), long]).await;
    // A shorter piece must not take the place of a longer one.
    fixture.settle(&[short]).await;
    assert_eq!(fixture.held().await, 1);
    fixture.settle(&[part(&history, 0, 1)]).await;
    fixture.check(&[history]).await;
}

#[tokio::test]
async fn two_senders_at_once_count_once() {
    let (fixture, histories) = (Fixture::new().await, thirty());
    fixture.know(&histories).await;
    let backwards = Vec::from_iter(histories.iter().rev().cloned());
    let sender = |events: Vec<ExecutionEvents>, size: usize| {
        let pool = fixture.pool.clone();
        tokio::spawn(async move {
            for batch in events.chunks(size) {
                settle(&pool, &[row(batch)]).await.unwrap();
            }
        })
    };
    let senders = [
        sender(histories.clone(), 1),
        sender(histories.clone(), 7),
        sender(backwards.clone(), 30),
        sender(backwards, 4),
    ];
    for sender in senders {
        sender.await.unwrap();
    }
    fixture.check(&histories).await;
}

#[tokio::test]
async fn a_purged_execution_is_still_known() {
    let (fixture, histories) = (Fixture::new().await, thirty());
    fixture.know(&histories).await;
    fixture.settle(&histories).await;
    fixture
        .run("delete from execution.workflow_executions", &[])
        .await;
    fixture.settle(&histories).await;
    fixture.check(&histories).await;
    assert_eq!(fixture.parked().await, 0);
}

#[tokio::test]
async fn a_poisonous_execution_is_parked_alone() {
    let (fixture, histories) = (Fixture::new().await, thirty());
    fixture.know(&histories).await;
    let unknown = simple(999, 5);
    let mut impossible = simple(1, 5);
    impossible.first_seq = 4;
    impossible.events = vec![Event::Started];
    let parts = [
        &histories[..7],
        &[unknown.clone(), impossible],
        &histories[7..],
    ]
    .concat();
    let row = row(&parts);
    settle(&fixture.pool, std::slice::from_ref(&row))
        .await
        .unwrap();
    fixture.check(&histories).await;
    // The same again: it is not parked twice.
    settle(&fixture.pool, std::slice::from_ref(&row))
        .await
        .unwrap();
    let select = "select row_id, payload, error from reporting.parked_rows";
    let parked: Vec<(Uuid, Vec<u8>, String)> = sqlx::query_as(select)
        .fetch_all(&fixture.owner)
        .await
        .unwrap();
    assert_eq!(parked.len(), 1);
    assert_eq!(parked[0].0, row.id);
    assert!(
        parked[0].2.contains("workflow_reports_execution_id_fkey"),
        "{}",
        parked[0].2
    );
    assert_eq!(wire::decode(&parked[0].1), Some(unknown));
}

#[tokio::test]
async fn unreadable_events_are_parked_and_the_rest_of_their_row_counts() {
    let (fixture, histories) = (Fixture::new().await, thirty());
    fixture.know(&histories).await;
    let mut row = row(&histories);
    let broken = proto::execution::v1::ExecutionEvents {
        execution_id: "?".to_owned(),
        ..Default::default()
    };
    row.parts.insert(3, wire::part(broken));
    assert!(matches!(row.parts[3], Part::Unread { .. }));
    settle(&fixture.pool, &[row]).await.unwrap();
    fixture.check(&histories).await;
    assert_eq!(fixture.parked().await, 1);
}
