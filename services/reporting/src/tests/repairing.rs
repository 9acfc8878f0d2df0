//! Gaps that nobody closes.

use chrono::TimeDelta;

use super::Fixture;
use super::archive::{Archive, nobody};
use super::samples::{part, simple};
use crate::history::Repair;

async fn repair(fixture: &Fixture, archive: Archive) -> Repair {
    Repair::new(fixture.pool.clone(), archive.history().await)
}

#[tokio::test]
async fn an_old_gap_is_closed_from_history() {
    let fixture = Fixture::new().await;
    let histories = [simple(1, 5), simple(2, 7)];
    fixture.know(&histories).await;
    let mut repair = repair(&fixture, Archive::of(&histories)).await;
    fixture
        .settle(&[part(&histories[0], 2, 3), part(&histories[1], 1, 2)])
        .await;
    assert_eq!(fixture.held().await, 2);
    // Young gaps are left to the stream.
    repair.step(TimeDelta::hours(1)).await.unwrap();
    assert_eq!(fixture.held().await, 2);
    repair.step(TimeDelta::zero()).await.unwrap();
    fixture.check(&histories).await;
    // What comes after all has been counted.
    fixture.settle(&histories).await;
    fixture.check(&histories).await;
    assert_eq!(fixture.parked().await, 0);
}

#[tokio::test]
async fn what_history_does_not_know_is_parked() {
    let fixture = Fixture::new().await;
    let history = simple(1, 5);
    fixture.know(std::slice::from_ref(&history)).await;
    let mut repair = repair(&fixture, Archive::default()).await;
    fixture.settle(&[part(&history, 1, 3)]).await;
    repair.step(TimeDelta::zero()).await.unwrap();
    assert_eq!((fixture.held().await, fixture.parked().await), (0, 1));
}

#[tokio::test]
async fn without_history_gaps_wait() {
    let fixture = Fixture::new().await;
    let history = simple(1, 5);
    fixture.know(std::slice::from_ref(&history)).await;
    let mut repair = Repair::new(fixture.pool.clone(), nobody());
    fixture.settle(&[part(&history, 1, 3)]).await;
    assert!(repair.step(TimeDelta::zero()).await.is_err());
    assert_eq!((fixture.held().await, fixture.parked().await), (1, 0));
}
