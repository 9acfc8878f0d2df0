//! Reads finished executions as they are replayed. Invariant: only real ones that went to an end of their
//! own: neither simulations nor cancelled ones.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use sqlx::types::Json;
use tokio_stream::Stream;
use uuid::Uuid;

/// A finished execution.
#[derive(Debug, Clone)]
pub struct Finished {
    pub id: Uuid,
    pub workflow_version: i32,
    /// A word of `execution.execution_status`.
    pub status: String,
    pub error_code: Option<String>,
    pub started_at: DateTime<Utc>,
}

/// Which executions are meant: of this workflow, started in this time.
#[derive(Debug, Clone, Copy)]
pub struct Of {
    pub workflow_id: Uuid,
    pub started_from: Option<DateTime<Utc>>,
    pub started_before: Option<DateTime<Utc>>,
}

/// The last `limit` executions that completed or failed, the youngest first.
pub async fn last(conn: &mut PgConnection, of: Of, limit: i64) -> sqlx::Result<Vec<Finished>> {
    sqlx::query_as!(
        Finished,
        r#"-- execution.list_finished_executions
        select id, workflow_version, status::text as "status!", error_code, started_at
          from execution.workflow_executions
         where workflow_id = $1
           and ($2::timestamptz is null or started_at >= $2)
           and ($3::timestamptz is null or started_at < $3)
           and status in ('COMPLETED', 'FAILED') and not simulation
         order by started_at desc, id desc
         limit $4"#,
        of.workflow_id,
        of.started_from,
        of.started_before,
        limit
    )
    .fetch_all(conn)
    .await
}

/// What an execution was started with.
pub async fn input(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Value>> {
    let input = sqlx::query_scalar!(
        r#"-- execution.get_input
        select metadata -> 'inputData' as input from execution.workflow_executions where id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(input.flatten())
}

/// One attempt as it went.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub step_id: Uuid,
    pub activation: i32,
    pub attempt: i32,
    /// A word of `execution.step_status`.
    pub status: String,
    pub message: Option<String>,
    pub data: Option<Json<Map<String, Value>>>,
    pub error: Option<String>,
    pub error_code: Option<String>,
    pub queued_at: DateTime<Utc>,
    pub available_at: DateTime<Utc>,
    pub assigned_at: Option<DateTime<Utc>>,
    pub completed_at: DateTime<Utc>,
    pub route: Option<Json<Map<String, Value>>>,
    pub will_retry: bool,
    pub taken_over: bool,
    pub event_seq: i32,
}

/// The attempts of a finished execution in the order in which they ended. A stream, because its reader stops
/// when they are too large.
pub fn attempts(
    conn: &mut PgConnection,
    id: Uuid,
) -> impl Stream<Item = sqlx::Result<Attempt>> + Send + '_ {
    sqlx::query_as!(
        Attempt,
        r#"-- execution.list_recorded_attempts
        select step_id as "step_id!", activation, attempt, status::text as "status!", message,
               data as "data: Json<Map<String, Value>>", error, error_code, queued_at,
               available_at, assigned_at, completed_at as "completed_at!",
               route as "route: Json<Map<String, Value>>", will_retry, taken_over,
               event_seq as "event_seq!"
          from execution.execution_logs
         where execution_id = $1 and step_id is not null and event_seq is not null
           and completed_at is not null
         order by event_seq"#,
        id
    )
    .fetch(conn)
}
