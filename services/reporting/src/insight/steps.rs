//! Where time goes: what the activations of each step took.
//! Invariant: every activation that has ended counts once, in the execution that did it.

use std::collections::HashMap;

use uuid::Uuid;

use super::case::Case;
use super::times::Times;

/// All activations of one step.
#[derive(Debug, Default, PartialEq)]
pub struct StepTimes {
    /// From visible to ended.
    pub total: Times,
    /// Until somebody began.
    pub waiting: Times,
    /// Microseconds.
    pub back_off: u128,
}

#[derive(Debug, Default)]
pub struct Steps(HashMap<Uuid, StepTimes>);

impl Steps {
    pub fn add(&mut self, case: &Case) {
        for own in case.activations.iter().filter(|own| !own.is_taken_over) {
            let step = self.0.entry(own.step).or_default();
            step.total.add(own.time());
            step.waiting.add(own.waiting);
            step.back_off += u128::from(own.back_off);
        }
    }

    /// The greatest totals first.
    pub fn finish(self) -> Vec<(Uuid, StepTimes)> {
        let mut steps = Vec::from_iter(self.0);
        steps.sort_unstable_by(|(a, left), (b, right)| {
            (right.total.sum.cmp(&left.total.sum)).then(a.cmp(b))
        });
        steps
    }
}
