//! Leases jobs. Invariant: a row is leased only while its `held_by` is null, under its lock, and `waits`
//! is touched before `execution_logs` as everywhere. An expired lease is not null: the engine takes it
//! back first, so an attempt has one holder.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

/// Jobs of one type of one client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Queue {
    pub client_id: Uuid,
    pub job_type: String,
}

/// Queues with a job that is due, of clients after `after` up to `through`, by client; about `limit`
/// clients. Hops over the index from client to client, however many jobs each has: the orders within say
/// to the planner what the limits alone do not.
pub async fn queues(
    conn: &mut PgConnection,
    job_types: &[String],
    after: Uuid,
    through: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<Queue>> {
    sqlx::query_as!(
        Queue,
        r#"-- execution.list_job_queues
        with recursive clients (client_id) as (
            select $2::uuid
            union all
            select next.client_id
              from clients c
             cross join lateral (
                select first.client_id
                  from unnest($1::text[]) t (job_type)
                 cross join lateral (
                    select w.client_id
                      from execution.waits w
                     where w.kind = 'job' and w.held_by is null and w.job_type = t.job_type
                       and w.client_id > c.client_id and w.client_id <= $3::uuid
                     order by w.client_id
                     limit 1) first
                 order by first.client_id
                 limit 1) next
        )
        select c.client_id as "client_id!", t.job_type as "job_type!"
          from clients c
         cross join unnest($1::text[]) t (job_type)
         cross join lateral (
            select
              from execution.waits w
             where w.kind = 'job' and w.held_by is null and w.job_type = t.job_type
               and w.client_id = c.client_id and w.available_at <= now()
             order by w.available_at
             limit 1) due
         where c.client_id > $2
         limit $4"#,
        job_types,
        after,
        through,
        limit
    )
    .fetch_all(conn)
    .await
}

/// A job that is locked for its lease.
#[derive(Debug, Clone)]
pub struct Locked {
    pub id: Uuid,
    pub execution_id: Uuid,
    pub workflow_id: Uuid,
    pub client_id: Uuid,
    pub step_id: Uuid,
    pub job_type: String,
    /// Fields beside the execution's data, within a foreach.
    pub item: Option<Json<Map<String, Value>>>,
}

/// Locks up to `quotas[i]` due jobs of queue `i`, oldest first, at most `limit` in all, without waiting
/// for those that somebody else is about to lease. `taken` are left out.
pub async fn lock_due(
    conn: &mut PgConnection,
    queues: &[Queue],
    quotas: &[i64],
    taken: &[Uuid],
    limit: i64,
) -> sqlx::Result<Vec<Locked>> {
    let clients: Vec<Uuid> = queues.iter().map(|queue| queue.client_id).collect();
    let job_types: Vec<String> = queues.iter().map(|queue| queue.job_type.clone()).collect();
    sqlx::query_as!(
        Locked,
        r#"-- execution.lock_due_jobs
        select due.id as "id!", due.execution_id as "execution_id!",
               due.workflow_id as "workflow_id!", due.client_id as "client_id!",
               due.step_id as "step_id!", due.job_type as "job_type!",
               due.item as "item: Json<Map<String, Value>>"
          from unnest($1::uuid[], $2::text[], $3::int8[]) q (client_id, job_type, quota)
         cross join lateral (
            select w.id, w.execution_id, w.workflow_id, w.client_id, w.step_id, w.job_type, w.item
              from execution.waits w
             where w.kind = 'job' and w.held_by is null and w.job_type = q.job_type
               and w.client_id = q.client_id and w.available_at <= now()
               and w.id <> all($4::uuid[])
             order by w.available_at, w.id
             limit q.quota
               for no key update skip locked) due
         limit $5"#,
        &clients,
        &job_types,
        quotas,
        taken,
        limit
    )
    .fetch_all(conn)
    .await
}

/// A job that is leased from now on.
#[derive(Debug, Clone)]
pub struct Lease {
    pub id: Uuid,
    pub until: DateTime<Utc>,
}

/// Leases locked jobs, each to its holder. The leases run from this statement, not from the start of its
/// transaction, which may have waited.
pub async fn lease(
    conn: &mut PgConnection,
    ids: &[Uuid],
    holders: &[String],
    lease_ms: &[i64],
) -> sqlx::Result<Vec<Lease>> {
    sqlx::query_as!(
        Lease,
        r#"-- execution.lease_jobs
        update execution.waits w
           set held_by = t.holder, lease_until = t.until,
               wake_at = least(t.until, t.now + w.timeout_ms * interval '1 millisecond')
          from (select u.id, u.holder, c.now, c.now + u.lease_ms * interval '1 millisecond' as until
                  from unnest($1::uuid[], $2::text[], $3::int8[]) u (id, holder, lease_ms)
                 cross join (select clock_timestamp() as now) c) t
         where w.id = t.id and w.held_by is null
        returning w.id, w.lease_until as "until!""#,
        ids,
        holders,
        lease_ms
    )
    .fetch_all(conn)
    .await
}

/// A job whose holder never saw it, and the version that it is of.
#[derive(Debug, Clone)]
pub struct Unseen {
    pub id: Uuid,
    pub workflow_id: Uuid,
    pub version: i32,
    pub step_id: Uuid,
}

/// Those of `ids` that are still held by the holders given with them, locked.
pub async fn lock_unseen(
    conn: &mut PgConnection,
    ids: &[Uuid],
    holders: &[String],
) -> sqlx::Result<Vec<Unseen>> {
    sqlx::query_as!(
        Unseen,
        r#"-- execution.lock_unseen_jobs
        select w.id, w.workflow_id, e.workflow_version as version, w.step_id
          from unnest($1::uuid[], $2::text[]) u (id, holder)
          join execution.waits w on w.id = u.id and w.held_by = u.holder
          join execution.workflow_executions e on e.id = w.execution_id
         where w.kind = 'job'
         order by w.id
           for no key update of w"#,
        ids,
        holders
    )
    .fetch_all(conn)
    .await
}

/// Queues locked jobs again as they were before they were leased; `queue_ms` is how long each may be queued.
pub async fn give_back(
    conn: &mut PgConnection,
    ids: &[Uuid],
    queue_ms: &[Option<i64>],
) -> sqlx::Result<()> {
    sqlx::query!(
        "-- execution.give_back_jobs
        with queued as (
            update execution.waits w
               set held_by = null, lease_until = null,
                   wake_at = w.available_at + u.queue_ms * interval '1 millisecond'
              from unnest($1::uuid[], $2::int8[]) u (id, queue_ms)
             where w.id = u.id
            returning w.id)
        update execution.execution_logs l
           set status = 'PENDING', assigned_at = null, started_at = l.queued_at
          from queued
         where l.id = queued.id and l.status = 'RUNNING'",
        ids,
        queue_ms as &[Option<i64>]
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Which attempt a leased job is.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub id: Uuid,
    pub activation: i32,
    pub attempt: i32,
}

/// Says in the logs of leased jobs that work has begun.
pub async fn begin_work(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<Attempt>> {
    sqlx::query_as!(
        Attempt,
        r#"-- execution.begin_work
        update execution.execution_logs l
           set status = 'RUNNING', assigned_at = t.now, started_at = t.now
          from (select clock_timestamp() as now) t
         where l.id = any($1) and l.status = 'PENDING'
        returning l.id, l.activation, l.attempt"#,
        ids
    )
    .fetch_all(conn)
    .await
}

/// A job that somebody holds.
#[derive(Debug, Clone)]
pub struct Held {
    pub job: Locked,
    pub until: DateTime<Utc>,
    pub attempt: Attempt,
}

/// Extends leases that have not ended; the steps' timeouts stay where they are. What is not held by its
/// holder is left out.
pub async fn extend(
    conn: &mut PgConnection,
    ids: &[Uuid],
    holders: &[String],
    lease_ms: &[i64],
) -> sqlx::Result<Vec<Held>> {
    let rows = sqlx::query!(
        r#"-- execution.extend_jobs
        update execution.waits w
           set lease_until = t.until,
               wake_at = least(t.until, l.started_at + w.timeout_ms * interval '1 millisecond')
          from execution.execution_logs l,
               (select u.id, u.holder,
                       clock_timestamp() + u.lease_ms * interval '1 millisecond' as until
                  from unnest($1::uuid[], $2::text[], $3::int8[]) u (id, holder, lease_ms)) t
         where w.id = t.id and l.id = w.id and w.kind = 'job' and w.held_by = t.holder
           and w.lease_until > clock_timestamp()
        returning w.id, w.execution_id, w.workflow_id, w.client_id, w.step_id,
                  w.job_type as "job_type!", w.lease_until as "until!", l.activation, l.attempt,
                  w.item as "item: Json<Map<String, Value>>""#,
        ids,
        holders,
        lease_ms
    )
    .fetch_all(conn)
    .await?;
    let held = rows.into_iter().map(|row| Held {
        job: Locked {
            id: row.id,
            execution_id: row.execution_id,
            workflow_id: row.workflow_id,
            client_id: row.client_id,
            step_id: row.step_id,
            job_type: row.job_type,
            item: row.item,
        },
        until: row.until,
        attempt: Attempt {
            id: row.id,
            activation: row.activation,
            attempt: row.attempt,
        },
    });
    Ok(held.collect())
}

/// Whether the failure of each attempt is followed by another one, without an operator; attempts that there
/// are not are left out.
pub async fn will_retry(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<(Uuid, bool)>> {
    let rows = sqlx::query!(
        r#"-- execution.get_will_retry
        select l.id, l.will_retry and not exists (
                   select from execution.waits w
                    where w.execution_id = l.execution_id and w.step_id = l.step_id
                      and w.kind = 'incident') as "will_retry!"
          from execution.execution_logs l where l.id = any($1)"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.id, row.will_retry))
        .collect())
}
