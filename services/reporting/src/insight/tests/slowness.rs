//! Populations of which some are slow.

use chrono::TimeDelta;
use model::event::{Event, ExecutionEvents, StepFinished};
use model::status::StepStatus;

use super::{done, execution, find, id, seconds};
use crate::insight::Trait;

/// `slow` executions take 100 s and are retried, the others 10 s; every other one starts on a Saturday.
fn population(all: u128, slow: u128) -> Vec<ExecutionEvents> {
    let one = |number: u128| {
        let is_slow = number <= slow;
        let failed = StepFinished {
            status: StepStatus::Failed,
            will_retry: true,
            ..done(1, 1, (0, 0), &[])
        };
        let last = StepFinished {
            attempt: 2,
            ..done(1, 1, (0, 1), &[])
        };
        let steps = if is_slow {
            vec![failed, last]
        } else {
            vec![done(1, 1, (0, 1), &[])]
        };
        let mut events = execution(number, steps, Some(if is_slow { 100 } else { 10 }));
        if number.is_multiple_of(2) {
            let day = TimeDelta::days(1);
            events.started_at += day;
            if let Some(Event::Finished { completed_at, .. }) = events.events.last_mut() {
                *completed_at += day;
            }
        }
        events
    };
    (1..=all).map(one).collect()
}

#[test]
fn what_only_slow_executions_have_distinguishes_them() {
    let slow = find(None, population(100, 10)).slow.expect("a comparison");
    assert_eq!(
        (slow.slow, slow.others, slow.slow_from),
        (10, 90, seconds(100))
    );
    let [retried] = &slow.differences[..] else {
        panic!("one difference: {:?}", slow.differences);
    };
    assert_eq!(retried.of, Trait::Retried(id(1)));
    assert_eq!((retried.slow, retried.others), (10, 0));
}

#[test]
fn what_ties_with_the_fastest_slow_one_is_slow() {
    let slow = find(None, population(100, 30)).slow.expect("a comparison");
    assert_eq!((slow.slow, slow.others), (30, 70));
}

#[test]
fn too_few_or_too_equal_executions_are_not_compared() {
    assert!(find(None, population(49, 5)).slow.is_none());
    assert!(find(None, population(50, 5)).slow.is_some());
    assert!(find(None, population(100, 0)).slow.is_none());
    assert!(find(None, population(100, 51)).slow.is_none());
}

#[test]
fn what_few_executions_have_is_not_told() {
    let mut histories = population(100, 10);
    for history in &mut histories[..4] {
        history.workflow_version = 2;
    }
    let slow = find(None, histories.clone()).slow.expect("a comparison");
    assert!(
        slow.differences
            .iter()
            .all(|own| own.of != Trait::Version(2))
    );
    for history in &mut histories[..5] {
        history.workflow_version = 2;
    }
    let slow = find(None, histories).slow.expect("a comparison");
    assert!(
        slow.differences
            .iter()
            .any(|own| own.of == Trait::Version(2))
    );
}
