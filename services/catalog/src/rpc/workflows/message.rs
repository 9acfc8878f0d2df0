//! Workflows and their parts on the wire. Invariant: a workflow's etag and its parts come from one state
//! of the database.

use chassis::{Error, Result};
use model::problem::{Problem, Severity};
use model::status::WorkflowStatus;
use model::wire;
use proto::catalog::v1 as pb;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::store::steps::{self, Step};
use crate::store::transitions::{self, Transition};
use crate::store::workflows::{self, Workflow};

/// The workflow with the parts of its working copy. The connection's transaction sees one state of the
/// database, or holds the workflow.
pub async fn read(conn: &mut PgConnection, id: Uuid) -> Result<pb::Workflow> {
    let workflow = workflows::get(conn, id)
        .await?
        .ok_or_else(|| Error::not_found("workflow", id))?;
    let steps = steps::list(conn, id).await?;
    let transitions = transitions::list(conn, id).await?;
    Ok(pb::Workflow {
        steps: steps.into_iter().map(step).collect(),
        transitions: transitions.into_iter().map(transition).collect(),
        ..workflow_alone(workflow)
    })
}

/// The workflow without its parts.
pub fn workflow_alone(workflow: Workflow) -> pb::Workflow {
    let status = match workflow.status {
        WorkflowStatus::Draft => pb::WorkflowStatus::Draft,
        WorkflowStatus::Active => pb::WorkflowStatus::Active,
        WorkflowStatus::Inactive => pb::WorkflowStatus::Inactive,
        WorkflowStatus::Archived => pb::WorkflowStatus::Archived,
    };
    pb::Workflow {
        id: workflow.id.to_string(),
        name: workflow.name,
        description: workflow.description.unwrap_or_default(),
        target: workflow.target.unwrap_or_default(),
        client_id: workflow.client_id.to_string(),
        status: status.into(),
        version: workflow.version,
        created_by: id_or_empty(workflow.created_by),
        created_at: Some(wire::timestamp(workflow.created_at)),
        updated_at: Some(wire::timestamp(workflow.updated_at)),
        etag: workflow.revision.to_string(),
        has_unpublished_changes: workflow.has_unpublished_changes,
        steps: Vec::new(),
        transitions: Vec::new(),
    }
}

pub fn step(step: Step) -> pb::WorkflowStep {
    let fields = step.fields;
    pb::WorkflowStep {
        id: step.id.to_string(),
        workflow_id: step.workflow_id.to_string(),
        name: fields.name,
        description: fields.description.unwrap_or_default(),
        step_type: fields.step_type,
        order: Some(fields.order),
        config: (!fields.config.is_empty()).then(|| wire::struct_from_json(&fields.config)),
        is_required: Some(fields.is_required),
        created_at: Some(wire::timestamp(step.created_at)),
        updated_at: Some(wire::timestamp(step.updated_at)),
        key: step.key,
        etag: step.revision.to_string(),
    }
}

pub fn transition(transition: Transition) -> pb::WorkflowTransition {
    let fields = transition.fields;
    pb::WorkflowTransition {
        id: transition.id.to_string(),
        workflow_id: transition.workflow_id.to_string(),
        from_step_id: fields.from_step_id.to_string(),
        to_step_id: fields.to_step_id.to_string(),
        condition: condition(fields.condition.as_ref()),
        is_default: fields.is_default,
        created_at: Some(wire::timestamp(transition.created_at)),
        updated_at: Some(wire::timestamp(transition.updated_at)),
        etag: transition.revision.to_string(),
    }
}

/// Conditions are objects: every way in sees to that.
pub fn condition(condition: Option<&Value>) -> Option<prost_types::Struct> {
    Some(wire::struct_from_json(condition?.as_object()?))
}

/// Problems that an answer holds: their messages are short, so every client can read as many.
const MOST_PROBLEMS: usize = 2000;

/// All problems, errors first where there are too many for one answer; then the last one says how many are
/// left out.
pub fn problems(mut problems: Vec<Problem>) -> Vec<pb::Problem> {
    let count = problems.len();
    if count <= MOST_PROBLEMS {
        return problems.into_iter().map(problem).collect();
    }
    problems.sort_by_key(|problem| !problem.is_error());
    problems.truncate(MOST_PROBLEMS);
    let left = count - MOST_PROBLEMS;
    let more = format!("{left} more problems are left out: mend these first");
    problems.push(Problem::warning("", "MORE_PROBLEMS", more));
    problems.into_iter().map(problem).collect()
}

fn problem(problem: Problem) -> pb::Problem {
    let severity = match problem.severity {
        Severity::Error => pb::problem::Severity::Error,
        Severity::Warning => pb::problem::Severity::Warning,
    };
    pb::Problem {
        severity: severity.into(),
        path: problem.path,
        code: problem.code.to_owned(),
        message: problem.message,
    }
}

pub fn id_or_empty(id: Option<Uuid>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_problems_are_cut_errors_first() {
        let warnings = (0..MOST_PROBLEMS + 5).map(|_| Problem::warning("a", "ODD", "odd"));
        let error = Problem::error("b", "WRONG", "wrong");
        let told = problems(warnings.chain([error]).collect());
        assert_eq!(told.len(), MOST_PROBLEMS + 1);
        assert_eq!(told[0].code, "WRONG");
        let last = &told[MOST_PROBLEMS];
        assert!(last.message.starts_with("6 more"), "{last:?}");
        assert_eq!(problems(vec![Problem::warning("a", "ODD", "odd")]).len(), 1);
    }
}
