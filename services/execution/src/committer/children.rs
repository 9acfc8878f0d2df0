//! Executions that others start. Invariant: one is started under the lock of who asked for it, in the transaction
//! that takes up the asking: whoever stops waiting afterwards finds it, and whoever stopped before gets none.

use std::sync::Arc;

use model::graph::Graph;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Pending;
use super::batch::{Unit, Verdict};
use super::refusal::refused;
use super::rows::Birth;
use crate::engine::{self, Call, Change, Ending, Failure, Hold, Message, News, Parent, Refusal};

/// Who starts what another execution asks for.
const STARTED_BY: &str = "execution";

impl Unit<'_> {
    /// Starts an execution for the branch `seq` of `parent_id`, unless nobody waits for it any more.
    pub(super) fn call(
        &mut self,
        pending: &Pending,
        (parent_id, seq): (Uuid, i32),
        call: &Call,
    ) -> Verdict {
        let parent = &self.found.executions[&parent_id].execution;
        let mut branches = parent.branches.iter();
        let waits =
            branches.find(|branch| branch.seq == seq && matches!(branch.hold, Hold::Child { .. }));
        let Some(branch) = waits else {
            return Verdict::Refused(refused(Refusal::BranchGone, &pending.command.action));
        };
        let id = branch.id;
        let news = match allowed(pending, parent.client_id) {
            Err(failure) => Some(News::Refused(failure)),
            Ok(graph) => {
                let parent = Parent {
                    execution_id: parent_id,
                    waits: call.waits,
                    depth: call.depth,
                };
                let ended = self.bear(id, graph, parent, call.input.clone());
                match call.waits {
                    true => ended.map(News::Over),
                    false => Some(News::Started),
                }
            }
        };
        if let Some(news) = news {
            let command = engine::Command::Hear { seq, news };
            let parent = self.found.executions.get_mut(&parent_id);
            let parent = parent.expect("it was found before");
            let heard = parent.advance(command, self.found.now);
            heard.expect("the branch waits for it");
        }
        Verdict::Done(id.into())
    }

    /// Begins an execution that another one asked for; how it ended, if it is over at once and that one waits.
    fn bear(
        &mut self,
        id: Uuid,
        graph: Arc<Graph>,
        parent: Parent,
        input: Map<String, Value>,
    ) -> Option<Ending> {
        let now = self.found.now;
        let metadata = Map::from_iter([("inputData".to_owned(), Value::Object(input.clone()))]);
        let mut execution = engine::begin(&graph, id, input, now);
        execution.memory.parent = Some(parent);
        let mut change = Change::default();
        let command = engine::Command::Start;
        engine::advance(&graph, &mut execution, command, now, &mut change)
            .expect("a new execution is not over");
        let ended = change
            .messages
            .pop_if(|last| matches!(last, Message::Over { .. }));
        let birth = Birth {
            metadata: Some(metadata),
            started_by: STARTED_BY.to_owned(),
            business_key: None,
            restarted_from: None,
            schedule: None,
        };
        self.enter(birth, (graph, execution, change), false);
        match ended {
            Some(Message::Over { ended, .. }) => Some(ended),
            _ => None,
        }
    }
}

/// What runs, if it may.
fn allowed(pending: &Pending, client_id: Uuid) -> Result<Arc<Graph>, Failure> {
    if let Some(error) = &pending.barred {
        return Err(Failure::new(error.reason(), error.message()));
    }
    let graph = pending.graph.clone().expect("starts are prepared");
    if graph.definition.client_id != client_id {
        let message = "the workflow belongs to another client";
        return Err(Failure::new("SUBWORKFLOW_OF_ANOTHER_CLIENT", message));
    }
    Ok(graph)
}

#[cfg(test)]
mod tests;
