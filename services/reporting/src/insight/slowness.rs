//! What distinguishes slow executions from the others.
//! Invariant: nothing is told of few: a difference between small numbers is chance.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use chrono::Datelike;
use model::status::ExecutionStatus;
use uuid::Uuid;

use super::case::{Case, Move};

/// Completed executions without which nothing is compared: five slow ones.
const FEWEST: usize = 50;
/// Executions of which a trait must be one.
const FEWEST_WITH: u64 = 5;
/// Millionths by which the shares must differ.
const LEAST: i128 = 50_000;
/// Different traits that are kept.
const MOST_TRAITS: usize = 50_000;
/// Traits of all different sets together: 40 MB.
const MOST_KEPT: usize = 10_000_000;

/// What may be said of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trait {
    Done(Uuid),
    Repeated(Uuid),
    Retried(Uuid),
    Move(Move),
    Version(i32),
    /// 1 is Monday.
    Weekday(u32),
}

/// A trait that slow executions have more often than others, or less often.
#[derive(Debug, PartialEq)]
pub struct Difference {
    pub of: Trait,
    pub slow: u64,
    pub others: u64,
}

/// The comparison.
#[derive(Debug, PartialEq)]
pub struct Told {
    pub slow: u64,
    pub others: u64,
    /// The duration of the fastest slow one, in microseconds.
    pub slow_from: u64,
    pub differences: Vec<Difference>,
}

/// Executions with their traits. Most executions share theirs with many others.
#[derive(Debug, Default)]
pub struct Slowness {
    traits: HashMap<Trait, u32>,
    sets: HashMap<Box<[u32]>, u32>,
    kept: usize,
    /// Duration and set of each completed execution.
    cases: Vec<(u64, u32)>,
}

impl Slowness {
    pub fn add(&mut self, case: &Case, moves: &[(usize, Move)]) {
        let Some((ExecutionStatus::Completed, micros)) = case.end else {
            return;
        };
        let own = traits(case, moves);
        let mut set = Vec::with_capacity(own.len());
        for one in own {
            let next = u32::try_from(self.traits.len()).expect("few traits");
            match self.traits.get(&one) {
                Some(number) => set.push(*number),
                None if self.traits.len() < MOST_TRAITS => {
                    self.traits.insert(one, next);
                    set.push(next);
                }
                None => {}
            }
        }
        let next = u32::try_from(self.sets.len()).expect("fewer than executions");
        let number = match self.sets.get(&set[..]) {
            Some(number) => *number,
            None if self.kept + set.len() <= MOST_KEPT => {
                self.kept += set.len();
                self.sets.insert(set.into(), next);
                next
            }
            // Not compared: what it has, there is no room for.
            None => return,
        };
        self.cases.push((micros, number));
    }

    /// None if there are too few, or if too many took equally long.
    pub fn finish(mut self) -> Option<Told> {
        let all = self.cases.len();
        if all < FEWEST {
            return None;
        }
        self.cases.sort_unstable_by_key(|case| Reverse(*case));
        let slow_from = self.cases[all / 10 - 1].0;
        let slow = self.cases.partition_point(|case| case.0 >= slow_from);
        if slow * 2 > all {
            return None;
        }
        let differences = self.differences(slow);
        Some(Told {
            slow: slow as u64,
            others: (all - slow) as u64,
            slow_from,
            differences,
        })
    }

    fn differences(&self, slow: usize) -> Vec<Difference> {
        let mut having = vec![[0_u64; 2]; self.traits.len()];
        let mut sets: Vec<&[u32]> = vec![&[]; self.sets.len()];
        for (set, number) in &self.sets {
            sets[*number as usize] = set;
        }
        for (at, (_, set)) in self.cases.iter().enumerate() {
            for one in sets[*set as usize] {
                having[*one as usize][usize::from(at >= slow)] += 1;
            }
        }
        let others = self.cases.len() - slow;
        // Millionths: differences are compared as they are told.
        let share = |count: u64, whole: usize| i128::from(count) * 1_000_000 / whole as i128;
        let mut ranked: Vec<(i128, Difference)> = (self.traits.iter())
            .filter_map(|(of, number)| {
                let [in_slow, in_others] = having[*number as usize];
                let by = (share(in_slow, slow) - share(in_others, others)).abs();
                let is_told = in_slow + in_others >= FEWEST_WITH && by >= LEAST;
                let difference = Difference {
                    of: *of,
                    slow: in_slow,
                    others: in_others,
                };
                is_told.then_some((by, difference))
            })
            .collect();
        ranked.sort_unstable_by_key(|(by, difference)| (Reverse(*by), difference.of));
        ranked.into_iter().map(|(_, own)| own).collect()
    }
}

/// Each trait once, in one order.
fn traits(case: &Case, moves: &[(usize, Move)]) -> BTreeSet<Trait> {
    let weekday = case.started_at.weekday().number_from_monday();
    let mut traits = BTreeSet::from([Trait::Version(case.version), Trait::Weekday(weekday)]);
    for own in case.done() {
        if !traits.insert(Trait::Done(own.step)) {
            traits.insert(Trait::Repeated(own.step));
        }
        if own.retries > 0 {
            traits.insert(Trait::Retried(own.step));
        }
    }
    traits.extend(moves.iter().map(|(_, own)| Trait::Move(*own)));
    traits
}
