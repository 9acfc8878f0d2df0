//! Named messages from outside. Invariant: a signal is taken by one branch at most, and one that comes
//! before anybody waits for it is kept until it expires or the execution is over.

use chrono::{DateTime, Utc};
use model::instant::later;
use model::json;
use model::scope::Path;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::message::Message;
use super::settle::Outcome;
use super::state::{Branch, Failure, Hold};
use super::{Refusal, Step};

/// Signals that one execution keeps, and bytes of all their data.
pub const MOST_KEPT: usize = 100;
const MOST_KEPT_BYTES: usize = 256 * 1024;

/// A signal that nobody has taken yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signal {
    pub name: String,
    pub data: Map<String, Value>,
    /// Absent: with the execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

impl Step<'_> {
    /// Gives a signal to the branch that has waited longest for it, or keeps it.
    pub(super) fn signal(&mut self, signal: Signal) -> Result<(), Refusal> {
        let waits = |branch: &&Branch| matches!(&branch.hold, Hold::Signal { name, .. } if *name == signal.name);
        let waiting = self.execution.branches.iter().filter(waits);
        if let Some(seq) = waiting.map(|branch| branch.seq).min() {
            self.check_room(&signal.data)?;
            return self.deliver(seq, signal.data);
        }
        self.forget_expired();
        let kept = &mut self.execution.memory.signals;
        let bytes =
            |signal: &Signal| json::measure(&signal.data, json::INPUT).unwrap_or(MOST_KEPT_BYTES);
        let total = kept.iter().chain([&signal]).map(bytes).sum::<usize>();
        if kept.len() == MOST_KEPT || total > MOST_KEPT_BYTES {
            return Err(Refusal::TooManySignals);
        }
        kept.push(signal);
        Ok(())
    }

    /// Ends a branch's waiting with a signal.
    pub(super) fn deliver(&mut self, seq: i32, data: Map<String, Value>) -> Result<(), Refusal> {
        let Hold::Signal { name, .. } = &self.branch(seq)?.hold else {
            return Err(Refusal::BranchGone);
        };
        let message = Some(format!("received signal {name:?}"));
        let branch = self.take(seq)?;
        self.settle(
            branch,
            Outcome::Done {
                output: data,
                message,
            },
        );
        Ok(())
    }

    /// A branch comes to a `signal` step: what was kept for it ends its waiting at once.
    pub(super) fn wait_for_signal(&mut self, mut branch: Branch, name: &str, key: Option<&Path>) {
        let correlation = match key.map(|path| self.key(&branch, path)).transpose() {
            Ok(correlation) => correlation,
            Err(message) => {
                let failure =
                    Failure::new("CORRELATION_UNDEFINED", format!("correlation: {message}"));
                return self.settle(branch, Outcome::Failed(failure));
            }
        };
        self.forget_expired();
        let kept = &mut self.execution.memory.signals;
        let timeout = self.graph.nodes[branch.step].timeout;
        branch.hold = Hold::Signal {
            name: name.to_owned(),
            correlation,
            due_at: timeout.map(|limit| later(self.now, limit)),
        };
        let early = kept.iter().position(|signal| signal.name == name);
        let early = early.map(|at| kept.remove(at));
        let seq = branch.seq;
        self.execution.branches.push(branch);
        match early {
            Some(early) => {
                let delivered = self.deliver(seq, early.data);
                delivered.expect("it waits for this signal");
            }
            None if key.is_some() => self.change.messages.push(Message::Await { seq }),
            None => {}
        }
    }

    fn forget_expired(&mut self) {
        let now = self.now;
        let kept = &mut self.execution.memory.signals;
        kept.retain(|signal| signal.expires_at.is_none_or(|end| end > now));
    }
}
