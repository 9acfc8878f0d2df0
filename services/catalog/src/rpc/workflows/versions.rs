//! Published versions, and workflows as documents. Invariant: nothing here writes.

use chassis::filter::{Filter, Kind};
use chassis::input::Input;
use chassis::order::Order;
use chassis::page::Page;
use chassis::{Error, Result, db};
use model::definition::Definition;
use model::status::WorkflowStatus;
use model::wire;
use proto::catalog::v1 as pb;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::message::{condition, id_or_empty};
use crate::document::{self, Owner};
use crate::rpc::fit;
use crate::store::versions::{self, History, VersionFilter, VersionSummary};
use crate::store::{clients, workflows};
use crate::working_copy;

const FILTER: &[(&str, Kind)] = &[
    ("published_by", Kind::Uuid),
    ("published_at", Kind::Instant),
];

pub async fn list(
    pool: &PgPool,
    request: pb::ListWorkflowVersionsRequest,
) -> Result<pb::ListWorkflowVersionsResponse> {
    let mut input = Input::new();
    let id = input.uuid("workflow_id", &request.workflow_id);
    input.finish()?;
    let order = Order::parse(&request.order_by, &["version"], Order::down("version"))?;
    let (id_asked, order_asked) = (id.to_string(), order.to_string());
    let query = [
        "ListWorkflowVersions",
        &id_asked,
        &request.filter,
        &order_asked,
    ];
    let page = Page::parse(request.page_size, &request.page_token, &query)?;
    let filter = Filter::parse(&request.filter, FILTER)?;
    let restriction = VersionFilter {
        published_by: filter.uuid("published_by"),
        published_from: filter.at_least("published_at"),
        published_before: filter.before("published_at"),
    };
    let after = page.after_number()?;
    let mut conn = db::acquire(pool).await?;
    if workflows::get(&mut conn, id).await?.is_none() {
        return Err(Error::not_found("workflow", id));
    }
    let limit = page.limit + 1;
    let way = (after, order.descending);
    let rows = versions::list(&mut conn, id, restriction, way, limit).await?;
    let token = |row: &VersionSummary| page.next_token(&[&row.version]);
    let (versions, next_page_token) = fit(&page, rows, token, |row| pb::WorkflowVersion {
        workflow_id: id.to_string(),
        version: row.version,
        name: row.name,
        description: row.description.unwrap_or_default(),
        target: row.target.unwrap_or_default(),
        ..told(row.history)
    });
    Ok(pb::ListWorkflowVersionsResponse {
        versions,
        next_page_token,
    })
}

pub async fn get(
    pool: &PgPool,
    request: pb::GetWorkflowVersionRequest,
) -> Result<pb::WorkflowVersion> {
    let mut input = Input::new();
    let id = input.uuid("workflow_id", &request.workflow_id);
    if request.version < 1 {
        input.push("version", "must be 1 or more");
    }
    input.finish()?;
    let mut conn = db::acquire(pool).await?;
    let version = versions::get(&mut conn, id, request.version)
        .await?
        .ok_or_else(|| Error::not_found("workflow version", request.version))?;
    let definition: Definition =
        serde_json::from_str(&version.definition).map_err(Error::internal)?;
    let workflow_id = id.to_string();
    Ok(pb::WorkflowVersion {
        version: version.version,
        name: definition.name,
        description: definition.description.unwrap_or_default(),
        target: definition.target.unwrap_or_default(),
        steps: (definition.steps.into_iter())
            .map(|step| pb::WorkflowStep {
                id: step.id.to_string(),
                workflow_id: workflow_id.clone(),
                name: step.name,
                description: step.description.unwrap_or_default(),
                step_type: step.step_type,
                order: Some(step.order),
                config: (!step.config.is_empty()).then(|| wire::struct_from_json(&step.config)),
                is_required: Some(step.is_required),
                key: step.key,
                ..pb::WorkflowStep::default()
            })
            .collect(),
        transitions: (definition.transitions.into_iter())
            .map(|transition| pb::WorkflowTransition {
                id: transition.id.to_string(),
                workflow_id: workflow_id.clone(),
                from_step_id: transition.from_step_id.to_string(),
                to_step_id: transition.to_step_id.to_string(),
                condition: condition(transition.condition.as_ref()),
                is_default: transition.is_default,
                ..pb::WorkflowTransition::default()
            })
            .collect(),
        workflow_id,
        ..told(version.history)
    })
}

/// What is known of how a version came about.
fn told(history: History) -> pb::WorkflowVersion {
    pb::WorkflowVersion {
        published_by: id_or_empty(history.published_by),
        published_by_email: history.published_by_email.unwrap_or_default(),
        published_at: Some(wire::timestamp(history.published_at)),
        from_version: history.from_version.unwrap_or_default(),
        comment: history.comment.unwrap_or_default(),
        ..pb::WorkflowVersion::default()
    }
}

pub async fn export(
    pool: &PgPool,
    request: pb::ExportWorkflowRequest,
) -> Result<pb::ExportWorkflowResponse> {
    let mut input = Input::new();
    let id = input.uuid("id", &request.id);
    if request.version < 0 {
        input.push("version", "must be 0 (the working copy) or more");
    }
    input.finish()?;
    let mut snapshot = db::snapshot(pool).await?;
    let workflow = workflows::get(&mut snapshot, id)
        .await?
        .ok_or_else(|| Error::not_found("workflow", id))?;
    let is_active = workflow.status == WorkflowStatus::Active;
    let publish = request.version > 0 || (is_active && !workflow.has_unpublished_changes);
    let definition = working_copy::at(&mut snapshot, &workflow, request.version).await?;
    let owner = owner(&mut snapshot, definition.client_id).await?;
    snapshot.commit().await?;
    Ok(pb::ExportWorkflowResponse {
        document: document::write(&definition, &owner, publish)?,
    })
}

/// By name, so that the document fits another installation, unless the name says too little here.
async fn owner(conn: &mut PgConnection, id: Uuid) -> Result<Owner> {
    let client = clients::get(conn, id)
        .await?
        .ok_or_else(|| Error::not_found("client", id))?;
    let name = client.fields.name;
    Ok(match clients::find(conn, &name).await?.as_slice() {
        [_] => Owner::Named { name },
        _ => Owner::Id(id),
    })
}
