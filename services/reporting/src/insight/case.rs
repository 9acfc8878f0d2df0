//! One execution, read from its events.
//! Invariant: an activation is there once it has ended, with all its attempts; no time is negative.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use model::event::{Event, ExecutionEvents, StepFinished};
use model::status::{ExecutionStatus, StepStatus};
use uuid::Uuid;

use super::map::Map;
use crate::projection::execution::micros_between;
use crate::projection::phase::{Phase, Phases};

/// An execution as far as it has come.
#[derive(Debug)]
pub struct Case {
    pub version: i32,
    pub started_at: DateTime<Utc>,
    /// How it ended, and how many microseconds after its start.
    pub end: Option<(ExecutionStatus, u64)>,
    /// In the order in which they ended.
    pub activations: Vec<Activation>,
}

/// An arrival at a step that has ended. Times are microseconds.
#[derive(Debug)]
pub struct Activation {
    pub step: Uuid,
    /// When its first attempt became visible.
    pub began: DateTime<Utc>,
    pub ended: DateTime<Utc>,
    /// Until a worker or a person began, all attempts together.
    pub waiting: u64,
    pub back_off: u64,
    pub retries: u64,
    /// Nothing was done, and nothing follows: its branch was given up.
    pub is_withdrawn: bool,
    /// The execution that this one was restarted from did it.
    pub is_taken_over: bool,
    pub taken: Vec<Uuid>,
}

impl Activation {
    pub fn time(&self) -> u64 {
        micros_between(self.began, self.ended)
    }
}

/// From one step to another.
pub type Move = (Uuid, Uuid);

impl Case {
    /// Reads a whole history.
    pub fn of(events: &ExecutionEvents) -> Self {
        let mut open: HashMap<(Uuid, i32), Activation> = HashMap::new();
        let mut case = Self {
            version: events.workflow_version,
            started_at: events.started_at,
            end: None,
            activations: Vec::new(),
        };
        for event in &events.events {
            match event {
                Event::Started => {}
                Event::StepFinished(attempt) => {
                    let key = (attempt.step_id, attempt.activation);
                    let mut own = open.remove(&key).unwrap_or_else(|| begun(attempt));
                    own.add(attempt);
                    if attempt.will_retry {
                        open.insert(key, own);
                    } else {
                        case.activations.push(own);
                    }
                }
                Event::Finished {
                    status,
                    completed_at,
                    ..
                } => case.end = Some((*status, micros_between(events.started_at, *completed_at))),
            }
        }
        case
    }

    /// What was not given up, in the order in which they ended.
    pub fn done(&self) -> impl Iterator<Item = &Activation> {
        self.activations.iter().filter(|own| !own.is_withdrawn)
    }

    /// The moves from step to step, each with the place of the activation that it left; None if they cannot be told.
    /// Of an execution that did one step after another they are its steps, each to the next one; of others, the
    /// transitions that were taken.
    pub fn moves(&self, map: Option<&Map>) -> Option<Vec<(usize, Move)>> {
        let way: Vec<(usize, &Activation)> = (self.activations.iter().enumerate())
            .filter(|(_, own)| !map.is_some_and(|map| map.is_apart(own.step)))
            .collect();
        let follows = |pair: &[(usize, &Activation)]| pair[1].1.began >= pair[0].1.ended;
        let is_single = way.iter().all(|(_, own)| own.taken.len() <= 1);
        if is_single && way.windows(2).all(follows) {
            let moves = way
                .windows(2)
                .map(|pair| (pair[0].0, (pair[0].1.step, pair[1].1.step)));
            return Some(moves.collect());
        }
        let map = map?;
        let taken = way.iter().flat_map(|(at, own)| {
            let targets = own.taken.iter().filter_map(|way| map.target(*way));
            targets.map(|to| (*at, (own.step, to)))
        });
        Some(taken.collect())
    }
}

fn begun(attempt: &StepFinished) -> Activation {
    Activation {
        step: attempt.step_id,
        began: attempt.queued_at,
        ended: attempt.completed_at,
        waiting: 0,
        back_off: 0,
        retries: 0,
        is_withdrawn: false,
        is_taken_over: attempt.taken_over,
        taken: Vec::new(),
    }
}

impl Activation {
    fn add(&mut self, attempt: &StepFinished) {
        let phases = Phases::of(attempt);
        let micros = |phase| u64::try_from(phases.get(phase)).unwrap_or(u64::MAX);
        self.ended = attempt.completed_at;
        self.waiting += micros(Phase::Queued) + micros(Phase::Unassigned);
        self.back_off += micros(Phase::BackingOff);
        self.retries += u64::from(attempt.will_retry);
        self.taken.clone_from(&attempt.taken_transition_ids);
        // An optional step that failed tells why, and its transitions are taken.
        self.is_withdrawn = attempt.status == StepStatus::Skipped
            && attempt.error_code.is_none()
            && self.taken.is_empty();
    }
}
