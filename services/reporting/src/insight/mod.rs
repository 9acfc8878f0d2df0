//! What the histories of a workflow's executions show: where time goes, which ways are gone, what is done again,
//! what slow executions have in common, and what the present version no longer has.
//! Invariant: pure, and a function of the set of histories, whatever their order, as long as no bound is reached;
//! memory is bounded whatever they are.

mod case;
mod conformance;
mod loops;
mod map;
mod slowness;
mod steps;
#[cfg(test)]
mod tests;
mod times;
mod variants;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use model::event::ExecutionEvents;
use uuid::Uuid;

use case::Case;
pub use case::Move;
use conformance::Conformance;
pub use conformance::Told as Conforming;
use loops::Loops;
pub use loops::{Rework, Seen};
pub use map::Map;
use slowness::Slowness;
pub use slowness::{Told as Slow, Trait};
pub use steps::StepTimes;
use steps::Steps;
pub use times::Times;
use variants::Variants;
pub use variants::{Told as Ways, Way, Went};

/// Different moves of which a count is kept.
const MOST_MOVES: usize = 20_000;
/// Versions whose maps are kept.
const MOST_VERSIONS: usize = 50;

/// Takes histories up, one execution after another.
#[derive(Debug, Default)]
pub struct Insight {
    /// The execution whose history may go on.
    open: Option<ExecutionEvents>,
    maps: HashMap<i32, Option<Map>>,
    executions: u64,
    finished: u64,
    span: Option<(DateTime<Utc>, DateTime<Utc>)>,
    steps: Steps,
    variants: Variants,
    loops: Loops,
    slowness: Slowness,
    conformance: Option<Conformance>,
}

/// Everything that was found.
#[derive(Debug)]
pub struct Findings {
    pub executions: u64,
    pub finished: u64,
    /// The first start and the last one.
    pub span: Option<(DateTime<Utc>, DateTime<Utc>)>,
    pub steps: Vec<(Uuid, StepTimes)>,
    pub ways: Ways,
    pub reworked: Vec<(Uuid, Rework)>,
    pub back: Vec<(Move, Seen)>,
    pub slow: Option<Slow>,
    pub conformance: Option<Conforming>,
}

impl Insight {
    /// `current` is the version that starts now, if it is known.
    pub fn new(current: Option<(i32, Map)>) -> Self {
        Self {
            conformance: current.map(|(version, map)| Conformance::with(version, map)),
            ..Self::default()
        }
    }

    /// Whether it makes sense to learn what this version has.
    pub fn asks_for(&self, version: i32) -> bool {
        let current = self.conformance.as_ref().map(|own| own.version);
        current != Some(version)
            && !self.maps.contains_key(&version)
            && self.maps.len() < MOST_VERSIONS
    }

    /// Says what a version has, before its executions are added; None if that cannot be known.
    pub fn learn(&mut self, version: i32, map: Option<Map>) {
        self.maps.insert(version, map);
    }

    /// Adds a whole history, or the next part of the one before.
    pub fn add(&mut self, events: ExecutionEvents) {
        match &mut self.open {
            Some(open) if open.execution_id == events.execution_id => {
                open.events.extend(events.events);
            }
            _ => {
                self.close();
                self.open = Some(events);
            }
        }
    }

    fn close(&mut self) {
        let Some(events) = self.open.take() else {
            return;
        };
        let case = Case::of(&events);
        self.executions += 1;
        self.finished += u64::from(case.end.is_some());
        let at = case.started_at;
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));

        let current = self.conformance.as_ref();
        let current = current.filter(|own| own.version == case.version);
        let map = match current {
            Some(own) => Some(own.map()),
            None => self.maps.get(&case.version).and_then(Option::as_ref),
        };
        let moves = case.moves(map);
        let told = moves.as_deref().unwrap_or_default();
        self.steps.add(&case);
        self.variants.add(&case);
        self.loops.add(&case, map, told);
        self.slowness.add(&case, told);
        if let Some(conformance) = &mut self.conformance {
            conformance.add(&case, moves.as_deref());
        }
    }

    pub fn finish(mut self) -> Findings {
        self.close();
        let (reworked, back) = self.loops.finish();
        Findings {
            executions: self.executions,
            finished: self.finished,
            span: self.span,
            steps: self.steps.finish(),
            ways: self.variants.finish(),
            reworked,
            back,
            slow: self.slowness.finish(),
            conformance: self.conformance.map(Conformance::finish),
        }
    }
}
