//! What the committer writes: multi-row statements, one of each a commit.
//! Invariant: nothing here is called outside a transaction of the committer, or of an import, whose executions are over.

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

/// Writes what became of executions that were there, and those that are new.
pub async fn write_executions(
    conn: &mut PgConnection,
    moved: &MovedExecutions,
    new: &NewExecutions,
) -> sqlx::Result<()> {
    if moved.id.is_empty() && new.id.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- execution.write_executions
        with moved as (
            update execution.workflow_executions e
            set status = m.status::execution.execution_status, completed_at = m.completed_at,
                error = m.error, error_code = m.error_code, event_count = m.event_count,
                updated_at = m.updated_at, closing_as = m.closing_as::execution.execution_status,
                revision = e.revision + 1
            from unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::int[],
                $7::timestamptz[], $8::text[])
            as m (id, status, completed_at, error, error_code, event_count, updated_at, closing_as)
            where e.id = m.id)
        insert into execution.workflow_executions (
            id, workflow_id, client_id, status, started_at, completed_at, metadata, created_at, updated_at,
            workflow_version, started_by, error, error_code, simulation, event_count, closing_as,
            business_key, restarted_from_id, schedule_id, parent_execution_id)
        select id, workflow_id, client_id, status::execution.execution_status, started_at, completed_at,
            metadata, started_at, updated_at, workflow_version, started_by, error, error_code, simulation,
            event_count, closing_as::execution.execution_status, business_key, restarted_from_id, schedule_id,
            parent_execution_id
        from unnest(
            $9::uuid[], $10::uuid[], $11::uuid[], $12::text[], $13::timestamptz[], $14::timestamptz[],
            $15::jsonb[], $16::timestamptz[], $17::int[], $18::text[], $19::text[], $20::text[],
            $21::bool[], $22::int[], $23::text[], $24::text[], $25::uuid[], $26::uuid[], $27::uuid[])
        as new (id, workflow_id, client_id, status, started_at, completed_at, metadata, updated_at,
            workflow_version, started_by, error, error_code, simulation, event_count, closing_as,
            business_key, restarted_from_id, schedule_id, parent_execution_id)",
        &moved.id,
        &moved.status,
        &moved.completed_at as &[Option<DateTime<Utc>>],
        &moved.error as &[Option<String>],
        &moved.error_code as &[Option<String>],
        &moved.event_count,
        &moved.updated_at,
        &moved.closing_as as &[Option<String>],
        &new.id,
        &new.workflow_id,
        &new.client_id,
        &new.status,
        &new.started_at,
        &new.completed_at as &[Option<DateTime<Utc>>],
        &new.metadata as &[Option<Value>],
        &new.updated_at,
        &new.workflow_version,
        &new.started_by,
        &new.error as &[Option<String>],
        &new.error_code as &[Option<String>],
        &new.simulation,
        &new.event_count,
        &new.closing_as as &[Option<String>],
        &new.business_key as &[Option<String>],
        &new.restarted_from_id as &[Option<Uuid>],
        &new.schedule_id as &[Option<Uuid>],
        &new.parent_execution_id as &[Option<Uuid>],
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
    pub incident: Vec<bool>,
    pub taken_over: Vec<bool>,
}

/// Changes logs that were written by earlier commits, and adds new ones. Returns how many were changed: a
/// final log is never touched, so that fewer than given means that one was to change.
pub async fn write_logs(
    conn: &mut PgConnection,
    changed: &Logs,
    new: &Logs,
) -> sqlx::Result<usize> {
    if changed.id.is_empty() && new.id.is_empty() {
        return Ok(0);
    }
    let done = sqlx::query_scalar!(
        r#"-- execution.write_logs
        with changed as (
            update execution.execution_logs l
            set status = c.status::execution.step_status, message = c.message, data = c.data,
                error = c.error, error_code = c.error_code, started_at = c.started_at,
                completed_at = c.completed_at, assigned_at = c.assigned_at, route = c.route,
                will_retry = c.will_retry, event_seq = c.event_seq, available_at = c.available_at,
                taken_over = c.taken_over
            from unnest(
                $1::uuid[], $2::text[], $3::text[], $4::jsonb[], $5::text[], $6::text[],
                $7::timestamptz[], $8::timestamptz[], $9::timestamptz[], $10::jsonb[], $11::bool[],
                $12::int[], $13::timestamptz[], $36::bool[])
            as c (id, status, message, data, error, error_code, started_at, completed_at, assigned_at,
                route, will_retry, event_seq, available_at, taken_over)
            where l.id = c.id and l.event_seq is null
            returning 1),
        new as (
            insert into execution.execution_logs (
                id, execution_id, step_id, status, message, data, error, error_code, started_at,
                completed_at, seq, activation, attempt, queued_at, available_at, assigned_at, route,
                will_retry, event_seq, item_index, from_seq, incident, taken_over)
            select id, execution_id, step_id, status::execution.step_status, message, data, error,
                error_code, started_at, completed_at, seq, activation, attempt, queued_at, available_at,
                assigned_at, route, will_retry, event_seq, item_index, from_seq, incident, taken_over
            from unnest(
                $14::uuid[], $15::uuid[], $16::uuid[], $17::text[], $18::text[], $19::jsonb[],
                $20::text[], $21::text[], $22::timestamptz[], $23::timestamptz[], $24::int[], $25::int[],
                $26::int[], $27::timestamptz[], $28::timestamptz[], $29::timestamptz[], $30::jsonb[],
                $31::bool[], $32::int[], $33::int[], $34::int[], $35::bool[], $37::bool[])
            as new (id, execution_id, step_id, status, message, data, error, error_code, started_at,
                completed_at, seq, activation, attempt, queued_at, available_at, assigned_at, route,
                will_retry, event_seq, item_index, from_seq, incident, taken_over))
        select count(*)::int4 as "changed!" from changed"#,
        &changed.id,
        &changed.status,
        &changed.message as &[Option<String>],
        &changed.data as &[Option<Value>],
        &changed.error as &[Option<String>],
        &changed.error_code as &[Option<String>],
        &changed.started_at,
        &changed.completed_at as &[Option<DateTime<Utc>>],
        &changed.assigned_at as &[Option<DateTime<Utc>>],
        &changed.route as &[Option<Value>],
        &changed.will_retry,
        &changed.event_seq as &[Option<i32>],
        &changed.available_at,
        &new.id,
        &new.execution_id,
        &new.step_id,
        &new.status,
        &new.message as &[Option<String>],
        &new.data as &[Option<Value>],
        &new.error as &[Option<String>],
        &new.error_code as &[Option<String>],
        &new.started_at,
        &new.completed_at as &[Option<DateTime<Utc>>],
        &new.seq,
        &new.activation,
        &new.attempt,
        &new.queued_at,
        &new.available_at,
        &new.assigned_at as &[Option<DateTime<Utc>>],
        &new.route as &[Option<Value>],
        &new.will_retry,
        &new.event_seq as &[Option<i32>],
        &new.item_index as &[Option<i32>],
        &new.from_seq as &[Option<i32>],
        &new.incident,
        &changed.taken_over,
        &new.taken_over,
    )
    .fetch_one(conn)
    .await?;
    Ok(usize::try_from(done).expect("counts are not negative"))
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
    pub lease_until: Vec<Option<DateTime<Utc>>>,
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

/// Takes waits away, then adds new ones: a branch that waits for something else has a new row of the same id.
pub async fn write_waits(conn: &mut PgConnection, gone: &[Uuid], new: &Waits) -> sqlx::Result<()> {
    if gone.is_empty() && new.id.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- execution.write_waits
        with gone as (delete from execution.waits where id = any($1) returning 1)
        insert into execution.waits (
            id, execution_id, workflow_id, client_id, step_id, kind, created_at, arrived_at, wake_at,
            available_at, job_type, timeout_ms, held_by, task_group, assignees, signal_name, correlation,
            error_code, error, item_of, item, lock_key, lease_until)
        select id, execution_id, workflow_id, client_id, step_id, kind, created_at, arrived_at, wake_at,
            available_at, job_type, timeout_ms, held_by, task_group,
            array(select jsonb_array_elements_text(assignees)), signal_name, correlation, error_code, error,
            item_of, item, lock_key, lease_until
        from unnest(
            $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::text[], $8::timestamptz[],
            $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::text[], $13::bigint[],
            $14::text[], $15::text[], $16::jsonb[], $17::text[], $18::text[],
            $19::text[], $20::text[], $21::int[], $22::json[], $23::text[], $24::timestamptz[])
        as new (id, execution_id, workflow_id, client_id, step_id, kind, created_at, arrived_at, wake_at,
            available_at, job_type, timeout_ms, held_by, task_group, assignees, signal_name, correlation,
            error_code, error, item_of, item, lock_key, lease_until)
        -- Never false: it has the rows deleted before the first one is added.
        where (select count(*) from gone) >= 0",
        gone,
        &new.id,
        &new.execution_id,
        &new.workflow_id,
        &new.client_id,
        &new.step_id,
        &new.kind,
        &new.created_at,
        &new.arrived_at,
        &new.wake_at as &[Option<DateTime<Utc>>],
        &new.available_at,
        &new.job_type as &[Option<String>],
        &new.timeout_ms as &[Option<i64>],
        &new.held_by as &[Option<String>],
        &new.task_group as &[Option<String>],
        &new.assignees,
        &new.signal_name as &[Option<String>],
        &new.correlation as &[Option<String>],
        &new.error_code as &[Option<String>],
        &new.error as &[Option<String>],
        &new.item_of as &[Option<i32>],
        &new.item as &[Option<Value>],
        &new.lock_key as &[Option<String>],
        &new.lease_until as &[Option<DateTime<Utc>>],
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Keeps what the engine remembers of open executions, and forgets those that are over.
pub async fn write_memories(
    conn: &mut PgConnection,
    over: &[Uuid],
    open: &[Uuid],
    memories: &[Value],
) -> sqlx::Result<()> {
    if over.is_empty() && open.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- execution.write_memories
        with over as (delete from execution.execution_states where execution_id = any($1))
        insert into execution.execution_states (execution_id, state)
        select * from unnest($2::uuid[], $3::json[])
        on conflict (execution_id) do update set state = excluded.state",
        over,
        open,
        memories,
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
