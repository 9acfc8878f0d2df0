//! Made-up histories. Invariant: each is one that the engine could have told.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use model::event::{Cause, Event, ExecutionEvents, StepFinished};
use model::status::{ExecutionStatus, StepStatus};
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

const WORKFLOWS: u128 = 2;
const CLIENT: u128 = 900;

pub fn instant(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

/// Every workflow has its client, so that client and workflow totals differ from each other.
pub fn client_of(workflow_id: Uuid) -> Uuid {
    Uuid::from_u128(CLIENT + workflow_id.as_u128() % 2)
}

/// An attempt at a step: which step, how it ended, after how many microseconds, which way it went.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub step: u128,
    pub status: StepStatus,
    /// From one instant to the next: visible, free, taken, over. Not taken at all, if there is no third.
    pub micros: (i64, Option<i64>, i64),
    pub will_retry: bool,
    pub taken: Vec<u128>,
    pub took_default: bool,
}

impl Attempt {
    /// Completed at once when it became visible, in this time.
    pub fn completed(step: u128, micros: i64) -> Self {
        Self {
            step,
            status: StepStatus::Completed,
            micros: (0, None, micros),
            will_retry: false,
            taken: vec![100],
            took_default: false,
        }
    }
}

pub fn attempts() -> impl Strategy<Value = Vec<Attempt>> {
    let status = select(vec![
        StepStatus::Completed,
        StepStatus::Failed,
        StepStatus::Skipped,
    ]);
    let micros = || prop_oneof![Just(0), 1..100_i64, 1_000..90_000_000_000_i64];
    let micros = (micros(), prop::option::of(micros()), micros());
    let taken = prop::collection::vec(0..3_u128, 0..3);
    let one = (10..16_u128, status, micros, any::<bool>(), taken);
    let one = one.prop_map(|(step, status, micros, retried, taken)| {
        let will_retry = retried && status == StepStatus::Failed;
        // A transition leaves one step only.
        let taken = taken.into_iter().map(|way| step * 10 + way).collect();
        let taken: Vec<u128> = if will_retry { Vec::new() } else { taken };
        Attempt {
            step,
            status,
            micros,
            will_retry,
            took_default: taken.len() == 1,
            taken,
        }
    });
    prop::collection::vec(one, 0..9)
}

/// What a step is, by its id.
fn kind(step: u128) -> (Cause, Option<String>, Option<Duration>) {
    let target = Some(Duration::from_secs(3600));
    match step {
        10 => (Cause::Engine, None, None),
        11 => (Cause::Job, None, target),
        12 => (Cause::Person, Some("Accounting".to_owned()), target),
        13 => (Cause::Person, None, None),
        14 => (Cause::Timer, None, None),
        _ => (Cause::Join, None, target),
    }
}

/// The attempts as events that follow each other. An attempt after one that is retried belongs to the same
/// activation; the third one of an activation and those after it are incidents.
fn finished(started_at: DateTime<Utc>, attempts: &[Attempt]) -> Vec<StepFinished> {
    let mut last: HashMap<u128, (i32, i32, bool)> = HashMap::new();
    let mut events = Vec::new();
    for own in attempts {
        let (activation, attempt) = match last.get(&own.step) {
            Some((activation, attempt, true)) => (*activation, attempt + 1),
            Some((activation, _, false)) => (activation + 1, 1),
            None => (1, 1),
        };
        last.insert(own.step, (activation, attempt, own.will_retry));
        let (cause, group, target) = kind(own.step);
        let after = |at: DateTime<Utc>, micros: i64| at + TimeDelta::microseconds(micros);
        let (free, taken, over) = own.micros;
        let queued_at = after(started_at, i64::from(activation) * 1_000_000);
        let available_at = after(queued_at, free);
        let assigned_at = taken.map(|micros| after(available_at, micros));
        events.push(StepFinished {
            step_id: Uuid::from_u128(own.step),
            status: own.status,
            activation,
            attempt,
            queued_at,
            available_at,
            locked: attempt == 1,
            assigned_at,
            completed_at: after(assigned_at.unwrap_or(available_at), over),
            error_code: None,
            taken_transition_ids: own.taken.iter().copied().map(Uuid::from_u128).collect(),
            took_default: own.took_default,
            will_retry: own.will_retry,
            cause: if attempt > 2 { Cause::Incident } else { cause },
            group,
            target,
            taken_over: own.step == 15 && own.status == StepStatus::Completed && own.micros.2 == 0,
        });
    }
    events
}

/// Some executions, each with all of its events, of days around the end of ISO week 2020-W53.
pub fn histories() -> impl Strategy<Value = Vec<ExecutionEvents>> {
    let end = select(vec![
        None,
        Some(ExecutionStatus::Completed),
        Some(ExecutionStatus::Failed),
        Some(ExecutionStatus::Cancelled),
    ]);
    let hours = 0..24 * 80_i64;
    let micros = prop_oneof![Just(0), 1..1_000_000_i64, 1_000_000..10_000_000_000_000_i64];
    let one = (0..WORKFLOWS, hours, attempts(), end, micros);
    prop::collection::vec(one, 1..8).prop_map(|all| {
        let number = |at: usize| 1000 + at as u128;
        all.into_iter()
            .enumerate()
            .map(|(at, (workflow, hours, attempts, status, micros))| {
                let started_at = instant("2020-12-01T00:00:00Z") + TimeDelta::hours(hours);
                let end = status.map(|status| (status, micros));
                history(number(at), workflow, started_at, &attempts, end)
            })
            .collect()
    })
}

/// All events of one execution.
pub fn history(
    execution: u128,
    workflow: u128,
    started_at: DateTime<Utc>,
    attempts: &[Attempt],
    end: Option<(ExecutionStatus, i64)>,
) -> ExecutionEvents {
    let steps = finished(started_at, attempts);
    let steps = steps.into_iter().map(Event::StepFinished);
    let end = end.map(|(status, micros)| Event::Finished {
        status,
        completed_at: started_at + TimeDelta::microseconds(micros),
        target: (workflow == 0).then_some(Duration::from_secs(60)),
    });
    let workflow_id = Uuid::from_u128(500 + workflow);
    ExecutionEvents {
        execution_id: Uuid::from_u128(execution),
        workflow_id,
        client_id: client_of(workflow_id),
        workflow_version: if execution.is_multiple_of(3) { 2 } else { 1 },
        started_at,
        first_seq: 1,
        events: [Event::Started]
            .into_iter()
            .chain(steps)
            .chain(end)
            .collect(),
    }
}

/// One completed execution with one completed step, as a batch of them needs.
pub fn simple(execution: u128, micros: i64) -> ExecutionEvents {
    let attempt = Attempt::completed(10, micros);
    let started_at = instant("2021-01-03T12:00:00Z");
    history(
        execution,
        0,
        started_at,
        &[attempt],
        Some((ExecutionStatus::Completed, micros)),
    )
}

/// Three executions of one workflow and one of another, around the turn of a year.
pub fn some() -> Vec<ExecutionEvents> {
    let completed = |micros| Some((ExecutionStatus::Completed, micros));
    let failed = Some((ExecutionStatus::Failed, 1));
    vec![
        history(
            1,
            0,
            instant("2020-12-31T23:59:59.999999Z"),
            &[],
            completed(10_000),
        ),
        history(
            2,
            0,
            instant("2021-01-01T00:00:00Z"),
            &[],
            completed(20_000),
        ),
        history(3, 0, instant("2021-01-03T08:00:00Z"), &[], failed),
        history(4, 1, instant("2021-01-03T09:00:00Z"), &[], None),
    ]
}

/// The events `from..to` of a history, counted from 0.
pub fn part(history: &ExecutionEvents, from: usize, to: usize) -> ExecutionEvents {
    ExecutionEvents {
        first_seq: 1 + i32::try_from(from).expect("short"),
        events: history.events[from..to].to_vec(),
        ..history.clone()
    }
}

/// The histories in overlapping pieces, some of them several times, in any order.
pub fn deliveries() -> impl Strategy<Value = (Vec<ExecutionEvents>, Vec<ExecutionEvents>)> {
    histories().prop_flat_map(|histories| {
        let cuts = prop::collection::vec(
            (any::<prop::sample::Index>(), 0..9_usize, 1..9_usize),
            0..12,
        );
        (Just(histories), cuts).prop_flat_map(|(histories, cuts)| {
            let mut parts = Vec::new();
            for (which, from, count) in cuts {
                let history = which.get(&histories);
                let from = from.min(history.events.len() - 1);
                parts.push(part(
                    history,
                    from,
                    (from + count).min(history.events.len()),
                ));
            }
            // Whatever the cuts left out comes in single events.
            for history in &histories {
                parts.extend((0..history.events.len()).map(|at| part(history, at, at + 1)));
            }
            (Just(histories), Just(parts).prop_shuffle())
        })
    })
}

/// The first attempt at a step's first activation, done at once.
pub fn attempt_at(step_id: Uuid, at: DateTime<Utc>) -> StepFinished {
    StepFinished {
        step_id,
        status: StepStatus::Completed,
        activation: 1,
        attempt: 1,
        queued_at: at,
        available_at: at,
        assigned_at: None,
        completed_at: at,
        error_code: None,
        taken_transition_ids: Vec::new(),
        took_default: false,
        locked: false,
        will_retry: false,
        cause: Cause::Engine,
        group: None,
        target: None,
        taken_over: false,
    }
}
