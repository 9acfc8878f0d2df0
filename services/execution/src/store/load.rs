//! What the committer reads under an execution's lock. Invariant: locks are taken in id order,
//! executions before waits, waits before logs.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

/// An execution, locked.
#[derive(Debug)]
pub struct LockedExecution {
    pub id: Uuid,
    pub workflow_id: Uuid,
    pub client_id: Uuid,
    pub workflow_version: i32,
    pub status: String,
    pub started_at: DateTime<Utc>,
    pub simulation: bool,
    pub event_count: i32,
    pub revision: i64,
    /// The database's clock after the lock was taken.
    pub now: DateTime<Utc>,
}

/// An active branch: its wait and its log.
#[derive(Debug)]
pub struct BranchRow {
    pub id: Uuid,
    pub execution_id: Uuid,
    pub step_id: Uuid,
    pub kind: String,
    pub wake_at: Option<DateTime<Utc>>,
    pub job_type: Option<String>,
    pub held_by: Option<String>,
    pub lease_until: Option<DateTime<Utc>>,
    pub seq: i32,
    pub activation: i32,
    pub attempt: i32,
    pub arrived_at: DateTime<Utc>,
    pub queued_at: DateTime<Utc>,
    pub available_at: DateTime<Utc>,
    pub assigned_at: Option<DateTime<Utc>>,
    pub started_at: DateTime<Utc>,
    pub signal_name: Option<String>,
    pub correlation: Option<String>,
    pub error_code: Option<String>,
    pub item_of: Option<i32>,
    pub item: Option<Json<Map<String, Value>>>,
    pub lock_key: Option<String>,
    pub error: Option<String>,
}

/// Locks the executions named by id, or by one of their waits. Those that somebody else holds are left
/// out.
pub async fn lock_executions(
    conn: &mut PgConnection,
    ids: &[Uuid],
    wait_ids: &[Uuid],
) -> sqlx::Result<Vec<LockedExecution>> {
    sqlx::query_as!(
        LockedExecution,
        r#"-- execution.lock_executions
        select id, workflow_id, client_id, workflow_version, status::text as "status!", started_at,
               simulation, event_count, revision, clock_timestamp() as "now!"
        from execution.workflow_executions
        where id = any(array(
            select unnest($1::uuid[])
            union
            select execution_id from execution.waits where id = any($2)))
        order by id
        for no key update skip locked"#,
        ids,
        wait_ids,
    )
    .fetch_all(conn)
    .await
}

/// The database's clock.
pub async fn clock(conn: &mut PgConnection) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar!(
        r#"-- execution.clock
        select clock_timestamp() as "now!""#
    )
    .fetch_one(conn)
    .await
}

/// Which of these executions exist, locked or not.
pub async fn existing_executions(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "-- execution.existing_executions
        select id from execution.workflow_executions where id = any($1)",
        ids,
    )
    .fetch_all(conn)
    .await
}

/// Which of these logs exist, and whether their attempt is over.
pub async fn attempts(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<(Uuid, bool)>> {
    let rows = sqlx::query!(
        r#"-- execution.attempts
        select id, completed_at is not null as "over!"
        from execution.execution_logs where id = any($1)"#,
        ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.over)).collect())
}

/// The active branches of locked executions, in the order in which they began. Waits for leases that
/// are being given at this moment, which lock in the same order.
pub async fn branches(
    conn: &mut PgConnection,
    execution_ids: &[Uuid],
) -> sqlx::Result<Vec<BranchRow>> {
    sqlx::query_as!(
        BranchRow,
        r#"-- execution.branches
        select w.id, w.execution_id, w.step_id, w.kind, w.wake_at, w.job_type, w.held_by, w.lease_until,
               l.seq, l.activation, l.attempt, w.arrived_at, l.queued_at, l.available_at, l.assigned_at,
               l.started_at, w.signal_name, w.correlation, w.error_code, w.error,
               w.item_of, w.item as "item: Json<Map<String, Value>>", w.lock_key
        from execution.waits w
        join execution.execution_logs l on l.id = w.id
        where w.execution_id = any($1)
        order by w.execution_id, l.seq
        for no key update of w, l"#,
        execution_ids,
    )
    .fetch_all(conn)
    .await
}

/// What the engine remembers of executions.
pub async fn memories(
    conn: &mut PgConnection,
    execution_ids: &[Uuid],
) -> sqlx::Result<Vec<(Uuid, Value)>> {
    let rows = sqlx::query!(
        "-- execution.memories
        select execution_id, state from execution.execution_states where execution_id = any($1)",
        execution_ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.execution_id, row.state))
        .collect())
}

/// The input of executions.
pub async fn inputs(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> sqlx::Result<Vec<(Uuid, Option<Value>)>> {
    let rows = sqlx::query!(
        r#"-- execution.inputs
        select id, metadata -> 'inputData' as input from execution.workflow_executions
        where id = any($1)"#,
        ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.input)).collect())
}

/// The outputs of the named logs: execution, seq, output.
pub async fn outputs(
    conn: &mut PgConnection,
    execution_ids: &[Uuid],
    seqs: &[i32],
) -> sqlx::Result<Vec<(Uuid, i32, Value)>> {
    let rows = sqlx::query!(
        r#"-- execution.outputs
        select l.execution_id, l.seq, l.data as "data!"
        from unnest($1::uuid[], $2::int[]) as asked (execution_id, seq)
        join execution.execution_logs l using (execution_id, seq)
        where l.data is not null"#,
        execution_ids,
        seqs,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.execution_id, row.seq, row.data))
        .collect())
}

/// A stored definition.
pub async fn definition(
    conn: &mut PgConnection,
    workflow_id: Uuid,
    version: i32,
) -> sqlx::Result<Option<Value>> {
    sqlx::query_scalar!(
        "-- execution.definition
        select definition from execution.definitions where workflow_id = $1 and version = $2",
        workflow_id,
        version,
    )
    .fetch_optional(conn)
    .await
}

/// Keeps a published definition. Versions are immutable, so a second copy is the same.
pub async fn keep_definition(
    conn: &mut PgConnection,
    workflow_id: Uuid,
    version: i32,
    definition: &Value,
) -> sqlx::Result<()> {
    sqlx::query!(
        "-- execution.keep_definition
        insert into execution.definitions (workflow_id, version, definition)
        values ($1, $2, $3) on conflict do nothing",
        workflow_id,
        version,
        definition,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Waits whose instant had come by `now`, the earliest first. What is compared with has to be a value: with a
/// function that is called for each row, the index would be walked to its end.
pub async fn due_waits(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "-- execution.due_waits
        select id from execution.waits where wake_at <= $1
        order by wake_at limit $2",
        now,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Who has waited for a signal since before `now`, in the order of their ids. Name, correlation and workflow
/// restrict; the last two only if given.
pub async fn signal_waits(
    conn: &mut PgConnection,
    (name, correlation, workflow_id): (&str, Option<&str>, Option<Uuid>),
    (now, after): (DateTime<Utc>, Option<Uuid>),
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "-- execution.signal_waits
        select id from execution.waits
        where kind = 'signal' and signal_name = $1 and created_at <= $4
          and ($2::text is null or correlation = $2)
          and ($3::uuid is null or workflow_id = $3)
          and ($5::uuid is null or id > $5)
        order by id limit $6",
        name,
        correlation,
        workflow_id,
        now,
        after,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// How many milliseconds until the next instant after `now`, negative if it has passed meanwhile.
pub async fn next_wake(conn: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<Option<f64>> {
    sqlx::query_scalar!(
        r#"-- execution.next_wake
        select (extract(epoch from min(wake_at) - clock_timestamp()) * 1000)::float8 as ms
        from execution.waits where wake_at > $1"#,
        now,
    )
    .fetch_one(conn)
    .await
}
