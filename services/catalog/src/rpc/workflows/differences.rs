//! DiffWorkflow. Invariant: an answer fits what clients accept; where it is cut, it says so.

use chassis::input::Input;
use chassis::{Error, Result, db};
use model::wire;
use prost::Message;
use proto::catalog::v1 as pb;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::apply;
use crate::diff::{self, Action, Change, Diff};
use crate::document::Document;
use crate::rpc::PAGE_BYTES;
use crate::store::workflows;
use crate::working_copy::{self, WorkingCopy};

pub async fn diff(
    pool: &PgPool,
    request: pb::DiffWorkflowRequest,
) -> Result<pb::DiffWorkflowResponse> {
    use pb::diff_workflow_request::To;
    let mut input = Input::new();
    let id = input.uuid("id", &request.id);
    if request.from_version < 0 {
        input.push("from_version", "must be 0 (the working copy) or more");
    }
    if matches!(request.to, Some(To::ToVersion(version)) if version < 0) {
        input.push("to_version", "must be 0 (the working copy) or more");
    }
    input.finish()?;
    let document = match &request.to {
        Some(To::ToDocument(text)) => Some(Document::parse("to_document", text)?),
        _ => None,
    };
    let mut snapshot = db::snapshot(pool).await?;
    let workflow = workflows::get(&mut snapshot, id)
        .await?
        .ok_or_else(|| Error::not_found("workflow", id))?;
    let before = working_copy::at(&mut snapshot, &workflow, request.from_version).await?;
    let after = match (document, &request.to) {
        (Some(document), _) => {
            let now = WorkingCopy::read(&mut snapshot, workflow).await?;
            apply::wanted(&document, &before, &now.steps, Uuid::now_v7).0
        }
        (None, Some(To::ToVersion(version))) => {
            working_copy::at(&mut snapshot, &workflow, *version).await?
        }
        (None, _) => working_copy::at(&mut snapshot, &workflow, 0).await?,
    };
    snapshot.commit().await?;
    Ok(message(diff::between(&before, &after)))
}

fn message(diff: Diff) -> pb::DiffWorkflowResponse {
    let mut room = Room {
        left: PAGE_BYTES,
        lines: Vec::new(),
    };
    let mut answer = pb::DiffWorkflowResponse::default();
    let whole = 'parts: {
        for of_workflow in diff.workflow {
            let lines = vec![of_workflow.line()];
            if !room.fits(change(of_workflow), lines, &mut answer.workflow) {
                break 'parts false;
            }
        }
        for step in diff.steps {
            let lines = step.lines();
            let part = pb::StepChange {
                action: action(step.action).into(),
                id: step.id.to_string(),
                key: step.key,
                name: step.name,
                fields: step.changes.into_iter().map(change).collect(),
            };
            if !room.fits(part, lines, &mut answer.steps) {
                break 'parts false;
            }
        }
        for transition in diff.transitions {
            let lines = transition.lines();
            let part = pb::TransitionChange {
                action: action(transition.action).into(),
                id: transition.id.to_string(),
                from_step: transition.from,
                to_step: transition.to,
                fields: transition.changes.into_iter().map(change).collect(),
            };
            if !room.fits(part, lines, &mut answer.transitions) {
                break 'parts false;
            }
        }
        true
    };
    answer.truncated = !whole;
    answer.lines = room.lines;
    answer
}

/// What may still be added to an answer.
struct Room {
    left: usize,
    lines: Vec<String>,
}

impl Room {
    /// Adds a part with its lines, or says that there is no room.
    fn fits<M: Message>(&mut self, part: M, lines: Vec<String>, into: &mut Vec<M>) -> bool {
        /// Tag and length.
        const EACH: usize = 8;
        let lines_bytes: usize = lines.iter().map(|line| line.len() + EACH).sum();
        let bytes = part.encoded_len() + EACH + lines_bytes;
        let Some(left) = self.left.checked_sub(bytes) else {
            return false;
        };
        self.left = left;
        self.lines.extend(lines);
        into.push(part);
        true
    }
}

fn action(action: Action) -> pb::ChangeAction {
    match action {
        Action::Added => pb::ChangeAction::Added,
        Action::Removed => pb::ChangeAction::Removed,
        Action::Changed => pb::ChangeAction::Changed,
    }
}

fn change(change: Change) -> pb::FieldChange {
    let value = |value: Option<Value>| value.as_ref().map(wire::value_from_json);
    pb::FieldChange {
        path: change.path,
        before: value(change.before),
        after: value(change.after),
    }
}
