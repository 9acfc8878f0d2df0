//! Lists executions. Invariant: what is listed is in start order, so a page never repeats or skips what an earlier page
//! showed.

use chassis::order::Run;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use sqlx::types::Json;
use tokio_stream::Stream;
use uuid::Uuid;

use super::Wait;
use super::{Execution, Place};

/// What a list is restricted to; `None` restricts nothing.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub workflow_id: Option<Uuid>,
    pub client_id: Option<Uuid>,
    /// One of these.
    pub statuses: Option<Vec<String>>,
    pub started: Range,
    pub completed: Range,
    pub updated: Range,
    pub simulation: Option<bool>,
    pub error_code: Option<String>,
    pub waiting: Waiting,
    pub business_key: Option<String>,
    pub restarted_from_id: Option<Uuid>,
    pub schedule_id: Option<Uuid>,
    /// An object that the metadata without its input must contain.
    pub metadata: Option<Value>,
    pub parent_execution_id: Option<Uuid>,
    /// One of these.
    pub ids: Option<Vec<Uuid>>,
    /// Leaves out what is over.
    pub is_open: bool,
}

/// Instants from one on, and before another one.
#[derive(Debug, Clone, Default)]
pub struct Range {
    pub from: Option<DateTime<Utc>>,
    pub before: Option<DateTime<Utc>>,
}

/// What one of an execution's branches waits for.
#[derive(Debug, Clone, Default)]
pub struct Waiting {
    pub step_id: Option<Uuid>,
    /// As in `waits`.
    pub kind: Option<String>,
}

impl Filter {
    /// Looks up what is restricted by something that few executions have: these are found by their ids
    /// instead of by walking down the list. More than `most` are not few.
    pub async fn narrow(&mut self, conn: &mut PgConnection, most: i64) -> sqlx::Result<()> {
        if let Some(metadata) = &self.metadata {
            self.ids = with_metadata(conn, metadata, most).await?;
        }
        if self.waiting.step_id.is_some() || self.waiting.kind.is_some() {
            let found = waiting(conn, &self.waiting, most).await?;
            // The other restriction is checked again, whichever is looked up.
            self.ids = found.or_else(|| self.ids.take());
        }
        Ok(())
    }
}

/// The executions with this metadata, unless they are more than `most`: few are found by the index, many
/// by walking down the list.
async fn with_metadata(
    conn: &mut PgConnection,
    metadata: &Value,
    most: i64,
) -> sqlx::Result<Option<Vec<Uuid>>> {
    let ids = sqlx::query_scalar!(
        r#"-- execution.list_executions_with_metadata
        select id
          from execution.workflow_executions
         where (metadata - 'inputData') @> $1 and metadata - 'inputData' <> '{}'
         limit $2::int8 + 1"#,
        metadata,
        most
    )
    .fetch_all(conn)
    .await?;
    Ok(Some(ids).filter(|ids| ids.len() as i64 <= most))
}

/// The executions of which a branch waits so, unless they are more than `most`.
async fn waiting(
    conn: &mut PgConnection,
    waiting: &Waiting,
    most: i64,
) -> sqlx::Result<Option<Vec<Uuid>>> {
    let ids = sqlx::query_scalar!(
        r#"-- execution.list_waiting_executions
        select distinct execution_id
          from execution.waits
         where ($1::uuid is null or step_id = $1) and ($2::text is null or kind = $2)
         limit $3::int8 + 1"#,
        waiting.step_id,
        waiting.kind,
        most
    )
    .fetch_all(conn)
    .await?;
    Ok(Some(ids).filter(|ids| ids.len() as i64 <= most))
}

/// One statement a direction. Statuses are spelled out because an index on some of them is used only if the
/// planner sees a constant. What ended or moved before an instant began before it, too: that bounds the walk.
macro_rules! statement {
    ($row:ty, $columns:literal, $conn:ident, $filter:ident, $limit:ident, $run:expr) => {
        match $run {
            Run::Up(after) => statement!($row, $columns, $conn, $filter, $limit, after, ">", ""),
            Run::Down(after) => {
                statement!($row, $columns, $conn, $filter, $limit, after, "<", " desc")
            }
        }
    };
    (
        $row:ty, $columns:literal, $conn:ident, $filter:ident, $limit:ident, $after:ident,
        $beyond:literal, $direction:literal
    ) => {{
        let (after_start, after_id) = $after.unzip();
        sqlx::query_as!(
            $row,
            r#"-- execution.list_executions
            select "#
                + $columns
                + r#"
              from execution.workflow_executions e
             where ($1::uuid is null or workflow_id = $1)
               and ($2::uuid is null or client_id = $2)
               and ($3::text[] is null
                    or 'PENDING' = any($3) and status = 'PENDING'
                    or 'RUNNING' = any($3) and status = 'RUNNING'
                    or 'COMPLETED' = any($3) and status = 'COMPLETED'
                    or 'FAILED' = any($3) and status = 'FAILED'
                    or 'CANCELLED' = any($3) and status = 'CANCELLED')
               and ($4::timestamptz is null or started_at >= $4)
               and ($5::timestamptz is null or started_at < $5)
               and ($6::bool is null or simulation = $6)
               and ($7::jsonb is null
                    or ((metadata - 'inputData') @> $7 and metadata - 'inputData' <> '{}'))
               and ($8::uuid[] is null or id = any($8))
               and ($9::timestamptz is null or (started_at, id) "#
                + $beyond
                + r#" ($9, $10::uuid))
               and ($12::timestamptz is null or completed_at >= $12)
               and ($13::timestamptz is null or completed_at < $13 and started_at < $13)
               and ($14::timestamptz is null or updated_at >= $14)
               and ($15::timestamptz is null or updated_at < $15 and started_at < $15)
               and ($16::text is null or error_code = $16 and status <> 'COMPLETED')
               and ($17::uuid is null and $18::text is null
                    or exists (select from execution.waits w
                                where w.execution_id = e.id
                                  and ($17::uuid is null or w.step_id = $17)
                                  and ($18::text is null or w.kind = $18)))
               and ($23::uuid is null or parent_execution_id = $23)
               and (not $19::bool or status in ('PENDING', 'RUNNING'))
               and ($20::text is null or business_key = $20)
               and ($21::uuid is null or restarted_from_id = $21)
               and ($22::uuid is null or schedule_id = $22)
             order by started_at"#
                + $direction
                + r#", id"#
                + $direction
                + r#"
             limit $11"#,
            $filter.workflow_id,
            $filter.client_id,
            $filter.statuses.as_deref(),
            $filter.started.from,
            $filter.started.before,
            $filter.simulation,
            $filter.metadata,
            $filter.ids.as_deref(),
            after_start,
            after_id,
            $limit,
            $filter.completed.from,
            $filter.completed.before,
            $filter.updated.from,
            $filter.updated.before,
            $filter.error_code,
            $filter.waiting.step_id,
            $filter.waiting.kind,
            $filter.is_open,
            $filter.business_key,
            $filter.restarted_from_id,
            $filter.schedule_id,
            $filter.parent_execution_id
        )
        .fetch($conn)
    }};
}

/// At most `limit` executions, by start. A stream, because a page of large metadata is cut short by its
/// reader before it fills the memory.
pub fn list<'c>(
    conn: &'c mut PgConnection,
    filter: &Filter,
    run: Run<DateTime<Utc>>,
    limit: i64,
) -> impl Stream<Item = sqlx::Result<Execution>> + Send + 'c {
    statement!(
        Execution,
        r#"id, workflow_id, client_id, status::text as "status!", started_at, completed_at,
                   metadata as "metadata: Json<Map<String, Value>>", created_at, updated_at,
                   workflow_version, error, error_code, closing_as::text, revision,
                   business_key, restarted_from_id, schedule_id, started_by, parent_execution_id,
                   null::json as "waits: Json<Vec<Wait>>""#,
        conn,
        filter,
        limit,
        run
    )
}

/// The same list without what the executions are about.
pub fn places<'c>(
    conn: &'c mut PgConnection,
    filter: &Filter,
    run: Run<DateTime<Utc>>,
    limit: i64,
) -> impl Stream<Item = sqlx::Result<Place>> + Send + 'c {
    statement!(
        Place,
        r#"started_at, id, revision, status not in ('PENDING', 'RUNNING') as "is_over!""#,
        conn,
        filter,
        limit,
        run
    )
}
