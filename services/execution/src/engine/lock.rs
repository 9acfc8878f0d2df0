//! Critical sections across executions. Invariant: a step with a lock is under way only while the lock is its
//! own; who that is the database decides, and the engine is told.

use model::instant::later;
use model::kind::Lock;
use model::scope::Path;
use model::status::StepStatus;
use serde_json::Value;

use super::settle::Outcome;
use super::state::{Branch, Failure, Hold};
use super::{Refusal, Step};

impl Step<'_> {
    /// A branch comes to a step with a lock that is not its own yet.
    pub(super) fn wait_for_lock(&mut self, mut branch: Branch, lock: &Lock) {
        let key = match &lock.key {
            None => lock.name.clone(),
            Some(path) => match self.key(&branch, path) {
                Ok(key) => format!("{}/{key}", lock.name),
                Err(message) => {
                    let failure = Failure::new("LOCK_UNDEFINED", format!("lock.key: {message}"));
                    return self.settle(branch, Outcome::Thrown(failure));
                }
            },
        };
        branch.lock = Some(key);
        branch.hold = Hold::Lock {
            due_at: lock.timeout.map(|limit| later(self.now, limit)),
        };
        self.execution.branches.push(branch);
    }

    /// The text or number at a path, as the name of something.
    pub(super) fn key(&self, branch: &Branch, path: &Path) -> Result<String, String> {
        let item = branch.item.as_ref();
        let found = self.with_scope(&Value::Null, item, |scope| path.resolve(scope).cloned());
        let text = match found {
            Some(Value::String(text)) => text,
            Some(Value::Number(number)) => number.to_string(),
            Some(_) => return Err("neither a text nor a number".to_owned()),
            None => return Err("there is no such field".to_owned()),
        };
        match text.chars().count() {
            1..=200 => Ok(text),
            count => Err(format!("has {count} characters; 1 to 200 are possible")),
        }
    }

    /// A branch's waiting for its lock is over: the step begins.
    pub(super) fn grant(&mut self, seq: i32) -> Result<(), Refusal> {
        let now = self.now;
        let branch = self.branch(seq)?;
        if !matches!(branch.hold, Hold::Lock { .. }) {
            return Err(Refusal::BranchGone);
        }
        branch.hold = Hold::Runnable;
        branch.times.available_at = now;
        branch.times.started_at = now;
        // From now on it could be worked on: reports count what comes before as waiting.
        self.show(seq, StepStatus::Pending)
    }
}
