//! Times of many, summed up.
//! Invariant: additions of integers, so order cannot matter.

use crate::projection::sketch::Sketch;

/// How often, how long in all (microseconds), and how it is spread.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Times {
    pub count: u64,
    pub sum: u128,
    pub spread: Sketch,
}

impl Times {
    pub fn add(&mut self, micros: u64) {
        self.count += 1;
        self.sum += u128::from(micros);
        self.spread.add(micros);
    }

    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.spread.merge(&other.spread);
    }
}
