//! Start, reachability and loops. Invariant: no recursion; a chain of a thousand steps needs no more stack
//! than one of two.

use super::Edge;
use super::apart::References;
use super::labels::{Labels, quoted};
use crate::definition::Definition;
use crate::kind::{Kind, Settings};
use crate::problem::Problem;

pub(super) struct View<'a> {
    pub(super) definition: &'a Definition,
    pub(super) labels: &'a Labels,
    pub(super) outgoing: &'a [Vec<Edge>],
    pub(super) references: &'a [References],
    /// Steps that are no part of the flow.
    pub(super) apart: &'a [bool],
}

impl View<'_> {
    /// The step it starts with; several, and a problem, if that is ambiguous.
    pub(super) fn start(&self, problems: &mut Vec<Problem>) -> Vec<usize> {
        let mut is_target = vec![false; self.outgoing.len()];
        for (from, edges) in self.outgoing.iter().enumerate() {
            // A step that repeats itself may still be the first.
            for edge in edges.iter().filter(|edge| edge.to != from) {
                is_target[edge.to] = true;
            }
        }
        let by_order = self.definition.transitions.is_empty();
        let all = (0..is_target.len()).filter(|at| !self.apart[*at]);
        let mut candidates: Vec<usize> = all
            .clone()
            .filter(|at| by_order || !is_target[*at])
            .collect();
        if candidates.is_empty() {
            candidates = all.collect();
        }
        candidates.sort_by_key(|at| self.order(*at));
        let ties = candidates.chunk_by(|a, b| self.order(*a) == self.order(*b));
        let mut ties = ties.map(<[usize]>::to_vec);
        let first = ties.next().unwrap_or_default();
        self.check_tie(&first, "START_AMBIGUOUS", problems);
        if by_order {
            ties.for_each(|tie| self.check_tie(&tie, "ORDER_AMBIGUOUS", problems));
        }
        first
    }

    fn check_tie(&self, tie: &[usize], code: &'static str, problems: &mut Vec<Problem>) {
        let [first, second, ..] = *tie else {
            return;
        };
        let names: Vec<String> = tie.iter().take(5).map(|at| self.name(*at)).collect();
        problems.push(Problem::error(
            format!("{}.order", self.labels.step(second)),
            code,
            format!(
                "which step comes first? The order is {} for each of {}; give them different orders, or \
                 transitions",
                self.order(first),
                names.join(", ")
            ),
        ));
    }

    pub(super) fn check_reachable(&self, start: &[usize], problems: &mut Vec<Problem>) {
        let mut reached = vec![false; self.outgoing.len()];
        let apart = (0..self.apart.len()).filter(|at| self.apart[*at]);
        let mut open: Vec<usize> = start.iter().copied().chain(apart).collect();
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut reached[at], true) {
                open.extend(self.outgoing[at].iter().map(|edge| edge.to));
            }
        }
        let start: Vec<String> = start.iter().take(5).map(|at| self.name(*at)).collect();
        for (at, _) in reached.iter().enumerate().filter(|(_, reached)| !**reached) {
            problems.push(Problem::error(
                self.labels.step(at),
                "UNREACHABLE_STEP",
                format!(
                    "no way leads here from the start, {}: add a transition to it, or remove it",
                    start.join(", ")
                ),
            ));
        }
    }

    /// Finds loops that nothing ever holds up, and those that only an instant does.
    pub(super) fn check_loops(&self, settings: &[Option<Settings>], problems: &mut Vec<Problem>) {
        let spin = |waits: &dyn Fn(&Kind) -> bool| -> Vec<bool> {
            let kind = |at: usize| settings[at].as_ref().map(|settings| &settings.kind);
            // For each item the step waits as what it does for it.
            let does = |at: usize| self.references[at].each.unwrap_or(at);
            let spins = |at: usize| {
                let Some(own) = kind(at) else {
                    return false;
                };
                !(waits(own) && kind(does(at)).is_none_or(waits))
            };
            (0..settings.len()).map(spins).collect()
        };
        let mut told = Vec::new();
        let mut spins = spin(&Kind::waits);
        while let Some(found) = self.find_loop(&mut spins) {
            let message = format!(
                "the loop {} would never rest: put a wait, an approval, a data_entry or a job into it",
                self.names(&found)
            );
            let path = self.labels.step(found[0]);
            problems.push(Problem::error(path, "BUSY_LOOP", message));
            found.iter().for_each(|at| spins[*at] = false);
            told.extend(found);
        }
        let mut spins = spin(&Kind::waits_each_time);
        told.iter().for_each(|at| spins[*at] = false);
        while let Some(found) = self.find_loop(&mut spins) {
            let message = format!(
                "the loop {} rests only until an instant: once that has passed, or if it is not there, it goes \
                 round until the limit on activations fails the execution; put a wait for a duration into it",
                self.names(&found)
            );
            let path = self.labels.step(found[0]);
            problems.push(Problem::warning(path, "LOOP_MAY_SPIN", message));
            found.iter().for_each(|at| spins[*at] = false);
        }
    }

    /// A loop as one would walk it: `"A" -> "B" -> "A"`.
    fn names(&self, found: &[usize]) -> String {
        let all = found.iter().chain(found.first());
        let names: Vec<String> = all.map(|at| self.name(*at)).collect();
        names.join(" -> ")
    }

    /// A loop among the steps that `spins` marks; unmarks those that cannot be on any.
    fn find_loop(&self, spins: &mut [bool]) -> Option<Vec<usize>> {
        let next = |spins: &[bool], at: usize| {
            let mut targets = self.outgoing[at].iter().map(|edge| edge.to);
            targets.find(|to| spins[*to])
        };
        // Whatever has no way on is on no loop; then neither is what only led there.
        loop {
            let dead: Vec<usize> = (0..spins.len())
                .filter(|at| spins[*at] && next(spins, *at).is_none())
                .collect();
            if dead.is_empty() {
                break;
            }
            for at in dead {
                spins[at] = false;
            }
        }
        // Every marked step now has a marked successor, so a walk must come back to where it was.
        let mut walk = vec![spins.iter().position(|spins| *spins)?];
        loop {
            let to = next(spins, *walk.last()?)?;
            if let Some(at) = walk.iter().position(|seen| *seen == to) {
                return Some(walk.split_off(at));
            }
            walk.push(to);
        }
    }

    fn order(&self, at: usize) -> i32 {
        self.definition.steps[at].order
    }

    fn name(&self, at: usize) -> String {
        quoted(&self.definition.steps[at].name)
    }
}
