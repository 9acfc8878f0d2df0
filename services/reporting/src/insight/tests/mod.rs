//! Hand-made histories, and what they must show.

mod slowness;

use chrono::{DateTime, TimeDelta, Utc};
use model::definition::{Definition, Step, Transition};
use model::event::{Cause, Event, ExecutionEvents, StepFinished};
use model::status::{ExecutionStatus, StepStatus};
use proptest::prelude::*;
use serde_json::{Map as Object, Value, json};
use uuid::Uuid;

use super::variants::Part;
use super::*;
use crate::tests::samples::{attempt_at, instant};

/// A Friday.
const START: &str = "2021-01-01T00:00:00Z";

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn at(second: i64) -> DateTime<Utc> {
    instant(START) + TimeDelta::seconds(second)
}

fn seconds(seconds: u64) -> u64 {
    seconds * 1_000_000
}

/// A transition has the number `from * 100 + to`.
fn way(from: u128, to: u128) -> Uuid {
    id(from * 100 + to)
}

fn map_with(steps: &[(u128, Value)], ways: &[(u128, u128)]) -> Map {
    let step = |(number, config): &(u128, Value)| Step {
        id: id(*number),
        key: number.to_string(),
        name: number.to_string(),
        description: None,
        step_type: match config.get("step") {
            Some(_) => "foreach".to_owned(),
            None => "custom".to_owned(),
        },
        order: i32::try_from(*number).expect("few"),
        config: config.as_object().cloned().unwrap_or_else(Object::new),
        is_required: true,
    };
    let transition = |(from, to): &(u128, u128)| Transition {
        id: way(*from, *to),
        from_step_id: id(*from),
        to_step_id: id(*to),
        condition: None,
        is_default: false,
    };
    Map::of(Definition {
        workflow_id: id(500),
        version: 1,
        client_id: id(900),
        name: "W".to_owned(),
        description: None,
        target: None,
        steps: steps.iter().map(step).collect(),
        transitions: ways.iter().map(transition).collect(),
    })
}

fn map(steps: &[u128], ways: &[(u128, u128)]) -> Map {
    let steps: Vec<_> = steps.iter().map(|step| (*step, json!({}))).collect();
    map_with(&steps, ways)
}

/// The only attempt at a step, from when to when in seconds, and which steps it led to.
fn done(step: u128, activation: i32, (from, to): (i64, i64), next: &[u128]) -> StepFinished {
    StepFinished {
        activation,
        taken_transition_ids: next.iter().map(|next| way(step, *next)).collect(),
        completed_at: at(to),
        ..attempt_at(id(step), at(from))
    }
}

fn execution(number: u128, steps: Vec<StepFinished>, end: Option<i64>) -> ExecutionEvents {
    let end = end.map(|second| Event::Finished {
        status: ExecutionStatus::Completed,
        completed_at: at(second),
        target: None,
    });
    ExecutionEvents {
        execution_id: id(number),
        workflow_id: id(500),
        client_id: id(900),
        workflow_version: 1,
        started_at: at(0),
        first_seq: 1,
        events: [Event::Started]
            .into_iter()
            .chain(steps.into_iter().map(Event::StepFinished))
            .chain(end)
            .collect(),
    }
}

/// Steps one after another, a second each.
fn chain(number: u128, steps: &[u128]) -> ExecutionEvents {
    let mut arrivals: HashMap<u128, i32> = HashMap::new();
    let steps: Vec<StepFinished> = (steps.iter().enumerate())
        .map(|(place, step)| {
            let activation = arrivals.entry(*step).or_default();
            *activation += 1;
            let from = place as i64;
            let next = steps.get(place + 1..=place + 1).unwrap_or_default();
            done(*step, *activation, (from, from + 1), next)
        })
        .collect();
    let end = steps.len() as i64;
    execution(number, steps, Some(end))
}

fn find(current: Option<Map>, histories: impl IntoIterator<Item = ExecutionEvents>) -> Findings {
    let mut insight = Insight::new(current.map(|map| (1, map)));
    histories.into_iter().for_each(|events| insight.add(events));
    insight.finish()
}

fn plain(steps: &[u128]) -> Part {
    Part {
        steps: steps.iter().map(|step| id(*step)).collect(),
        repeated: false,
    }
}

fn again(steps: &[u128]) -> Part {
    Part {
        repeated: true,
        ..plain(steps)
    }
}

#[test]
fn time_is_told_by_step_with_waiting_and_back_off() {
    // Seen at 0, could be begun at 0, begun at 4, failed at 6; tried again from 10 on (seen at 6), begun at 13.
    let first = StepFinished {
        cause: Cause::Job,
        assigned_at: Some(at(4)),
        status: StepStatus::Failed,
        error_code: Some("BROKEN".to_owned()),
        will_retry: true,
        ..done(1, 1, (0, 6), &[])
    };
    let second = StepFinished {
        cause: Cause::Person,
        attempt: 2,
        available_at: at(10),
        assigned_at: Some(at(13)),
        ..done(1, 1, (6, 20), &[2])
    };
    // Nobody ever took this one.
    let given_up = StepFinished {
        cause: Cause::Job,
        status: StepStatus::Failed,
        error_code: Some("QUEUE_TIMEOUT".to_owned()),
        ..done(2, 1, (20, 25), &[])
    };
    let one = execution(1, vec![first, second, given_up], Some(25));
    // A timer waits for nobody, and neither does what waits for a lock before its turn.
    let timer = StepFinished {
        cause: Cause::Timer,
        ..done(2, 1, (0, 4), &[2])
    };
    let locked = StepFinished {
        cause: Cause::Job,
        locked: true,
        available_at: at(5),
        assigned_at: Some(at(5)),
        ..done(2, 2, (4, 5), &[])
    };
    // Another execution did this one, and tells of it.
    let copied = StepFinished {
        taken_over: true,
        ..done(1, 1, (4, 4), &[2])
    };
    let other = execution(2, vec![timer, copied, locked], None);
    let found = find(None, [one, other]);
    assert_eq!((found.executions, found.finished), (2, 1));
    let [(one, long), (two, short)] = &found.steps[..] else {
        panic!("two steps: {:?}", found.steps);
    };
    assert_eq!((*one, *two), (id(1), id(2)));
    assert_eq!(
        (long.total.count, long.total.sum),
        (1, u128::from(seconds(20)))
    );
    assert_eq!(long.waiting.sum, u128::from(seconds(4 + 3)));
    assert_eq!(long.back_off, u128::from(seconds(4)));
    assert_eq!(
        (short.total.count, short.total.sum),
        (3, u128::from(seconds(10)))
    );
    assert_eq!(short.waiting.sum, u128::from(seconds(5)));
    assert_eq!(short.back_off, 0);
}

#[test]
fn ways_are_counted_and_loops_stand_once() {
    let found = find(
        None,
        [
            chain(1, &[1, 2, 3]),
            chain(2, &[1, 2, 3, 2, 3, 4]),
            chain(3, &[1, 2, 3, 2, 3, 2, 3, 4]),
            chain(4, &[1, 1, 1, 2]),
            chain(5, &[1, 2, 3]),
            // Not over.
            execution(6, vec![done(1, 1, (0, 1), &[])], None),
            execution(7, vec![], Some(8)),
        ],
    );
    let told: Vec<(Way, u64, u128)> = (found.ways.ways.into_iter())
        .map(|(way, went)| (way, went.times.count, went.times.sum))
        .collect();
    let micros = |all| u128::from(seconds(all));
    assert_eq!(
        told,
        [
            (
                vec![plain(&[1]), again(&[2, 3]), plain(&[4])],
                2,
                micros(14)
            ),
            (vec![plain(&[1, 2, 3])], 2, micros(6)),
            (vec![], 1, micros(8)),
            (vec![again(&[1]), plain(&[2])], 1, micros(4)),
        ]
    );
    assert_eq!(
        (found.ways.other_ways, found.ways.others.times.count),
        (0, 0)
    );
}

#[test]
fn frequent_ways_and_slow_ones_are_told_and_the_others_summed() {
    // Sixty ways: the n-th is gone once; those with a low number twice, those with a high one slowly.
    let mut histories = Vec::new();
    for way in 1..=60_u128 {
        let step = vec![done(way, 1, (0, 1), &[])];
        let end = Some(if way > 50 { 1000 } else { 10 });
        histories.push(execution(way, step.clone(), end));
        if way <= 25 {
            histories.push(execution(100 + way, step, end));
        }
    }
    let ways = find(None, histories).ways;
    assert_eq!(ways.ways.len(), 50);
    let told: Vec<Uuid> = ways.ways.iter().map(|(way, _)| way[0].steps[0]).collect();
    assert!(
        (1..=25).chain(51..=60).all(|way| told.contains(&id(way))),
        "{told:?}"
    );
    assert_eq!((ways.other_ways, ways.others.times.count), (10, 10));
    assert_eq!(ways.others.times.sum, u128::from(seconds(100)));
    assert_eq!(ways.others.completed, 10);
}

#[test]
fn ways_too_long_to_tell_are_summed_with_the_others() {
    let long: Vec<u128> = (1..=201).collect();
    let ways = find(None, [chain(1, &long), chain(2, &long[1..])]).ways;
    assert_eq!((ways.ways.len(), ways.other_ways), (1, 1));
    assert_eq!(ways.others.times.count, 1);
}

#[test]
fn what_is_done_again_is_told_with_the_moves_back() {
    let current = map(&[1, 2, 3], &[(1, 2), (2, 1), (2, 3)]);
    let found = find(
        Some(current),
        [
            chain(1, &[1, 2, 1, 2, 1, 2, 3]),
            chain(2, &[1, 2, 1, 2, 3]),
            chain(3, &[1, 2, 3]),
        ],
    );
    let rework = |executions, extra| Rework {
        executions,
        extra,
        extra_time: u128::from(seconds(extra)),
    };
    let seen = |count, executions| Seen { count, executions };
    assert_eq!(
        found.reworked,
        [(id(1), rework(2, 3)), (id(2), rework(2, 3))]
    );
    let back = [((id(1), id(2)), seen(3, 2)), ((id(2), id(1)), seen(3, 2))];
    assert_eq!(found.back, back);
}

/// 1 leads to 2 and 3 side by side, which lead to the join 4.
fn side_by_side(number: u128) -> ExecutionEvents {
    let steps = vec![
        done(1, 1, (0, 1), &[2, 3]),
        done(3, 1, (1, 5), &[4]),
        done(2, 1, (1, 9), &[4]),
        done(4, 1, (5, 9), &[]),
    ];
    execution(number, steps, Some(9))
}

#[test]
fn branches_side_by_side_make_no_moves_between_each_other() {
    let ways = [(1, 2), (1, 3), (2, 4), (3, 4)];
    let current = map(&[1, 2, 3, 4], &ways);
    let found = find(Some(current), [side_by_side(1)]);
    assert_eq!((&found.reworked[..], &found.back[..]), (&[][..], &[][..]));
    let told = found.conformance.expect("held against a version");
    assert_eq!((told.conforming, told.deviating, told.unclear), (1, 0, 0));
}

#[test]
fn rework_that_was_taken_over_was_done_elsewhere() {
    let copied = |activation| StepFinished {
        taken_over: true,
        ..done(1, activation, (0, 0), &[1])
    };
    let only_copies = vec![copied(1), copied(2)];
    let more = vec![copied(1), copied(2), done(1, 3, (0, 4), &[])];
    let found = find(
        None,
        [
            execution(1, only_copies, Some(1)),
            execution(2, more, Some(4)),
        ],
    );
    let [(step, rework)] = &found.reworked[..] else {
        panic!("one step: {:?}", found.reworked);
    };
    assert_eq!(*step, id(1));
    assert_eq!((rework.executions, rework.extra), (1, 1));
    assert_eq!(rework.extra_time, u128::from(seconds(4)));
}

#[test]
fn what_is_done_for_each_item_is_no_rework() {
    let each = json!({ "items": "list", "step": "2" });
    let current = map_with(&[(1, each), (2, json!({})), (3, json!({}))], &[(1, 3)]);
    assert!(current.is_apart(id(2)), "the definition parses");
    let steps = vec![
        done(2, 1, (0, 1), &[]),
        done(2, 2, (0, 2), &[]),
        done(1, 1, (0, 2), &[3]),
        done(3, 1, (2, 3), &[]),
    ];
    let found = find(Some(current), [execution(1, steps, Some(3))]);
    assert_eq!((&found.reworked[..], &found.back[..]), (&[][..], &[][..]));
    let told = found.conformance.expect("held against a version");
    assert_eq!((told.conforming, told.deviating), (1, 0));
}

#[test]
fn steps_and_moves_that_the_version_lacks_deviate() {
    let current = map(&[1, 2, 3], &[(1, 2), (2, 3)]);
    let mut old = side_by_side(5);
    old.workflow_version = 7;
    let mut known = side_by_side(6);
    known.workflow_version = 8;
    // It failed although it was optional: the way goes on.
    let skipped = StepFinished {
        status: StepStatus::Skipped,
        error_code: Some("BROKEN".to_owned()),
        ..done(2, 1, (1, 2), &[3])
    };
    let optional = vec![done(1, 1, (0, 1), &[2]), skipped, done(3, 1, (2, 3), &[])];
    let mut insight = Insight::new(Some((1, current)));
    assert!(insight.asks_for(8) && !insight.asks_for(1));
    insight.learn(
        8,
        Some(map(&[1, 2, 3, 4], &[(1, 2), (1, 3), (2, 4), (3, 4)])),
    );
    insight.learn(7, None);
    assert!(!insight.asks_for(8) && !insight.asks_for(7));
    for events in [
        chain(1, &[1, 2, 3]),
        execution(2, optional, Some(3)),
        chain(3, &[1, 3]),
        chain(4, &[1, 9, 9, 3]),
        old,
        known,
    ] {
        insight.add(events);
    }
    let told = insight
        .finish()
        .conformance
        .expect("held against a version");
    // Of the fifth nobody knows the moves, but its last step is not there any more.
    assert_eq!((told.conforming, told.deviating, told.unclear), (2, 4, 0));
    let seen = |count, executions| Seen { count, executions };
    assert_eq!(told.steps, [(id(4), seen(2, 2)), (id(9), seen(2, 1))]);
    let one = |from, to| ((id(from), id(to)), seen(1, 1));
    let moves = [
        ((id(1), id(3)), seen(2, 2)),
        one(1, 9),
        one(2, 4),
        one(3, 4),
        one(9, 3),
        one(9, 9),
    ];
    assert_eq!(told.moves, moves);
}

#[test]
fn without_the_version_of_parallel_executions_their_moves_are_unclear() {
    let current = map(&[1, 2, 3, 4], &[(1, 2)]);
    let mut old = side_by_side(1);
    old.workflow_version = 7;
    let told = find(Some(current), [old])
        .conformance
        .expect("held against a version");
    assert_eq!((told.conforming, told.deviating, told.unclear), (0, 0, 1));
}

proptest! {
    #[test]
    fn neither_order_nor_parts_change_what_is_found(
        ways in prop::collection::vec(prop::collection::vec(1..5_u128, 0..9), 1..70),
        cut in 1..9_usize,
        turn: prop::sample::Index,
    ) {
        let histories: Vec<_> = (ways.iter().enumerate())
            .map(|(number, way)| chain(number as u128, way))
            .collect();
        let current = || map(&[1, 2, 3], &[(1, 2), (2, 3), (3, 1)]);
        let whole = find(Some(current()), histories.clone());
        let mut turned = histories;
        let middle = turn.index(turned.len());
        turned.rotate_left(middle);
        let parts = turned.into_iter().flat_map(|history| {
            let parts = history.events.chunks(cut).map(|events| ExecutionEvents {
                events: events.to_vec(),
                ..history.clone()
            });
            parts.collect::<Vec<_>>()
        });
        let parts = find(Some(current()), parts);
        prop_assert_eq!(format!("{whole:?}"), format!("{parts:?}"));
        // Every execution goes one way, and fits or does not.
        let told: u64 = whole.ways.ways.iter().map(|(_, went)| went.times.count).sum();
        prop_assert_eq!(told + whole.ways.others.times.count, whole.executions);
        let told = whole.conformance.unwrap();
        prop_assert_eq!(told.conforming + told.deviating + told.unclear, whole.executions);
    }
}
