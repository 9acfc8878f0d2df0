//! Workflows themselves: create, get, update, delete. Invariant: neither status nor version changes
//! here.

use chassis::auth::Caller;
use chassis::idempotency::RequestKey;
use chassis::input::Input;
use chassis::mask::Mask;
use chassis::{Error, Result, db};
use model::definition::Definition;
use proto::catalog::v1 as pb;
use sqlx::PgPool;
use uuid::Uuid;

use super::message;
use crate::apply::MOST_LINES;
use crate::fields;
use crate::rpc::{author, check_etag, present};
use crate::store::audit::{self, Object};
use crate::store::workflows::{self, NewWorkflow, Workflow};
use crate::store::{requests, versions};
use crate::working_copy::fragment;
use crate::{diff, editing};

const CHANGEABLE: &[&str] = &["name", "description", "target", "client_id"];

pub async fn create(
    pool: &PgPool,
    caller: Caller,
    mut request: pb::CreateWorkflowRequest,
) -> Result<pb::Workflow> {
    let request_id = std::mem::take(&mut request.request_id);
    let key = RequestKey::from(&caller, "CreateWorkflow", &request_id, &request)?;
    let wanted = present("workflow", request.workflow)?;
    let mut input = Input::new();
    let name = input.name("workflow.name", &wanted.name, fields::NAME);
    let description = input.text(
        "workflow.description",
        &wanted.description,
        fields::DESCRIPTION,
    );
    let description = fields::non_empty(description);
    let target = target(&mut input, &wanted.target);
    let client_id = input.uuid("workflow.client_id", &wanted.client_id);
    input.finish()?;

    let id = Uuid::now_v7();
    let created_by = author(&caller);
    db::transaction(pool, async move |conn| {
        if let Some(id) = requests::claim(conn, key.as_ref(), id).await? {
            return message::read(conn, id).await;
        }
        let new = NewWorkflow {
            id,
            name: &name,
            description: description.as_deref(),
            target: target.as_deref(),
            client_id,
            created_by,
        };
        workflows::insert(conn, new).await?;
        let lines = [format!("created workflow {name:?}")];
        audit::record(
            conn,
            &caller,
            "CreateWorkflow",
            Object::Workflow(id),
            &lines,
        )
        .await?;
        message::read(conn, id).await
    })
    .await
}

pub async fn get(pool: &PgPool, request: pb::GetWorkflowRequest) -> Result<pb::Workflow> {
    let mut input = Input::new();
    let id = input.uuid("id", &request.id);
    input.finish()?;
    let mut snapshot = db::snapshot(pool).await?;
    let workflow = message::read(&mut snapshot, id).await?;
    snapshot.commit().await?;
    Ok(workflow)
}

pub async fn update(
    pool: &PgPool,
    caller: Caller,
    request: pb::UpdateWorkflowRequest,
) -> Result<pb::Workflow> {
    let wanted = present("workflow", request.workflow)?;
    let mut set = Vec::new();
    set.extend((!wanted.name.is_empty()).then_some("name"));
    set.extend((!wanted.description.is_empty()).then_some("description"));
    set.extend((!wanted.target.is_empty()).then_some("target"));
    set.extend((!wanted.client_id.is_empty()).then_some("client_id"));
    let mask = Mask::parse(request.update_mask.as_ref(), CHANGEABLE, &set)?;
    let mut input = Input::new();
    let id = input.uuid("workflow.id", &wanted.id);
    let name = (mask.has("name")).then(|| input.name("workflow.name", &wanted.name, fields::NAME));
    let description = (mask.has("description")).then(|| {
        input.text(
            "workflow.description",
            &wanted.description,
            fields::DESCRIPTION,
        )
    });
    let target = (mask.has("target")).then(|| target(&mut input, &wanted.target));
    let client_id =
        (mask.has("client_id")).then(|| input.uuid("workflow.client_id", &wanted.client_id));
    input.finish()?;

    db::transaction(pool, async move |conn| {
        let before = editing::lock(conn, id).await?;
        check_etag("workflow", &wanted.etag, before.revision)?;
        let after = Workflow {
            name: name.clone().unwrap_or_else(|| before.name.clone()),
            description: match &description {
                Some(description) => fields::non_empty(description.clone()),
                None => before.description.clone(),
            },
            target: target.clone().unwrap_or_else(|| before.target.clone()),
            client_id: client_id.unwrap_or(before.client_id),
            ..before.clone()
        };
        if after.client_id != before.client_id && versions::latest(conn, id).await?.is_some() {
            let message = "the client of a workflow is fixed once it has been published";
            return Err(Error::precondition("CLIENT_FIXED", message));
        }
        if own(&after) != own(&before) {
            workflows::update(conn, &after).await?;
            let lines = changes(&before, &after);
            audit::record(
                conn,
                &caller,
                "UpdateWorkflow",
                Object::Workflow(id),
                &lines,
            )
            .await?;
        }
        message::read(conn, id).await
    })
    .await
}

/// The duration text in `workflow.target`; None if it is empty.
fn target(input: &mut Input, text: &str) -> Option<String> {
    let text = fields::non_empty(text.to_owned())?;
    if let Some(fault) = fields::target_fault(&text) {
        input.push("workflow.target", fault);
    }
    Some(text)
}

/// All that UpdateWorkflow changes.
fn own(workflow: &Workflow) -> (&str, Option<&str>, Option<&str>, Uuid) {
    (
        &workflow.name,
        workflow.description.as_deref(),
        workflow.target.as_deref(),
        workflow.client_id,
    )
}

/// What differs in the workflow's own fields, in words.
fn changes(before: &Workflow, after: &Workflow) -> Vec<String> {
    let [old, new] = [before, after].map(|side| Definition {
        name: side.name.clone(),
        description: side.description.clone(),
        target: side.target.clone(),
        ..fragment(Vec::new(), Vec::new())
    });
    let mut lines = diff::between(&old, &new).lines(MOST_LINES);
    if before.client_id != after.client_id {
        let (old, new) = (before.client_id, after.client_id);
        lines.push(format!("changed the workflow: clientId: {old} -> {new}"));
    }
    lines
}

pub async fn delete(
    pool: &PgPool,
    caller: Caller,
    request: pb::DeleteWorkflowRequest,
) -> Result<()> {
    let mut input = Input::new();
    let id = input.uuid("id", &request.id);
    input.finish()?;
    db::transaction(pool, async move |conn| {
        let workflow = workflows::lock(conn, id)
            .await?
            .ok_or_else(|| Error::not_found("workflow", id))?;
        check_etag("workflow", &request.etag, workflow.revision)?;
        let lines = [format!("deleted workflow {:?}", workflow.name)];
        audit::record(
            conn,
            &caller,
            "DeleteWorkflow",
            Object::Workflow(id),
            &lines,
        )
        .await?;
        workflows::delete(conn, id).await
    })
    .await
}
