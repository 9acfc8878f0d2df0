//! Branches that become one again. Invariant: a join goes on exactly once for the branches that came to
//! it, and never waits for a branch that cannot come.

use model::instant::later;
use model::kind::{Join, Kind, Needed, Rest};
use serde_json::Map;

use super::Step;
use super::settle::Outcome;
use super::state::{Branch, Failure, Hold};

impl Step<'_> {
    pub(super) fn wants(&self, step: usize) -> Option<Join> {
        match &self.graph.nodes[step].kind {
            Kind::Join(join) => Some(*join),
            _ => None,
        }
    }

    /// A branch comes to a join where another one waits already, or comes too late: it ends here, without
    /// a log of its own. False if it is the first of its round.
    pub(super) fn merges(&mut self, join: usize, late: &[usize]) -> bool {
        if late.contains(&join) {
            return true;
        }
        if self.wants(join).is_none() {
            return false;
        }
        let mut branches = self.execution.branches.iter();
        let Some(first) = branches.find(|branch| branch.step == join) else {
            return false;
        };
        let memory = &mut self.execution.memory;
        *memory.arrived.entry(first.seq).or_insert(1) += 1;
        // What goes on from here goes on for both: it is late only where both are.
        if let Some(both) = memory.late.get_mut(&first.seq) {
            both.retain(|join| late.contains(join));
        }
        true
    }

    /// A branch begins to wait at a join.
    pub(super) fn wait_at_join(&mut self, mut branch: Branch) {
        let timeout = self.graph.nodes[branch.step].timeout;
        branch.hold = Hold::Join {
            due_at: timeout.map(|limit| later(self.now, limit)),
        };
        self.execution.branches.push(branch);
    }

    /// Lets one join go on, or fail, that has nothing more to wait for. False if there is none.
    pub(super) fn judge_joins(&mut self, drained: bool) -> bool {
        let branches = &self.execution.branches;
        if !branches.iter().any(is_waiting) {
            return false;
        }
        let mut waiting: Vec<&Branch> = branches.iter().filter(|b| is_waiting(b)).collect();
        waiting.sort_by_key(|branch| branch.seq);
        let enough = waiting.iter().find(|branch| self.has_enough(branch));
        let ready = match enough {
            Some(branch) => Some(branch.seq),
            // While branches are about to move, who can still come is not known.
            None if !drained => None,
            None => self.released(&waiting),
        };
        let Some(seq) = ready else {
            return false;
        };
        let branch = self.take(seq).expect("it was found among the branches");
        self.go_on(branch);
        true
    }

    fn has_enough(&self, branch: &Branch) -> bool {
        match self.wants(branch.step).map(|join| join.needed) {
            Some(Needed::Count(n)) => self.arrived(branch) >= n,
            _ => false,
        }
    }

    fn arrived(&self, branch: &Branch) -> u32 {
        let arrived = &self.execution.memory.arrived;
        arrived.get(&branch.seq).copied().unwrap_or(1)
    }

    /// The oldest join to which nobody else can come. If all that could come wait at joins themselves, for
    /// each other, the oldest of those that can go on.
    fn released(&self, waiting: &[&Branch]) -> Option<i32> {
        let blockers = |join: &Branch| -> Vec<&Branch> {
            let others = self.execution.branches.iter();
            others
                .filter(|other| other.seq != join.seq && self.can_come(other, join.step))
                .collect()
        };
        if let Some(free) = waiting.iter().find(|join| blockers(join).is_empty()) {
            return Some(free.seq);
        }
        // A join that waits for work, directly or for a join that does, is no part of a circle.
        let mut circle: Vec<&Branch> = waiting.to_vec();
        loop {
            let is_in =
                |circle: &[&Branch], branch: &Branch| circle.iter().any(|b| b.seq == branch.seq);
            let kept: Vec<&Branch> = (circle.iter().copied())
                .filter(|join| blockers(join).iter().all(|other| is_in(&circle, other)))
                .collect();
            if kept.len() == circle.len() {
                // One that has too few may get more from another that goes on.
                let whole = |join: &&&Branch| matches!(self.wants(join.step), Some(join) if join.needed == Needed::All);
                let first = kept.iter().find(whole).or(kept.first());
                return first.map(|join| join.seq);
            }
            circle = kept;
        }
    }

    fn can_come(&self, branch: &Branch, join: usize) -> bool {
        let late = self.execution.memory.late.get(&branch.seq);
        self.graph.can_come(branch.step, join) && late.is_none_or(|late| !late.contains(&join))
    }

    fn go_on(&mut self, branch: Branch) {
        let arrived = self.arrived(&branch);
        let wants = self.wants(branch.step).expect("only joins are judged");
        if let Needed::Count(n) = wants.needed
            && arrived < n
        {
            let message = format!("{arrived} of {n} branches came, and no other can");
            return self.settle(
                branch,
                Outcome::Failed(Failure::new("JOIN_UNSATISFIABLE", message)),
            );
        }
        let message = match arrived {
            1 => "one branch came".to_owned(),
            arrived => format!("{arrived} branches came"),
        };
        let outcome = Outcome::Done {
            output: Map::new(),
            message: Some(message),
        };
        self.settle(branch, outcome);
    }

    /// A join is left, whatever for: those of its round that have not come do not begin another one.
    pub(super) fn leave_join(&mut self, branch: &Branch) {
        let Some(wants) = self.wants(branch.step) else {
            return;
        };
        self.execution.memory.arrived.remove(&branch.seq);
        let rest: Vec<i32> = (self.execution.branches.iter())
            .filter(|other| self.can_come(other, branch.step))
            .map(|other| other.seq)
            .collect();
        let name = self.graph.definition.steps[branch.step].name.clone();
        for seq in rest {
            match wants.rest {
                Rest::Runs => {
                    let late = self.execution.memory.late.entry(seq).or_default();
                    late.push(branch.step);
                }
                Rest::IsCancelled => {
                    let other = self.take(seq).expect("it was found among the branches");
                    self.withdraw(&other, format!("withdrawn: the join {name:?} has gone on"));
                }
            }
        }
    }
}

fn is_waiting(branch: &Branch) -> bool {
    matches!(branch.hold, Hold::Join { .. })
}
