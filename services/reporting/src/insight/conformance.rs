//! How executions fit the version that starts now.
//! Invariant: every execution is conforming, deviating or unclear, one of the three.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::MOST_MOVES;
use super::case::{Case, Move};
use super::loops::Seen;
use super::map::Map;

#[derive(Debug)]
pub struct Conformance {
    pub version: i32,
    map: Map,
    conforming: u64,
    deviating: u64,
    unclear: u64,
    steps: HashMap<Uuid, Seen>,
    moves: HashMap<Move, Seen>,
}

/// What is told of it.
#[derive(Debug, PartialEq)]
pub struct Told {
    pub version: i32,
    pub conforming: u64,
    pub deviating: u64,
    /// Nothing deviates as far as can be seen, but the moves cannot be.
    pub unclear: u64,
    pub steps: Vec<(Uuid, Seen)>,
    pub moves: Vec<(Move, Seen)>,
}

impl Conformance {
    pub fn with(version: i32, map: Map) -> Self {
        Self {
            version,
            map,
            conforming: 0,
            deviating: 0,
            unclear: 0,
            steps: HashMap::new(),
            moves: HashMap::new(),
        }
    }

    pub fn map(&self) -> &Map {
        &self.map
    }

    pub fn add(&mut self, case: &Case, moves: Option<&[(usize, Move)]>) {
        let (mut steps, mut ways) = (HashSet::new(), HashSet::new());
        for own in case.done().filter(|own| !self.map.has_step(own.step)) {
            let seen = self.steps.entry(own.step).or_default();
            seen.count += 1;
            seen.executions += u64::from(steps.insert(own.step));
        }
        for (_, (from, to)) in moves.unwrap_or_default() {
            if !self.map.has_move(*from, *to) {
                let is_new = ways.insert((*from, *to));
                if self.moves.contains_key(&(*from, *to)) || self.moves.len() < MOST_MOVES {
                    let seen = self.moves.entry((*from, *to)).or_default();
                    seen.count += 1;
                    seen.executions += u64::from(is_new);
                }
            }
        }
        if !steps.is_empty() || !ways.is_empty() {
            self.deviating += 1;
        } else if moves.is_none() {
            self.unclear += 1;
        } else {
            self.conforming += 1;
        }
    }

    /// What most executions did comes first.
    pub fn finish(self) -> Told {
        Told {
            version: self.version,
            conforming: self.conforming,
            deviating: self.deviating,
            unclear: self.unclear,
            steps: ranked(self.steps),
            moves: ranked(self.moves),
        }
    }
}

fn ranked<K: Ord>(seen: HashMap<K, Seen>) -> Vec<(K, Seen)> {
    let mut ranked = Vec::from_iter(seen);
    ranked.sort_unstable_by(|(a, left), (b, right)| {
        let (left, right) = (
            (left.executions, left.count),
            (right.executions, right.count),
        );
        right.cmp(&left).then_with(|| a.cmp(b))
    });
    ranked
}
