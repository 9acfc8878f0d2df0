//! Calls that decide what a workflow's definition and status become as a whole. Invariant: a status
//! changes here and nowhere else; ARCHIVED is final.

use chassis::auth::Caller;
use chassis::input::Input;
use chassis::{Error, Result, db};
use model::problem::Problem;
use model::status::WorkflowStatus;
use proto::catalog::v1 as pb;
use sqlx::{Connection, PgConnection, PgPool};
use uuid::Uuid;

use super::message;
use crate::document::Document;
use crate::publish::{self, Release};
use crate::rpc::{author, check_etag};
use crate::store::audit::{self, Object};
use crate::store::workflows;
use crate::working_copy::{self, WorkingCopy};
use crate::{apply, callees, editing, fields};

pub async fn apply(
    pool: &PgPool,
    caller: Caller,
    request: pb::ApplyWorkflowRequest,
) -> Result<pb::ApplyWorkflowResponse> {
    let by = author(&caller);
    let document = Document::parse("document", &request.document)?;
    let (applied, workflow) = db::transaction(pool, async move |conn| {
        let etag = request.etag.as_str();
        if request.validate_only {
            return attempt(conn, &document, (by, etag)).await;
        }
        let applied = apply::apply(conn, &document, (by, etag), false).await?;
        record(conn, &caller, &applied).await?;
        let workflow = message::read(conn, applied.workflow_id).await?;
        Ok((applied, Some(workflow)))
    })
    .await?;
    Ok(pb::ApplyWorkflowResponse {
        workflow,
        changes: applied.changes,
        published: applied.published,
        problems: message::problems(applied.problems),
    })
}

/// Puts what a document did down to its caller.
async fn record(conn: &mut PgConnection, caller: &Caller, applied: &apply::Applied) -> Result<()> {
    let mut lines = &applied.changes[..];
    if let (Some(id), [line, rest @ ..]) = (applied.new_client_id, lines) {
        let line = std::slice::from_ref(line);
        audit::record(conn, caller, "ApplyWorkflow", Object::Client(id), line).await?;
        lines = rest;
    }
    if lines.is_empty() {
        return Ok(());
    }
    let workflow = Object::Workflow(applied.workflow_id);
    audit::record(conn, caller, "ApplyWorkflow", workflow, lines).await
}

/// Applies the document and takes it all back: what would happen is what did.
async fn attempt(
    conn: &mut PgConnection,
    document: &Document,
    (by, etag): (Option<Uuid>, &str),
) -> Result<(apply::Applied, Option<pb::Workflow>)> {
    let workflow = match apply::find(conn, document).await? {
        Some(workflow) => Some(message::read(conn, workflow.id).await?),
        None => None,
    };
    let mut trial = conn.begin().await?;
    let applied = apply::apply(&mut trial, document, (by, etag), true).await?;
    trial.rollback().await?;
    Ok((applied, workflow))
}

pub async fn validate(
    pool: &PgPool,
    request: pb::ValidateWorkflowRequest,
) -> Result<pb::ValidateWorkflowResponse> {
    use pb::validate_workflow_request::Source;
    let mut snapshot = db::snapshot(pool).await?;
    let (definition, client_id) = match request.source {
        None => return Err(Error::invalid("source", "is required: `id` or `document`")),
        Some(Source::Document(document)) => {
            let document = Document::parse("document", &document)?;
            let client_id = apply::client_of(&mut snapshot, &document).await?;
            (apply::alone(&document), client_id)
        }
        Some(Source::Id(id)) => {
            let mut input = Input::new();
            let id = input.uuid("id", &id);
            input.finish()?;
            let workflow = workflows::get(&mut snapshot, id)
                .await?
                .ok_or_else(|| Error::not_found("workflow", id))?;
            let definition = working_copy::at(&mut snapshot, &workflow, 0).await?;
            (definition, Some(workflow.client_id))
        }
    };
    let mut problems = callees::problems(&mut snapshot, &definition, client_id).await?;
    snapshot.commit().await?;
    problems.extend(publish::problems(definition));
    Ok(pb::ValidateWorkflowResponse {
        valid: !problems.iter().any(Problem::is_error),
        problems: message::problems(problems),
    })
}

pub async fn publish(
    pool: &PgPool,
    caller: Caller,
    request: pb::PublishWorkflowRequest,
) -> Result<pb::Workflow> {
    let mut input = Input::new();
    let id = input.uuid("id", &request.id);
    if request.from_version < 0 {
        input.push("from_version", "must be 0 (the working copy) or more");
    }
    let comment = input.text("comment", &request.comment, fields::COMMENT);
    let comment = fields::non_empty(comment);
    input.finish()?;
    db::transaction(pool, async move |conn| {
        let mut workflow = editing::lock(conn, id).await?;
        check_etag("workflow", &request.etag, workflow.revision)?;
        let from_version = (request.from_version > 0).then_some(request.from_version);
        let mut lines = Vec::new();
        if let Some(version) = from_version {
            let wanted = working_copy::at(conn, &workflow, version).await?;
            let before = WorkingCopy::read(conn, workflow).await?;
            lines = before
                .rewrite(conn, &wanted)
                .await?
                .lines(apply::MOST_LINES);
            workflow = editing::lock(conn, id).await?;
        }
        let definition = working_copy::at(conn, &workflow, 0).await?;
        let mut problems = publish::problems(definition.clone());
        problems.extend(callees::problems(conn, &definition, Some(workflow.client_id)).await?);
        publish::check(&problems)?;
        let release = Release {
            by: author(&caller),
            from_version,
            comment: comment.as_deref(),
        };
        let published = publish::freeze(conn, &workflow, definition, release).await?;
        lines.extend(published.line());
        if !lines.is_empty() {
            audit::record(
                conn,
                &caller,
                "PublishWorkflow",
                Object::Workflow(id),
                &lines,
            )
            .await?;
        }
        message::read(conn, id).await
    })
    .await
}

pub async fn activate(
    pool: &PgPool,
    caller: Caller,
    request: pb::ActivateWorkflowRequest,
) -> Result<pb::Workflow> {
    switch(pool, caller, &request.id, WorkflowStatus::Active).await
}

pub async fn deactivate(
    pool: &PgPool,
    caller: Caller,
    request: pb::DeactivateWorkflowRequest,
) -> Result<pb::Workflow> {
    switch(pool, caller, &request.id, WorkflowStatus::Inactive).await
}

pub async fn archive(
    pool: &PgPool,
    caller: Caller,
    request: pb::ArchiveWorkflowRequest,
) -> Result<pb::Workflow> {
    switch(pool, caller, &request.id, WorkflowStatus::Archived).await
}

/// Brings a workflow into another status; nothing happens if it is there already.
async fn switch(
    pool: &PgPool,
    caller: Caller,
    id: &str,
    wanted: WorkflowStatus,
) -> Result<pb::Workflow> {
    let mut input = Input::new();
    let id = input.uuid("id", id);
    input.finish()?;
    db::transaction(pool, async move |conn| {
        let workflow = workflows::lock(conn, id)
            .await?
            .ok_or_else(|| Error::not_found("workflow", id))?;
        match (workflow.status, wanted) {
            (is, wanted) if is == wanted => {}
            (WorkflowStatus::Archived, _) => return Err(editing::archived(id)),
            (WorkflowStatus::Draft, WorkflowStatus::Active | WorkflowStatus::Inactive) => {
                let message = format!("workflow {id} has never been published: publish it first");
                return Err(Error::precondition("NOT_PUBLISHED", message));
            }
            (is, wanted) => {
                workflows::set_status(conn, id, wanted).await?;
                let lines = [format!("changed status from {is} to {wanted}")];
                let action = match wanted {
                    WorkflowStatus::Active => "ActivateWorkflow",
                    WorkflowStatus::Archived => "ArchiveWorkflow",
                    _ => "DeactivateWorkflow",
                };
                audit::record(conn, &caller, action, Object::Workflow(id), &lines).await?;
            }
        }
        message::read(conn, id).await
    })
    .await
}
