//! Executions that a step starts. Invariant: with a branch that waits for an execution, however it ends, that
//! execution is over, or has been told to end.

use model::cel::Cel;
use model::instant::later;
use model::json::{self, Limit};
use model::kind::{Called, Kind};
use model::status::ExecutionStatus;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::message::Message;
use super::settle::Outcome;
use super::state::{Branch, Failure, Hold, Times};
use super::{Refusal, Step};

/// How many executions may have started each other, in a row, before one that may start none.
const MOST_DEEP: u32 = 8;
/// The input of an execution is kept in its metadata, which may be as large as an input and one level deeper.
const INPUT: Limit = Limit {
    bytes: json::INPUT.bytes - 32,
    depth: json::INPUT.depth - 1,
};

/// Who started an execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parent {
    pub execution_id: Uuid,
    /// Whether it waits for the end.
    pub waits: bool,
    /// How many are above.
    pub depth: u32,
}

/// What is to be started for a branch. The execution has the branch's id, so that there can be only one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    pub workflow_id: Uuid,
    pub input: Map<String, Value>,
    pub waits: bool,
    pub depth: u32,
}

/// How an execution ended, for who waits for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// With the output of the step that was done last, of those that have one.
    Completed(Map<String, Value>),
    Failed(Failure),
    Cancelled(Failure),
}

/// What a branch hears of the execution that it asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// It has started, and nobody waits for its end.
    Started,
    /// It may not start.
    Refused(Failure),
    Over(Ending),
}

impl Step<'_> {
    /// A branch asks for an execution.
    pub(super) fn call(&mut self, mut branch: Branch, called: &Called) {
        let call = match self.prepare(&branch, called) {
            Ok(call) => call,
            Err(failure) => return self.settle(branch, Outcome::Thrown(failure)),
        };
        let at = branch.times.available_at;
        let timeout = self.graph.nodes[branch.step].timeout;
        branch.hold = Hold::Child {
            due_at: timeout.map(|limit| later(at, limit)),
        };
        let seq = branch.seq;
        self.change.messages.push(Message::Start { seq, at, call });
        self.execution.branches.push(branch);
    }

    fn prepare(&self, branch: &Branch, called: &Called) -> Result<Call, Failure> {
        let parent = self.execution.memory.parent.as_ref();
        let depth = parent.map_or(0, |parent| parent.depth) + 1;
        if depth > MOST_DEEP {
            let message =
                format!("{MOST_DEEP} executions have started each other already, one the next");
            return Err(Failure::new("SUBWORKFLOW_TOO_DEEP", message));
        }
        let input = match &called.input {
            None => {
                let mut data = self.execution.context.data.clone();
                let item = branch.item.iter().flat_map(|item| item.fields.clone());
                data.extend(item);
                data
            }
            Some(input) => self
                .evaluate(branch, input, "input")
                .map_err(|message| Failure::new("EXPRESSION_FAILED", message))?,
        };
        if let Err(wrong) = json::check_object(&input, INPUT) {
            let message = format!("the input {wrong}");
            return Err(Failure::new("SUBWORKFLOW_INPUT_INVALID", message));
        }
        Ok(Call {
            workflow_id: called.workflow_id,
            input,
            waits: called.waits,
            depth,
        })
    }

    /// The values of expressions, one a key; or what is wrong with the first that has none.
    pub(super) fn evaluate(
        &self,
        branch: &Branch,
        expressions: &[(String, Cel)],
        setting: &str,
    ) -> Result<Map<String, Value>, String> {
        self.with_scope(&Value::Null, branch.item.as_ref(), |scope| {
            let values = expressions.iter().map(|(key, source)| {
                let value = source.evaluate(scope);
                value
                    .map(|value| (key.clone(), value))
                    .map_err(|error| format!("{setting}.{key}: {error}"))
            });
            values.collect()
        })
    }

    /// A branch hears of the execution that it asked for.
    pub(super) fn hear(&mut self, seq: i32, news: News) -> Result<(), Refusal> {
        if !matches!(self.branch(seq)?.hold, Hold::Child { .. }) {
            return Err(Refusal::BranchGone);
        }
        let mut branch = self.take(seq)?;
        // There is nothing left to call off.
        branch.hold = Hold::Runnable;
        let id = branch.id;
        let outcome = match news {
            News::Started => Outcome::Done {
                output: Map::from_iter([("executionId".to_owned(), json!(id))]),
                message: Some(format!("started execution {id}")),
            },
            News::Over(Ending::Completed(result)) => {
                let output = Map::from_iter([
                    ("executionId".to_owned(), json!(id)),
                    ("result".to_owned(), Value::Object(result)),
                ]);
                match json::measure(&output, json::INPUT) {
                    Ok(_) => Outcome::Done {
                        output,
                        message: Some(format!("execution {id} is COMPLETED")),
                    },
                    Err(wrong) => {
                        let message = format!("the result of execution {id} {wrong}");
                        Outcome::Thrown(Failure::new("RESULT_TOO_LARGE", message))
                    }
                }
            }
            News::Over(Ending::Failed(failure)) => Outcome::Failed(failure),
            News::Over(Ending::Cancelled(failure)) => {
                let message = format!("execution {id} was cancelled: {}", failure.message);
                Outcome::Thrown(Failure::new("SUBWORKFLOW_CANCELLED", message))
            }
            News::Refused(failure) => Outcome::Thrown(failure),
        };
        self.settle(branch, outcome);
        Ok(())
    }

    /// The next attempt asks for an execution of its own, from `available_at` on.
    pub(super) fn call_again(&mut self, branch: &Branch, times: Times) {
        let Kind::Subworkflow(called) = &self.graph.nodes[branch.step].kind else {
            unreachable!("only these are called");
        };
        let seq = self.try_again(branch, times, Hold::Runnable);
        let next = self.take(seq).expect("it was just begun");
        self.call(next, called);
    }

    /// A branch no longer waits for the execution that it asked for, if it did.
    pub(super) fn call_off(&mut self, branch: &Branch, compensate: bool) {
        // Without an id it was begun by this very change, and nothing has started yet.
        if !matches!(branch.hold, Hold::Child { .. }) || branch.id.is_nil() {
            return;
        }
        self.change.messages.push(Message::Cancel {
            execution_id: branch.id,
            reason: format!("execution {} no longer waits for it", self.execution.id),
            compensate,
        });
    }

    /// The same for all branches, before they are withdrawn: what was done is undone there, too.
    pub(super) fn call_off_all(&mut self) {
        let waits = |branch: &&mut Branch| matches!(branch.hold, Hold::Child { .. });
        let mut called = Vec::new();
        for branch in self.execution.branches.iter_mut().filter(waits) {
            called.push(branch.clone());
            branch.hold = Hold::Runnable;
        }
        for branch in called {
            self.call_off(&branch, true);
        }
    }

    /// The execution is over: tells who waits for that.
    pub(super) fn report(&mut self) {
        let execution = &self.execution;
        let Some(parent) = execution
            .memory
            .parent
            .as_ref()
            .filter(|parent| parent.waits)
        else {
            return;
        };
        let failure = || execution.failure.clone().unwrap_or(Failure::new("", ""));
        let ended = match execution.status {
            ExecutionStatus::Completed => Ending::Completed(self.result()),
            ExecutionStatus::Cancelled => Ending::Cancelled(failure()),
            _ => Ending::Failed(failure()),
        };
        let to = parent.execution_id;
        self.change.messages.push(Message::Over { to, ended });
    }

    fn result(&self) -> Map<String, Value> {
        let mut outputs = self.execution.memory.outputs.iter().rev();
        let last = outputs.find(|output| output.latest);
        let step = last.and_then(|output| self.graph.node_of(output.step_id));
        let name = step.map(|step| &self.graph.definition.steps[step].name);
        let shown = name.and_then(|name| self.execution.context.steps.get(name));
        let output = shown.and_then(|shown| shown["output"].as_object());
        output.cloned().unwrap_or_default()
    }
}
