//! Branches that are withdrawn while the execution goes on. Invariant: what a branch has begun for itself is
//! withdrawn with it, and nothing that people decide is decided for them.

use model::kind::Kind;
use model::status::StepStatus;

use super::foreach::Ended;
use super::settle::Outcome;
use super::state::Branch;
use super::{Actor, Refusal, Step};

/// How the log of a branch begins that an operator has withdrawn.
pub const LEFT: &str = "cancelled by";

impl Step<'_> {
    /// An operator withdraws one branch. With `goes_on` its step counts as skipped: what comes after it is next,
    /// as if it had been completed without output. Otherwise the branch ends.
    pub(super) fn leave(
        &mut self,
        seq: i32,
        actor: &Actor,
        reason: &str,
        goes_on: bool,
    ) -> Result<(), Refusal> {
        if let Some(closing) = &self.execution.memory.closing {
            return Err(Refusal::Closing(closing.status()));
        }
        let step = self.branch(seq)?.step;
        let node = &self.graph.nodes[step];
        if self.decides_for_people(seq, goes_on)? {
            return Err(Refusal::PeopleDecide);
        }
        let why = format!("{LEFT} {}: {reason}", actor.name());
        if goes_on && self.execution.memory.loops.contains_key(&seq) {
            // What has been done for its items is its result.
            self.finish_loop(seq);
            return Ok(());
        }
        let branch = self.take(seq)?;
        if goes_on && matches!(node.kind, Kind::Join(_)) {
            let outcome = Outcome::Done {
                output: serde_json::Map::new(),
                message: Some(why),
            };
            self.settle(branch, outcome);
        } else if goes_on {
            self.skip(&branch, |log| log.message = Some(why));
        } else {
            self.withdraw(&branch, why);
            self.forget(&branch);
        }
        Ok(())
    }

    /// Ends a branch as skipped; what comes after its step is next.
    pub(super) fn skip(&mut self, branch: &Branch, fill: impl FnOnce(&mut super::Log)) {
        self.leave_join(branch);
        self.leave_items(branch, false);
        let name = &self.graph.definition.steps[branch.step].name;
        let seen = serde_json::json!({ "name": name, "status": StepStatus::Skipped.as_str() });
        let on = self.route(branch.step, &seen, false);
        self.end(branch, StepStatus::Skipped, |log| {
            log.route = on.told;
            fill(log);
        });
        self.go_to(branch, on.to);
        self.forget(branch);
    }

    /// A step is completed that cancels others: whatever is under way at them is withdrawn.
    pub(super) fn cancel_region(&mut self, branch: &Branch) {
        let region = &self.graph.nodes[branch.step].cancels;
        if region.is_empty() {
            return;
        }
        let within = |other: &&Branch| region.contains(&other.step);
        let seqs: Vec<i32> = (self.execution.branches.iter().filter(within))
            .map(|b| b.seq)
            .collect();
        let name = self.graph.definition.steps[branch.step].name.clone();
        for seq in seqs {
            // One may have gone with another that it was begun for.
            if let Ok(other) = self.take(seq) {
                self.withdraw(&other, format!("withdrawn: {name:?} is completed"));
                self.forget(&other);
            }
        }
    }

    /// Tells the foreach of a branch that is over that there will be no result.
    fn forget(&mut self, branch: &Branch) {
        if let Some(item) = &branch.item {
            self.item_ended(item, Ended::Left);
        }
    }

    /// Ends a branch that has nothing to do any more.
    pub(super) fn withdraw(&mut self, branch: &Branch, why: String) {
        self.leave_items(branch, false);
        self.execution.memory.arrived.remove(&branch.seq);
        self.execution.memory.late.remove(&branch.seq);
        self.end(branch, StepStatus::Skipped, |log| log.message = Some(why));
    }

    /// Whether withdrawing a branch would let something go on that people have not decided: it must not, even
    /// though an operator could end it all.
    fn decides_for_people(&mut self, seq: i32, goes_on: bool) -> Result<bool, Refusal> {
        let branch = self.branch(seq)?.clone();
        let others = self
            .execution
            .branches
            .iter()
            .filter(|other| other.seq != seq);
        let mut awaited = others.filter(|other| self.graph.can_come(other.step, branch.step));
        let passes_over = awaited.any(|other| self.asks_people(other.step));
        let is_awaited = branch.item.is_some() || self.graph.leads_to_join(branch.step);
        Ok(match self.asks_people(branch.step) {
            true => goes_on || is_awaited,
            false => goes_on && passes_over,
        })
    }

    /// Whether people decide a step, or what it does for each item.
    pub(super) fn asks_people(&self, step: usize) -> bool {
        let is_theirs = |at: usize| {
            let kind = &self.graph.nodes[at].kind;
            matches!(kind, Kind::Approval(_) | Kind::DataEntry(_))
        };
        is_theirs(step) || self.graph.nodes[step].each.is_some_and(is_theirs)
    }
}
