//! Reads executions as event logs tell of them. Invariant: nothing of what they are about is read.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// An execution.
#[derive(Debug, Clone)]
pub struct Case {
    pub id: Uuid,
    pub workflow_id: Uuid,
    pub workflow_version: i32,
    /// A word of `execution.execution_status`.
    pub status: String,
    pub started_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
    pub business_key: Option<String>,
}

/// Those of `ids` that there are, by start.
pub async fn cases(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<Case>> {
    sqlx::query_as!(
        Case,
        r#"-- execution.get_exported_executions
        select id, workflow_id, workflow_version, status::text as "status!", started_at, completed_at,
               business_key
          from execution.workflow_executions
         where id = any($1)
         order by started_at, id"#,
        ids
    )
    .fetch_all(conn)
    .await
}

/// An attempt at a step.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub execution_id: Uuid,
    pub step_id: Uuid,
    /// A word of `execution.step_status`.
    pub status: String,
    pub activation: i32,
    pub attempt: i32,
    pub queued_at: DateTime<Utc>,
    pub available_at: DateTime<Utc>,
    pub assigned_at: Option<DateTime<Utc>>,
    pub completed_at: Option<DateTime<Utc>>,
    pub error_code: Option<String>,
    /// How its message begins: far enough to tell who did it.
    pub message: Option<String>,
}

/// The attempts of `executions`, in the order in which they ended; what is open comes last.
pub async fn attempts(conn: &mut PgConnection, executions: &[Uuid]) -> sqlx::Result<Vec<Attempt>> {
    sqlx::query_as!(
        Attempt,
        r#"-- execution.list_exported_attempts
        select execution_id, step_id as "step_id!", status::text as "status!", activation, attempt,
               queued_at, available_at, assigned_at, completed_at, error_code, left(message, 1000) as message
          from execution.execution_logs
         where execution_id = any($1) and step_id is not null
         order by execution_id, event_seq nulls last, seq"#,
        executions
    )
    .fetch_all(conn)
    .await
}
