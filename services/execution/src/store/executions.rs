//! Reads executions. Invariant: nothing here writes.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

mod checks;
mod list;
pub mod span;

pub use checks::{count_open, waiting_though_over, without_reason};
pub use list::{Filter, Range, Waiting, list, places};

/// A row of `workflow_executions`.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    pub id: Uuid,
    pub workflow_id: Uuid,
    pub client_id: Uuid,
    /// A word of `execution.execution_status`.
    pub status: String,
    pub started_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
    pub metadata: Option<Json<Map<String, Value>>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub workflow_version: i32,
    pub error: Option<String>,
    pub error_code: Option<String>,
    /// What it will be once what was done is undone.
    pub closing_as: Option<String>,
    pub revision: i64,
    pub business_key: Option<String>,
    pub restarted_from_id: Option<Uuid>,
    pub schedule_id: Option<Uuid>,
    pub started_by: Option<String>,
    /// Which execution started it.
    pub parent_execution_id: Option<Uuid>,
    /// What it waits for, of the same moment; not read in lists.
    pub waits: Option<Json<Vec<Wait>>>,
}

/// A row of `waits`, as an execution shows it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Wait {
    pub id: Uuid,
    pub step_id: Uuid,
    pub kind: String,
    pub created_at: DateTime<Utc>,
    pub wake_at: Option<DateTime<Utc>>,
    pub available_at: DateTime<Utc>,
    pub job_type: Option<String>,
    pub held_by: Option<String>,
    pub task_group: Option<String>,
    pub assignees: Vec<String>,
    pub signal_name: Option<String>,
    pub correlation: Option<String>,
    pub error_code: Option<String>,
    pub error: Option<String>,
    pub lock_key: Option<String>,
}

pub async fn get(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Execution>> {
    Ok(get_all(conn, &[id]).await?.pop())
}

/// Those of `ids` that there are, in no order.
pub async fn get_all(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<Execution>> {
    sqlx::query_as!(
        Execution,
        r#"-- execution.get_executions
        select id, workflow_id, client_id, status::text as "status!", started_at, completed_at,
               metadata as "metadata: Json<Map<String, Value>>", created_at, updated_at,
               workflow_version, error, error_code, closing_as::text, revision,
               business_key, restarted_from_id, schedule_id, started_by, parent_execution_id,
               (select coalesce(json_agg(w order by w.created_at, w.id), '[]')
                  from (select id, step_id, kind, created_at, wake_at, available_at, job_type, held_by,
                               task_group, assignees, signal_name, correlation,
                               error_code, error, lock_key
                          from execution.waits
                         where execution_id = e.id) w) as "waits: Json<Vec<Wait>>"
          from execution.workflow_executions e
         where id = any($1)"#,
        ids
    )
    .fetch_all(conn)
    .await
}

/// What a watcher compares before it reads more.
pub async fn revision(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        r#"-- execution.get_execution_revision
        select revision from execution.workflow_executions where id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await
}

/// The same for many, in no order.
pub async fn revisions(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<Place>> {
    sqlx::query_as!(
        Place,
        r#"-- execution.get_execution_revisions
        select started_at, id, revision, status not in ('PENDING', 'RUNNING') as "is_over!"
          from execution.workflow_executions where id = any($1)"#,
        ids
    )
    .fetch_all(conn)
    .await
}

/// What an execution runs.
#[derive(Debug, Clone)]
pub struct Runs {
    pub workflow_id: Uuid,
    pub workflow_version: i32,
}

pub async fn runs(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Runs>> {
    sqlx::query_as!(
        Runs,
        r#"-- execution.get_executed_version
        select workflow_id, workflow_version from execution.workflow_executions where id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await
}

/// Where an execution stands in a list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    pub started_at: DateTime<Utc>,
    pub id: Uuid,
    pub revision: i64,
    pub is_over: bool,
}

/// What the events of an execution are made of, beside its logs.
#[derive(Debug, Clone)]
pub struct Told {
    pub id: Uuid,
    pub workflow_id: Uuid,
    pub client_id: Uuid,
    pub workflow_version: i32,
    pub status: String,
    pub started_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
    pub event_count: i32,
}

/// Those of `ids` that have events: unknown ones and simulations are left out.
pub async fn told(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<Told>> {
    sqlx::query_as!(
        Told,
        r#"-- execution.get_told_executions
        select id, workflow_id, client_id, workflow_version, status::text as "status!", started_at,
               completed_at, event_count
          from execution.workflow_executions
         where id = any($1) and not simulation
         order by id"#,
        ids
    )
    .fetch_all(conn)
    .await
}
