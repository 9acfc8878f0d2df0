//! What was done again.
//! Invariant: a step is reworked from its second activation in one execution on; what is done for each item of a
//! list is not.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::MOST_MOVES;
use super::case::{Case, Move};
use super::map::Map;

/// A step that was done more than once.
#[derive(Debug, Default, PartialEq)]
pub struct Rework {
    pub executions: u64,
    /// Activations after the first one.
    pub extra: u64,
    /// Microseconds that those took.
    pub extra_time: u128,
}

/// How often, and in how many executions.
#[derive(Debug, Default, PartialEq)]
pub struct Seen {
    pub count: u64,
    pub executions: u64,
}

/// Steps, and moves back.
pub type Told = (Vec<(Uuid, Rework)>, Vec<(Move, Seen)>);

#[derive(Debug, Default)]
pub struct Loops {
    steps: HashMap<Uuid, Rework>,
    back: HashMap<Move, Seen>,
}

impl Loops {
    pub fn add(&mut self, case: &Case, map: Option<&Map>, moves: &[(usize, Move)]) {
        // Whether more of it than the first was done here.
        let mut again: HashMap<Uuid, bool> = HashMap::new();
        for own in &case.activations {
            let Some(is_known) = again.get_mut(&own.step) else {
                again.insert(own.step, false);
                continue;
            };
            if !own.is_taken_over && !map.is_some_and(|map| map.is_apart(own.step)) {
                let rework = self.steps.entry(own.step).or_default();
                rework.executions += u64::from(!std::mem::replace(is_known, true));
                rework.extra += 1;
                rework.extra_time += u128::from(own.time());
            }
        }
        let mut before = HashSet::new();
        let (mut at, mut told) = (0, HashSet::new());
        for (left, (from, to)) in moves {
            while at <= *left {
                before.insert(case.activations[at].step);
                at += 1;
            }
            let is_known = self.back.contains_key(&(*from, *to));
            if before.contains(to) && (is_known || self.back.len() < MOST_MOVES) {
                let seen = self.back.entry((*from, *to)).or_default();
                seen.count += 1;
                seen.executions += u64::from(told.insert((*from, *to)));
            }
        }
    }

    /// Steps of most executions first, and moves that were made most often first.
    pub fn finish(self) -> Told {
        let mut steps = Vec::from_iter(self.steps);
        steps.sort_unstable_by(|(a, left), (b, right)| {
            let (left, right) = (
                (left.executions, left.extra),
                (right.executions, right.extra),
            );
            right.cmp(&left).then(a.cmp(b))
        });
        let mut back = Vec::from_iter(self.back);
        back.sort_unstable_by(|(a, left), (b, right)| right.count.cmp(&left.count).then(a.cmp(b)));
        (steps, back)
    }
}
