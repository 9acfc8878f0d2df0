//! The rows of an answer as their sums come in. Invariant: figures are only added up here; whoever shows a row derives
//! from its sum.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::{Dimension, Key, Question, aligned};
use crate::projection::figures::{Figures, Grain};
use crate::store::figures::Sum;

pub const MOST_ROWS: usize = 10_000;

/// There would be more than [`MOST_ROWS`].
#[derive(Debug, PartialEq, Eq)]
pub struct TooMany;

/// One sum of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    pub figures: Figures,
    /// The step that a transition leaves.
    pub from_step_id: Option<Uuid>,
    /// All transitions taken from that step, of the row's other keys.
    pub leaving: u64,
}

/// What is asked for, and what it is compared with.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Row {
    pub own: Option<Cell>,
    pub other: Option<Cell>,
}

#[derive(Debug)]
pub struct Table<'a> {
    question: &'a Question,
    rows: BTreeMap<Vec<Key>, Row>,
}

impl<'a> Table<'a> {
    pub fn new(question: &'a Question) -> Self {
        let mut rows = BTreeMap::new();
        if question.group_by.is_empty() {
            // All of nothing is something to tell.
            let nothing = || Some(Cell::default());
            let row = Row {
                own: nothing(),
                other: question.other.as_ref().and_then(|_| nothing()),
            };
            rows.insert(Vec::new(), row);
        }
        Self { question, rows }
    }

    pub fn add(&mut self, sum: &Sum) -> Result<(), TooMany> {
        let row = self.row(self.question.keys(sum))?;
        row.own.get_or_insert_default().add(sum);
        Ok(())
    }

    /// Adds a sum of the side that is compared with: its row is the one of the same place in time.
    pub fn add_other(&mut self, sum: &Sum) -> Result<(), TooMany> {
        let mut keys = self.question.keys(sum);
        if let (Some((at, period)), Some(other)) = (self.question.period(), &self.question.other)
            && let Key::Day(day) = keys[at]
        {
            keys[at] = Key::Day(aligned(period, day, other.first, self.question.side.first));
        }
        self.row(keys)?.other.get_or_insert_default().add(sum);
        Ok(())
    }

    /// In the order of their keys.
    pub fn finish(mut self) -> BTreeMap<Vec<Key>, Row> {
        if self.question.grain() == Grain::Transition {
            self.tell_shares(|row| row.own.as_mut());
            self.tell_shares(|row| row.other.as_mut());
        }
        self.rows
    }

    fn row(&mut self, keys: Vec<Key>) -> Result<&mut Row, TooMany> {
        if self.rows.len() >= MOST_ROWS && !self.rows.contains_key(&keys) {
            return Err(TooMany);
        }
        Ok(self.rows.entry(keys).or_default())
    }

    fn tell_shares(&mut self, side: fn(&mut Row) -> Option<&mut Cell>) {
        let dimensions = self.question.group_by.as_slice();
        let beside = |keys: &[Key]| -> Vec<Key> {
            let others = keys.iter().zip(dimensions);
            let others = others.filter(|(_, own)| **own != Dimension::Transition);
            others.map(|(key, _)| key.clone()).collect()
        };
        let mut leaving: HashMap<(Vec<Key>, Option<Uuid>), u64> = HashMap::new();
        for (keys, row) in &mut self.rows {
            if let Some(cell) = side(row) {
                let place = (beside(keys), cell.from_step_id);
                *leaving.entry(place).or_default() += cell.figures.total;
            }
        }
        for (keys, row) in &mut self.rows {
            if let Some(cell) = side(row) {
                cell.leaving = leaving[&(beside(keys), cell.from_step_id)];
            }
        }
    }
}

impl Cell {
    fn add(&mut self, sum: &Sum) {
        // The versions of a workflow may differ: the least one, whichever comes first.
        let steps = [self.from_step_id, sum.label.from_step_id];
        self.from_step_id = steps.into_iter().flatten().min();
        self.figures.merge(&sum.figures);
    }
}

#[cfg(test)]
mod tests;
