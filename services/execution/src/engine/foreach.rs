//! One step for each item of a list. Invariant: every item is begun once at most and counted once, and a
//! foreach that is left takes along what is under way for it, unless the definition lets that run.

use std::collections::BTreeMap;

use model::instant::later;
use model::json;
use model::kind::{Foreach, Items, Kind, MOST_ITEMS, Rest};
use model::status::StepStatus;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::settle::Outcome;
use super::state::{Branch, Failure, Hold};
use super::{MAX_CONTEXT_BYTES, Step};

/// Where an item's fields hold its number.
const INDEX: &str = "itemIndex";

/// What a branch does its step for.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The seq of the branch that waits for it.
    pub of: i32,
    /// From 0.
    pub index: i32,
    /// `item` and `itemIndex`, beside the data.
    pub fields: Map<String, Value>,
}

impl Item {
    pub fn new(of: i32, fields: Map<String, Value>) -> Self {
        let index = fields
            .get(INDEX)
            .and_then(Value::as_i64)
            .unwrap_or_default();
        Self {
            of,
            index: i32::try_from(index).unwrap_or_default(),
            fields,
        }
    }
}

/// How far a foreach has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Loop {
    pub total: i32,
    /// Items not begun, the next one last.
    pub rest: Vec<Value>,
    /// By index: the log that holds the output of a completed item.
    pub results: BTreeMap<i32, i32>,
    /// Bytes of these outputs.
    pub bytes: usize,
    pub failed: i32,
}

/// How one item ended.
pub(super) enum Ended<'a> {
    Completed(&'a Map<String, Value>),
    Failed(Failure),
    /// Without a result, but not failed.
    Left,
}

impl Step<'_> {
    /// A branch comes to a `foreach` step.
    pub(super) fn go_through(&mut self, mut branch: Branch, foreach: &Foreach) {
        let mut rest = match self
            .items(foreach)
            .and_then(|items| self.check_items(items))
        {
            Ok(items) => items,
            Err(message) => {
                let failure = Failure::new("ITEMS_UNDEFINED", message);
                return self.settle(branch, Outcome::Failed(failure));
            }
        };
        rest.reverse();
        let total = i32::try_from(rest.len()).expect("items are counted in thousands");
        let seq = branch.seq;
        let timeout = self.graph.nodes[branch.step].timeout;
        branch.hold = Hold::Items {
            due_at: timeout.map(|limit| later(self.now, limit)),
        };
        self.execution.branches.push(branch);
        let begun = Loop {
            total,
            rest,
            results: BTreeMap::new(),
            bytes: 0,
            failed: 0,
        };
        self.execution.memory.loops.insert(seq, begun);
        match foreach.needed {
            Some(needed) if needed > total.unsigned_abs() => {
                let message = format!("there are {total} items, and {needed} must be completed");
                self.fail_loop(seq, Failure::new("ITEMS_UNSATISFIABLE", message));
            }
            _ if total == 0 => self.finish_loop(seq),
            _ => self.fill(seq),
        }
    }

    fn items(&self, foreach: &Foreach) -> Result<Vec<Value>, String> {
        let path = match &foreach.items {
            Items::Count(count) => return Ok((0..*count).map(Value::from).collect()),
            Items::Of(path) => path,
        };
        self.with_scope(&Value::Null, None, |scope| match path.resolve(scope) {
            Some(Value::Array(items)) if items.len() > MOST_ITEMS as usize => Err(format!(
                "items: the list has {} items; at most {MOST_ITEMS} are possible",
                items.len()
            )),
            Some(Value::Array(items)) => Ok(items.clone()),
            Some(_) => Err("items: not a list".to_owned()),
            None => Err("items: there is no such field".to_owned()),
        })
    }

    /// Refuses items that would not fit beside those of other branches: they are kept until they begin.
    fn check_items(&self, items: Vec<Value>) -> Result<Vec<Value>, String> {
        let loops = self.execution.memory.loops.values();
        let others: usize = loops.map(|at| weight(&at.rest)).sum();
        match others + weight(&items) > MAX_CONTEXT_BYTES {
            true => Err(format!(
                "items: those that have not begun come to more than {MAX_CONTEXT_BYTES} bytes"
            )),
            false => Ok(items),
        }
    }

    /// Begins as many items as may be under way at once.
    fn fill(&mut self, seq: i32) {
        let Ok(branch) = self.branch(seq) else {
            return;
        };
        let step = branch.step;
        let node = &self.graph.nodes[step];
        let (Kind::Foreach(foreach), Some(each)) = (&node.kind, node.each) else {
            unreachable!("only a foreach has items");
        };
        let mut open = self.under_way(seq);
        while open < foreach.concurrency {
            let Some(at) = self.execution.memory.loops.get_mut(&seq) else {
                return;
            };
            let Some(item) = at.rest.pop() else {
                return;
            };
            let index = at.total - 1 - i32::try_from(at.rest.len()).expect("fewer than all");
            // Too many activations end the execution: then nothing is left to fill.
            let Some(begun) = self.begin_activation(each) else {
                return;
            };
            let branch = self.branch(begun).expect("it has just begun");
            branch.item = Some(Item::new(
                seq,
                Map::from_iter([
                    ("item".to_owned(), item),
                    (INDEX.to_owned(), Value::from(index)),
                ]),
            ));
            self.follow_item(seq, begun, index);
            open += 1;
        }
    }

    fn under_way(&self, seq: i32) -> u32 {
        let branches = self.execution.branches.iter();
        let of = |branch: &&Branch| branch.item.as_ref().is_some_and(|item| item.of == seq);
        u32::try_from(branches.filter(of).count()).expect("items are counted in thousands")
    }

    /// Completes an item: its output is a result, and shows nowhere else.
    pub(super) fn complete_item(
        &mut self,
        branch: Branch,
        item: &Item,
        output: Map<String, Value>,
        message: Option<String>,
        bytes: usize,
    ) {
        let mut is_too_much = false;
        if let Some(at) = self.execution.memory.loops.get_mut(&item.of) {
            at.bytes += bytes;
            is_too_much = at.bytes > json::INPUT.bytes;
            at.results.insert(item.index, branch.seq);
            let kept = &mut self.execution.context.kept;
            kept.insert(branch.seq, output.clone());
        }
        self.cancel_region(&branch);
        self.end(&branch, StepStatus::Completed, |log| {
            log.message = message;
            log.data = (!output.is_empty()).then(|| output.clone());
        });
        if is_too_much {
            return self.fail_loop(item.of, too_large());
        }
        self.item_ended(item, Ended::Completed(&output));
    }

    /// Counts an item whose branch is over, and judges whether the foreach is.
    pub(super) fn item_ended(&mut self, item: &Item, ended: Ended<'_>) {
        let seq = item.of;
        // What has gone on without it does not wait for it.
        let Some(at) = self.execution.memory.loops.get_mut(&seq) else {
            return;
        };
        if matches!(ended, Ended::Failed(_)) {
            at.failed += 1;
        }
        let (completed, failed) = (at.results.len() as u32, at.failed as u32);
        let left = at.rest.len() as u32 + self.under_way(seq);
        let Ok(branch) = self.branch(seq) else {
            return;
        };
        let (step, graph) = (branch.step, self.graph);
        let Kind::Foreach(foreach) = &graph.nodes[step].kind else {
            unreachable!("only a foreach has items");
        };
        let needed = foreach.needed;
        if needed.is_some_and(|needed| completed >= needed) {
            return self.finish_loop(seq);
        }
        match self.is_enough(foreach, seq, &ended) {
            Ok(true) => return self.finish_loop(seq),
            Ok(false) => {}
            Err(message) => {
                let failure = Failure::new("EXPRESSION_FAILED", format!("until: {message}"));
                return self.fail_loop(seq, failure);
            }
        }
        let failure = match ended {
            Ended::Failed(failure) if failed > foreach.tolerated => {
                let message = format!("item {}: {}", item.index, failure.message);
                Some(Failure::new(&failure.code, message))
            }
            _ => needed
                .filter(|needed| completed + left < *needed)
                .map(|needed| {
                    let message =
                        format!("{completed} of {needed} items are completed, and no other can be");
                    Failure::new("ITEMS_UNSATISFIABLE", message)
                }),
        };
        match failure {
            Some(failure) => self.fail_loop(seq, failure),
            None if left == 0 => self.finish_loop(seq),
            None => self.fill(seq),
        }
    }

    fn is_enough(&self, foreach: &Foreach, seq: i32, ended: &Ended<'_>) -> Result<bool, String> {
        let (Some(until), Some(at)) = (&foreach.until, self.execution.memory.loops.get(&seq))
        else {
            return Ok(false);
        };
        let output = match ended {
            Ended::Completed(output) => Value::Object((*output).clone()),
            _ => Value::Null,
        };
        let seen = json!({
            "completed": at.results.len(), "failed": at.failed, "total": at.total, "output": output,
        });
        match self.with_scope(&seen, None, |scope| until.evaluate(scope))? {
            Value::Bool(is_enough) => Ok(is_enough),
            _ => Err("neither true nor false".to_owned()),
        }
    }

    /// A foreach has what it needs.
    pub(super) fn finish_loop(&mut self, seq: i32) {
        let at = &self.execution.memory.loops[&seq];
        let kept = &self.execution.context.kept;
        let result = |index| {
            let output = at.results.get(&index).and_then(|log| kept.get(log));
            output.cloned().map_or(Value::Null, Value::Object)
        };
        let output = Map::from_iter([
            ("results".to_owned(), (0..at.total).map(result).collect()),
            ("completed".to_owned(), Value::from(at.results.len())),
            ("failed".to_owned(), Value::from(at.failed)),
        ]);
        if json::measure(&output, json::INPUT).is_err() {
            return self.fail_loop(seq, too_large());
        }
        let message = Some(format!(
            "{} of {} items completed",
            at.results.len(),
            at.total
        ));
        let branch = self.take(seq).expect("it waits for its items");
        self.settle(branch, Outcome::Done { output, message });
    }

    fn fail_loop(&mut self, seq: i32, failure: Failure) {
        let branch = self.take(seq).expect("it waits for its items");
        self.settle(branch, Outcome::Thrown(failure));
    }

    /// A foreach is left, whatever for. Items under way are withdrawn, unless it was completed and its
    /// definition lets them run.
    pub(super) fn leave_items(&mut self, branch: &Branch, completed: bool) {
        let Some(at) = self.execution.memory.loops.remove(&branch.seq) else {
            return;
        };
        for log in at.results.values() {
            self.execution.context.kept.remove(log);
        }
        let node = &self.graph.nodes[branch.step];
        let lets_run = matches!(&node.kind, Kind::Foreach(foreach) if foreach.rest == Rest::Runs);
        if completed && lets_run {
            return;
        }
        let branches = self.execution.branches.iter();
        let rest: Vec<i32> = branches
            .filter(|other| {
                other
                    .item
                    .as_ref()
                    .is_some_and(|item| item.of == branch.seq)
            })
            .map(|other| other.seq)
            .collect();
        let name = self.graph.definition.steps[branch.step].name.clone();
        for seq in rest {
            let item = self.take(seq).expect("it was found among the branches");
            self.withdraw(&item, format!("withdrawn: {name:?} has gone on"));
        }
    }
}

/// Bytes of items, as JSON.
fn weight(items: &[Value]) -> usize {
    items.iter().map(|item| item.to_string().len()).sum()
}

fn too_large() -> Failure {
    let limit = json::INPUT.bytes;
    let message =
        format!("the results of the items exceed {limit} bytes, or are nested too deeply");
    Failure::new("RESULTS_TOO_LARGE", message)
}
