//! The ways that executions went.
//! Invariant: however many different ways there are, so many are kept, and the others are summed.

use std::collections::{HashMap, HashSet};

use model::status::ExecutionStatus;
use uuid::Uuid;

use super::case::Case;
use super::times::Times;

/// Steps that a way is told with.
const MOST_STEPS: usize = 200;
/// Different ways that are kept: at 200 steps each, 64 MB.
const MOST_WAYS: usize = 20_000;
/// Steps that are looked for as one repeated whole.
const LONGEST_LOOP: usize = 32;
/// Ways of each kind, the most frequent and the slowest, that are told.
const MOST_TOLD: usize = 25;

/// A way, loops collapsed.
pub type Way = Vec<Part>;

/// Steps one after another, once or several times.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    pub steps: Vec<Uuid>,
    pub repeated: bool,
}

/// Executions that went one way, or several.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Went {
    pub times: Times,
    pub completed: u64,
}

#[derive(Debug, Default)]
pub struct Variants {
    ways: HashMap<Way, Went>,
    beyond: Went,
}

/// What is told of the ways.
#[derive(Debug, PartialEq)]
pub struct Told {
    /// Most frequent first.
    pub ways: Vec<(Way, Went)>,
    pub others: Went,
    /// How many different ways the others are, at least.
    pub other_ways: u64,
}

impl Variants {
    /// Counts an execution that is over.
    pub fn add(&mut self, case: &Case) {
        let Some((status, micros)) = case.end else {
            return;
        };
        let steps: Vec<Uuid> = case.done().map(|own| own.step).collect();
        let way = collapse(&steps);
        let length: usize = way.iter().map(|part| part.steps.len()).sum();
        let has_room = length <= MOST_STEPS && self.ways.len() < MOST_WAYS;
        let went = match self.ways.get_mut(&way) {
            Some(went) => went,
            None if has_room => self.ways.entry(way).or_default(),
            None => &mut self.beyond,
        };
        went.times.add(micros);
        went.completed += u64::from(status == ExecutionStatus::Completed);
    }

    pub fn finish(self) -> Told {
        let mut ways = Vec::from_iter(self.ways);
        ways.sort_unstable_by(|(a, left), (b, right)| {
            (right.times.count.cmp(&left.times.count)).then_with(|| a.cmp(b))
        });
        let mut slowest: Vec<usize> = (MOST_TOLD.min(ways.len())..ways.len()).collect();
        // Means are compared as fractions: no rounding.
        slowest.sort_by(|&a, &b| {
            let (a, b) = (&ways[a].1.times, &ways[b].1.times);
            (b.sum * u128::from(a.count)).cmp(&(a.sum * u128::from(b.count)))
        });
        let slowest: HashSet<usize> = slowest.into_iter().take(MOST_TOLD).collect();
        let (mut told, mut others) = (Vec::new(), self.beyond);
        let mut other_ways = u64::from(others.times.count > 0);
        for (at, (way, went)) in ways.into_iter().enumerate() {
            if at < MOST_TOLD || slowest.contains(&at) {
                told.push((way, went));
            } else {
                others.merge(&went);
                other_ways += 1;
            }
        }
        Told {
            ways: told,
            others,
            other_ways,
        }
    }
}

impl Went {
    pub fn merge(&mut self, other: &Self) {
        self.times.merge(&other.times);
        self.completed += other.completed;
    }
}

/// Writes what is repeated directly after itself once, the shortest whole first, from the front.
fn collapse(steps: &[Uuid]) -> Way {
    let mut way = Way::new();
    let mut at = 0;
    while at < steps.len() {
        let left = &steps[at..];
        let longest = LONGEST_LOOP.min(left.len() / 2);
        let period = (1..=longest).find(|period| left[..*period] == left[*period..2 * period]);
        match (period, way.last_mut()) {
            (Some(period), _) => {
                let rounds = left.chunks_exact(period);
                let rounds = rounds.take_while(|round| *round == &left[..period]).count();
                way.push(Part {
                    steps: left[..period].to_vec(),
                    repeated: true,
                });
                at += period * rounds;
            }
            (None, Some(part)) if !part.repeated => {
                part.steps.push(left[0]);
                at += 1;
            }
            (None, _) => {
                way.push(Part {
                    steps: vec![left[0]],
                    repeated: false,
                });
                at += 1;
            }
        }
    }
    way
}
