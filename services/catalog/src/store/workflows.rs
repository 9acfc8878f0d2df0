//! The workflows table. Invariant: whoever edits a workflow, its steps or its transitions holds the
//! workflow's row first, so editors of one workflow take turns.

use chassis::{Error, Result};
use chrono::{DateTime, Utc};
use model::status::WorkflowStatus;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Word, on_constraint};

mod list;

pub use list::{WorkflowFilter, WorkflowOrder, list};

/// A workflow without its parts.
#[derive(Debug, Clone)]
pub struct Workflow {
    pub id: Uuid,
    pub name: String,
    pub description: Option<String>,
    /// Within which time an execution should end.
    pub target: Option<String>,
    pub client_id: Uuid,
    pub status: WorkflowStatus,
    /// The latest published one; 1 while there is none.
    pub version: i32,
    pub created_by: Option<Uuid>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub revision: i64,
    pub has_unpublished_changes: bool,
}

/// A workflow that is to be made.
#[derive(Debug)]
pub struct NewWorkflow<'a> {
    pub id: Uuid,
    pub name: &'a str,
    pub description: Option<&'a str>,
    pub target: Option<&'a str>,
    pub client_id: Uuid,
    pub created_by: Option<Uuid>,
}

/// What decides whether an execution may start.
#[derive(Debug)]
pub struct StartTarget {
    pub id: Uuid,
    pub client_id: Uuid,
    pub version: i32,
    pub status: String,
    pub client_is_active: bool,
}

/// How much a working copy comes to.
#[derive(Debug)]
pub struct Size {
    pub steps: i64,
    pub transitions: i64,
    pub bytes: i64,
}

pub async fn insert(conn: &mut PgConnection, workflow: NewWorkflow<'_>) -> Result<()> {
    sqlx::query!(
        "-- catalog.insert_workflow
        insert into catalog.workflows (id, name, description, client_id, created_by, target)
        values ($1, $2, $3, $4, $5, $6)",
        workflow.id,
        workflow.name,
        workflow.description,
        workflow.client_id,
        workflow.created_by,
        workflow.target
    )
    .execute(conn)
    .await
    .map_err(|error| unknown_client(error, workflow.client_id))?;
    Ok(())
}

pub async fn get(conn: &mut PgConnection, id: Uuid) -> Result<Option<Workflow>> {
    Ok(sqlx::query_as!(
        Workflow,
        r#"-- catalog.get_workflow
        select id, name, description, target, client_id, status::text as "status!: Word", version,
            created_by, created_at, updated_at, revision, has_unpublished_changes
        from catalog.workflows where id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?)
}

/// The same, and nobody else changes it or its parts until the transaction ends.
pub async fn lock(conn: &mut PgConnection, id: Uuid) -> Result<Option<Workflow>> {
    Ok(sqlx::query_as!(
        Workflow,
        r#"-- catalog.lock_workflow
        select id, name, description, target, client_id, status::text as "status!: Word", version,
            created_by, created_at, updated_at, revision, has_unpublished_changes
        from catalog.workflows where id = $1 for no key update"#,
        id
    )
    .fetch_optional(conn)
    .await?)
}

/// The client's workflows of exactly this name that are not archived: the first two.
pub async fn find(conn: &mut PgConnection, client_id: Uuid, name: &str) -> Result<Vec<Uuid>> {
    Ok(sqlx::query_scalar!(
        "-- catalog.find_workflows
        select id from catalog.workflows
        where client_id = $1 and name = $2 and status <> 'ARCHIVED'
        order by created_at, id limit 2",
        client_id,
        name
    )
    .fetch_all(conn)
    .await?)
}

/// Writes name, description, target and client, all of which belong to the definition.
pub async fn update(conn: &mut PgConnection, workflow: &Workflow) -> Result<()> {
    sqlx::query!(
        "-- catalog.update_workflow
        update catalog.workflows
        set name = $2, description = $3, client_id = $4, target = $5,
            has_unpublished_changes = true
        where id = $1",
        workflow.id,
        workflow.name,
        workflow.description,
        workflow.client_id,
        workflow.target
    )
    .execute(conn)
    .await
    .map_err(|error| unknown_client(error, workflow.client_id))?;
    Ok(())
}

pub async fn size(conn: &mut PgConnection, id: Uuid) -> Result<Size> {
    Ok(sqlx::query_as!(
        Size,
        r#"-- catalog.workflow_size
        select s.steps as "steps!", t.transitions as "transitions!", s.bytes + t.bytes as "bytes!"
        from (
            select count(*) as steps, coalesce(sum(octet_length(name)
                + coalesce(octet_length(description), 0)
                + coalesce(octet_length(config::text), 0)), 0)::bigint as bytes
            from catalog.workflow_steps where workflow_id = $1 and removed_at is null
        ) s, (
            select count(*) as transitions,
                coalesce(sum(octet_length(condition::text)), 0)::bigint as bytes
            from catalog.workflow_transitions where workflow_id = $1
        ) t"#,
        id
    )
    .fetch_one(conn)
    .await?)
}

/// Says that a part of the workflow has changed: a new etag, and something to publish.
pub async fn touch(conn: &mut PgConnection, id: Uuid) -> Result<()> {
    sqlx::query!(
        "-- catalog.touch_workflow
        update catalog.workflows set has_unpublished_changes = true where id = $1",
        id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes `version` the current one, ready to start; the working copy equals it.
pub async fn set_published(conn: &mut PgConnection, id: Uuid, version: i32) -> Result<()> {
    sqlx::query!(
        "-- catalog.set_published
        update catalog.workflows
        set status = 'ACTIVE', version = $2, has_unpublished_changes = false
        where id = $1",
        id,
        version
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn set_status(conn: &mut PgConnection, id: Uuid, status: WorkflowStatus) -> Result<()> {
    sqlx::query!(
        "-- catalog.set_workflow_status
        update catalog.workflows set status = $2::text::catalog.workflow_status where id = $1",
        id,
        status.as_str()
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn delete(conn: &mut PgConnection, id: Uuid) -> Result<()> {
    let in_use = |what: &str| {
        let message = format!("{what} refer to the workflow {id}; archive it instead");
        Error::precondition("WORKFLOW_IN_USE", message)
    };
    sqlx::query!(
        "-- catalog.delete_workflow
        delete from catalog.workflows where id = $1",
        id
    )
    .execute(conn)
    .await
    .map_err(|error| {
        on_constraint(
            error,
            &[
                ("workflow_executions_workflow_id_fkey", &|| {
                    in_use("executions")
                }),
                ("execution_logs_step_id_fkey", &|| in_use("execution logs")),
                ("workflow_reports_workflow_id_fkey", &|| in_use("reports")),
            ],
        )
    })?;
    Ok(())
}

/// What starts of these workflows depend on; unknown ones are left out.
pub async fn start_targets(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<StartTarget>> {
    Ok(sqlx::query_as!(
        StartTarget,
        r#"-- catalog.start_targets
        select w.id, w.client_id, w.version, w.status::text as "status!",
            c.is_active as client_is_active
        from catalog.workflows w
        join catalog.clients c on c.id = w.client_id
        where w.id = any($1)"#,
        ids
    )
    .fetch_all(conn)
    .await?)
}

fn unknown_client(error: sqlx::Error, client_id: Uuid) -> Error {
    on_constraint(
        error,
        &[("workflows_client_id_fkey", &|| {
            Error::not_found("client", client_id)
        })],
    )
}
