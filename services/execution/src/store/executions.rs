//! Reads executions. Invariant: nothing here writes; what is listed is in start order, so a page never repeats
//! or skips what an earlier page showed.

use chassis::order::Run;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use sqlx::types::Json;
use tokio_stream::Stream;
use uuid::Uuid;

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

/// What a list is restricted to; `None` restricts nothing.
#[derive(Debug, Default)]
pub struct Filter {
    pub workflow_id: Option<Uuid>,
    pub client_id: Option<Uuid>,
    pub status: Option<String>,
    pub started_from: Option<DateTime<Utc>>,
    pub started_before: Option<DateTime<Utc>>,
    pub simulation: Option<bool>,
    pub business_key: Option<String>,
    pub restarted_from_id: Option<Uuid>,
    pub schedule_id: Option<Uuid>,
    /// An object that the metadata without its input must contain.
    pub metadata: Option<Value>,
    /// One of these.
    pub ids: Option<Vec<Uuid>>,
}

pub async fn get(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Execution>> {
    sqlx::query_as!(
        Execution,
        r#"-- execution.get_execution
        select id, workflow_id, client_id, status::text as "status!", started_at, completed_at,
               metadata as "metadata: Json<Map<String, Value>>", created_at, updated_at,
               workflow_version, error, error_code, closing_as::text, revision, business_key, restarted_from_id,
                   schedule_id, started_by,
               (select coalesce(json_agg(w order by w.created_at, w.id), '[]')
                  from (select id, step_id, kind, created_at, wake_at, available_at, job_type, held_by,
                               task_group, assignees, signal_name, correlation,
                               error_code, error, lock_key
                          from execution.waits
                         where execution_id = e.id) w) as "waits: Json<Vec<Wait>>"
          from execution.workflow_executions e
         where id = $1"#,
        id
    )
    .fetch_optional(conn)
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

/// The executions with this metadata, unless they are more than `most`: few are found by the index, many
/// by walking down the list.
pub async fn with_metadata(
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

/// One statement a direction. Statuses are spelled out because an index on some of them is used only if the
/// planner sees a constant.
macro_rules! statement {
    ($conn:ident, $filter:ident, $limit:ident, $run:expr, $column:literal, $key:literal) => {
        match $run {
            Run::Up(after) => statement!($conn, $filter, $limit, after, $column, $key, ">", ""),
            Run::Down(after) => statement!($conn, $filter, $limit, after, $column, $key, "<", " desc"),
        }
    };
    (
        $conn:ident, $filter:ident, $limit:ident, $after:ident,
        $column:literal, $key:literal, $beyond:literal, $direction:literal
    ) => {{
        let (after_start, after_id) = $after.unzip();
        sqlx::query_as!(
            Execution,
            r#"-- execution.list_executions
            select id, workflow_id, client_id, status::text as "status!", started_at, completed_at,
                   metadata as "metadata: Json<Map<String, Value>>", created_at, updated_at,
                   workflow_version, error, error_code, closing_as::text, revision, business_key, restarted_from_id,
                   schedule_id, started_by,
                   null::json as "waits: Json<Vec<Wait>>"
              from execution.workflow_executions
             where ($1::uuid is null or workflow_id = $1)
               and ($2::uuid is null or client_id = $2)
               and ($3::text is null
                    or $3 = 'PENDING' and status = 'PENDING' or $3 = 'RUNNING' and status = 'RUNNING'
                    or $3 = 'COMPLETED' and status = 'COMPLETED' or $3 = 'FAILED' and status = 'FAILED'
                    or $3 = 'CANCELLED' and status = 'CANCELLED')
               and ($4::timestamptz is null or started_at >= $4)
               and ($5::timestamptz is null or started_at < $5)
               and ($6::bool is null or simulation = $6)
               and ($7::jsonb is null
                    or ((metadata - 'inputData') @> $7 and metadata - 'inputData' <> '{}'))
               and ($8::uuid[] is null or id = any($8))
               and ($9::timestamptz is null or ("# + $column + r#", id) "# + $beyond + r#" ("# + $key + r#", $10::uuid))
               and ($12::text is null or business_key = $12)
               and ($13::uuid is null or restarted_from_id = $13)
               and ($14::uuid is null or schedule_id = $14)
             order by "# + $column + $direction + r#", id"# + $direction + r#"
             limit $11"#,
            $filter.workflow_id,
            $filter.client_id,
            $filter.status,
            $filter.started_from,
            $filter.started_before,
            $filter.simulation,
            $filter.metadata,
            $filter.ids.as_deref(),
            after_start,
            after_id,
            $limit,
            $filter.business_key,
            $filter.restarted_from_id,
            $filter.schedule_id,
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
    statement!(conn, filter, limit, run, "started_at", "$9")
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

/// How many executions are not over.
pub async fn count_open(conn: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"-- execution.count_open_executions
        select count(*) as "count!"
          from execution.workflow_executions
         where status in ('PENDING', 'RUNNING')"#
    )
    .fetch_one(conn)
    .await
}

/// Open executions that wait for nothing: there are none unless something is broken.
pub async fn without_reason(conn: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"-- execution.list_executions_without_reason
        select e.id
          from execution.workflow_executions e
         where e.status in ('PENDING', 'RUNNING')
           and not exists (select from execution.waits w where w.execution_id = e.id)
         limit $1"#,
        limit
    )
    .fetch_all(conn)
    .await
}
