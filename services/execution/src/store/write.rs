//! What the committer writes: multi-row statements, one of each a commit.
//! Invariant: nothing here is called outside the committer's transaction.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

/// New executions, column by column.
#[derive(Debug, Default)]
pub struct NewExecutions {
    pub id: Vec<Uuid>,
    pub workflow_id: Vec<Uuid>,
    pub client_id: Vec<Uuid>,
    pub status: Vec<String>,
    pub started_at: Vec<DateTime<Utc>>,
    pub completed_at: Vec<Option<DateTime<Utc>>>,
    pub metadata: Vec<Option<Value>>,
    pub updated_at: Vec<DateTime<Utc>>,
    pub workflow_version: Vec<i32>,
    pub started_by: Vec<String>,
    pub error: Vec<Option<String>>,
    pub error_code: Vec<Option<String>>,
    pub simulation: Vec<bool>,
    pub event_count: Vec<i32>,
    pub closing_as: Vec<Option<String>>,
    pub business_key: Vec<Option<String>>,
    pub restarted_from_id: Vec<Option<Uuid>>,
    pub schedule_id: Vec<Option<Uuid>>,
    pub parent_execution_id: Vec<Option<Uuid>>,
}

pub async fn insert_executions(conn: &mut PgConnection, rows: &NewExecutions) -> sqlx::Result<()> {
    if rows.id.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- execution.insert_executions
        insert into execution.workflow_executions (
            id, workflow_id, client_id, status, started_at, completed_at, metadata, created_at, updated_at,
            workflow_version, started_by, error, error_code, simulation, event_count, closing_as,
            business_key, restarted_from_id, schedule_id, parent_execution_id)
        select id, workflow_id, client_id, status::execution.execution_status, started_at, completed_at,
            metadata, started_at, updated_at, workflow_version, started_by, error, error_code, simulation,
            event_count, closing_as::execution.execution_status, business_key, restarted_from_id, schedule_id,
            parent_execution_id
        from unnest(
            $1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[], $6::timestamptz[],
            $7::jsonb[], $8::timestamptz[], $9::int[], $10::text[], $11::text[], $12::text[],
            $13::bool[], $14::int[], $15::text[], $16::text[], $17::uuid[], $18::uuid[], $19::uuid[])
        as new (id, workflow_id, client_id, status, started_at, completed_at, metadata, updated_at,
            workflow_version, started_by, error, error_code, simulation, event_count, closing_as,
            business_key, restarted_from_id, schedule_id, parent_execution_id)",
        &rows.id,
        &rows.workflow_id,
        &rows.client_id,
        &rows.status,
        &rows.started_at,
        &rows.completed_at as &[Option<DateTime<Utc>>],
        &rows.metadata as &[Option<Value>],
        &rows.updated_at,
        &rows.workflow_version,
        &rows.started_by,
        &rows.error as &[Option<String>],
        &rows.error_code as &[Option<String>],
        &rows.simulation,
        &rows.event_count,
        &rows.closing_as as &[Option<String>],
        &rows.business_key as &[Option<String>],
        &rows.restarted_from_id as &[Option<Uuid>],
        &rows.schedule_id as &[Option<Uuid>],
        &rows.parent_execution_id as &[Option<Uuid>],
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Executions that moved, column by column.
#[derive(Debug, Default)]
pub struct MovedExecutions {
    pub id: Vec<Uuid>,
    pub status: Vec<String>,
    pub completed_at: Vec<Option<DateTime<Utc>>>,
    pub error: Vec<Option<String>>,
    pub error_code: Vec<Option<String>>,
    pub event_count: Vec<i32>,
    pub updated_at: Vec<DateTime<Utc>>,
    pub closing_as: Vec<Option<String>>,
}

pub async fn move_executions(conn: &mut PgConnection, rows: &MovedExecutions) -> sqlx::Result<()> {
    if rows.id.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- execution.move_executions
        update execution.workflow_executions e
        set status = moved.status::execution.execution_status, completed_at = moved.completed_at,
            error = moved.error, error_code = moved.error_code, event_count = moved.event_count,
            updated_at = moved.updated_at,
            closing_as = moved.closing_as::execution.execution_status, revision = e.revision + 1
        from unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::int[],
            $7::timestamptz[], $8::text[])
        as moved (id, status, completed_at, error, error_code, event_count, updated_at, closing_as)
        where e.id = moved.id",
        &rows.id,
        &rows.status,
        &rows.completed_at as &[Option<DateTime<Utc>>],
        &rows.error as &[Option<String>],
        &rows.error_code as &[Option<String>],
        &rows.event_count,
        &rows.updated_at,
        &rows.closing_as as &[Option<String>],
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Logs, column by column.
#[derive(Debug, Default)]
pub struct Logs {
    pub id: Vec<Uuid>,
    pub execution_id: Vec<Uuid>,
    pub step_id: Vec<Uuid>,
    pub status: Vec<String>,
    pub message: Vec<Option<String>>,
    pub data: Vec<Option<Value>>,
    pub error: Vec<Option<String>>,
    pub error_code: Vec<Option<String>>,
    pub started_at: Vec<DateTime<Utc>>,
    pub completed_at: Vec<Option<DateTime<Utc>>>,
    pub seq: Vec<i32>,
    pub activation: Vec<i32>,
    pub attempt: Vec<i32>,
    pub queued_at: Vec<DateTime<Utc>>,
    pub available_at: Vec<DateTime<Utc>>,
    pub assigned_at: Vec<Option<DateTime<Utc>>>,
    pub route: Vec<Option<Value>>,
    pub will_retry: Vec<bool>,
    pub event_seq: Vec<Option<i32>>,
    pub item_index: Vec<Option<i32>>,
    pub from_seq: Vec<Option<i32>>,
}

pub async fn insert_logs(conn: &mut PgConnection, rows: &Logs) -> sqlx::Result<()> {
    if rows.id.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- execution.insert_logs
        insert into execution.execution_logs (
            id, execution_id, step_id, status, message, data, error, error_code, started_at, completed_at,
            seq, activation, attempt, queued_at, available_at, assigned_at, route, will_retry, event_seq,
            item_index, from_seq)
        select id, execution_id, step_id, status::execution.step_status, message, data, error, error_code,
            started_at, completed_at, seq, activation, attempt, queued_at, available_at, assigned_at, route,
            will_retry, event_seq, item_index, from_seq
        from unnest(
            $1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::jsonb[], $7::text[], $8::text[],
            $9::timestamptz[], $10::timestamptz[], $11::int[], $12::int[], $13::int[], $14::timestamptz[],
            $15::timestamptz[], $16::timestamptz[], $17::jsonb[], $18::bool[], $19::int[],
            $20::int[], $21::int[])
        as new (id, execution_id, step_id, status, message, data, error, error_code, started_at,
            completed_at, seq, activation, attempt, queued_at, available_at, assigned_at, route, will_retry,
            event_seq, item_index, from_seq)",
        &rows.id,
        &rows.execution_id,
        &rows.step_id,
        &rows.status,
        &rows.message as &[Option<String>],
        &rows.data as &[Option<Value>],
        &rows.error as &[Option<String>],
        &rows.error_code as &[Option<String>],
        &rows.started_at,
        &rows.completed_at as &[Option<DateTime<Utc>>],
        &rows.seq,
        &rows.activation,
        &rows.attempt,
        &rows.queued_at,
        &rows.available_at,
        &rows.assigned_at as &[Option<DateTime<Utc>>],
        &rows.route as &[Option<Value>],
        &rows.will_retry,
        &rows.event_seq as &[Option<i32>],
        &rows.item_index as &[Option<i32>],
        &rows.from_seq as &[Option<i32>],
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Changes logs that were written by earlier commits. A final log is never touched: the count of
/// changed rows must be that of the rows given.
pub async fn update_logs(conn: &mut PgConnection, rows: &Logs) -> sqlx::Result<u64> {
    if rows.id.is_empty() {
        return Ok(0);
    }
    let done = sqlx::query!(
        "-- execution.update_logs
        update execution.execution_logs l
        set status = new.status::execution.step_status, message = new.message, data = new.data,
            error = new.error, error_code = new.error_code, started_at = new.started_at,
            completed_at = new.completed_at, assigned_at = new.assigned_at, route = new.route,
            will_retry = new.will_retry, event_seq = new.event_seq, available_at = new.available_at
        from unnest(
            $1::uuid[], $2::text[], $3::text[], $4::jsonb[], $5::text[], $6::text[], $7::timestamptz[],
            $8::timestamptz[], $9::timestamptz[], $10::jsonb[], $11::bool[], $12::int[], $13::timestamptz[])
        as new (id, status, message, data, error, error_code, started_at, completed_at, assigned_at, route,
            will_retry, event_seq, available_at)
        where l.id = new.id and l.event_seq is null",
        &rows.id,
        &rows.status,
        &rows.message as &[Option<String>],
        &rows.data as &[Option<Value>],
        &rows.error as &[Option<String>],
        &rows.error_code as &[Option<String>],
        &rows.started_at,
        &rows.completed_at as &[Option<DateTime<Utc>>],
        &rows.assigned_at as &[Option<DateTime<Utc>>],
        &rows.route as &[Option<Value>],
        &rows.will_retry,
        &rows.event_seq as &[Option<i32>],
        &rows.available_at,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// New waits, column by column.
#[derive(Debug, Default)]
pub struct Waits {
    pub id: Vec<Uuid>,
    pub execution_id: Vec<Uuid>,
    pub workflow_id: Vec<Uuid>,
    pub client_id: Vec<Uuid>,
    pub step_id: Vec<Uuid>,
    pub kind: Vec<String>,
    pub created_at: Vec<DateTime<Utc>>,
    pub arrived_at: Vec<DateTime<Utc>>,
    pub wake_at: Vec<Option<DateTime<Utc>>>,
    pub available_at: Vec<DateTime<Utc>>,
    pub job_type: Vec<Option<String>>,
    pub timeout_ms: Vec<Option<i64>>,
    pub held_by: Vec<Option<String>>,
    pub task_group: Vec<Option<String>>,
    /// JSON arrays: SQL has no arrays of arrays of different lengths.
    pub assignees: Vec<Value>,
    pub signal_name: Vec<Option<String>>,
    pub correlation: Vec<Option<String>>,
    pub error_code: Vec<Option<String>>,
    pub error: Vec<Option<String>>,
    pub item_of: Vec<Option<i32>>,
    pub item: Vec<Option<Value>>,
    pub lock_key: Vec<Option<String>>,
}

pub async fn insert_waits(conn: &mut PgConnection, rows: &Waits) -> sqlx::Result<()> {
    if rows.id.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- execution.insert_waits
        insert into execution.waits (
            id, execution_id, workflow_id, client_id, step_id, kind, created_at, arrived_at, wake_at,
            available_at, job_type, timeout_ms, held_by, task_group, assignees, signal_name, correlation,
            error_code, error, item_of, item, lock_key)
        select id, execution_id, workflow_id, client_id, step_id, kind, created_at, arrived_at, wake_at,
            available_at, job_type, timeout_ms, held_by, task_group,
            array(select jsonb_array_elements_text(assignees)), signal_name, correlation, error_code, error,
            item_of, item, lock_key
        from unnest(
            $1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::timestamptz[],
            $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::text[], $12::bigint[],
            $13::text[], $14::text[], $15::jsonb[], $16::text[], $17::text[],
            $18::text[], $19::text[], $20::int[], $21::json[], $22::text[])
        as new (id, execution_id, workflow_id, client_id, step_id, kind, created_at, arrived_at, wake_at,
            available_at, job_type, timeout_ms, held_by, task_group, assignees, signal_name, correlation,
            error_code, error, item_of, item, lock_key)",
        &rows.id,
        &rows.execution_id,
        &rows.workflow_id,
        &rows.client_id,
        &rows.step_id,
        &rows.kind,
        &rows.created_at,
        &rows.arrived_at,
        &rows.wake_at as &[Option<DateTime<Utc>>],
        &rows.available_at,
        &rows.job_type as &[Option<String>],
        &rows.timeout_ms as &[Option<i64>],
        &rows.held_by as &[Option<String>],
        &rows.task_group as &[Option<String>],
        &rows.assignees,
        &rows.signal_name as &[Option<String>],
        &rows.correlation as &[Option<String>],
        &rows.error_code as &[Option<String>],
        &rows.error as &[Option<String>],
        &rows.item_of as &[Option<i32>],
        &rows.item as &[Option<Value>],
        &rows.lock_key as &[Option<String>],
    )
    .execute(conn)
    .await
    .map(drop)
}

pub async fn delete_waits(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- execution.delete_waits
        delete from execution.waits where id = any($1)",
        ids,
    )
    .execute(conn)
    .await
    .map(drop)
}

pub async fn put_memories(
    conn: &mut PgConnection,
    execution_ids: &[Uuid],
    memories: &[Value],
) -> sqlx::Result<()> {
    if execution_ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- execution.put_memories
        insert into execution.execution_states (execution_id, state)
        select * from unnest($1::uuid[], $2::json[])
        on conflict (execution_id) do update set state = excluded.state",
        execution_ids,
        memories,
    )
    .execute(conn)
    .await
    .map(drop)
}

pub async fn delete_memories(conn: &mut PgConnection, execution_ids: &[Uuid]) -> sqlx::Result<()> {
    if execution_ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- execution.delete_memories
        delete from execution.execution_states where execution_id = any($1)",
        execution_ids,
    )
    .execute(conn)
    .await
    .map(drop)
}

pub async fn insert_outbox(
    conn: &mut PgConnection,
    ids: &[Uuid],
    payloads: &[Vec<u8>],
) -> sqlx::Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- execution.insert_outbox
        insert into execution.outbox (id, payload)
        select * from unnest($1::uuid[], $2::bytea[])",
        ids,
        payloads,
    )
    .execute(conn)
    .await
    .map(drop)
}
