//! The workflows that a definition runs. Invariant: what is published names only workflows of its own client that
//! can still be run, as far as that can be known when it is published.

use std::collections::HashMap;

use chassis::Result;
use model::definition::Definition;
use model::graph;
use model::problem::Problem;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::store::workflows::{self, StartTarget};

/// What is wrong with the workflows that `subworkflow` steps name. Whether they are of the same client is judged
/// if the definition's client is known.
pub async fn problems(
    conn: &mut PgConnection,
    definition: &Definition,
    client_id: Option<Uuid>,
) -> Result<Vec<Problem>> {
    let called = graph::called(definition);
    if called.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = called.iter().map(|(_, id)| *id).collect();
    let targets = workflows::start_targets(conn, &ids).await?.into_iter();
    let targets: HashMap<Uuid, StartTarget> = targets.map(|target| (target.id, target)).collect();
    let problem = |(path, id): (String, Uuid)| {
        let is_itself = id == definition.workflow_id;
        judge(path, targets.get(&id), client_id, is_itself)
    };
    Ok(called.into_iter().filter_map(problem).collect())
}

fn judge(
    path: String,
    target: Option<&StartTarget>,
    client_id: Option<Uuid>,
    is_itself: bool,
) -> Option<Problem> {
    let Some(target) = target else {
        let message = "there is no workflow with this id";
        return Some(Problem::error(path, "SUBWORKFLOW_UNKNOWN", message));
    };
    if client_id.is_some_and(|id| id != target.client_id) {
        let message = "this workflow belongs to another client";
        let code = "SUBWORKFLOW_OF_ANOTHER_CLIENT";
        return Some(Problem::error(path, code, message));
    }
    match target.status.as_str() {
        "ACTIVE" => None,
        "ARCHIVED" => {
            let message = "this workflow is ARCHIVED for good: no execution of it starts";
            Some(Problem::error(path, "SUBWORKFLOW_ARCHIVED", message))
        }
        _ if is_itself => None,
        status => {
            let message = format!("this workflow is {status}: until it is ACTIVE the step fails");
            Some(Problem::warning(path, "SUBWORKFLOW_NOT_ACTIVE", message))
        }
    }
}
