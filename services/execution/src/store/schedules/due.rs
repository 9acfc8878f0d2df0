//! The schedules table, as the loop sees it. Invariant: what the loop notes of a schedule holds only if nobody has
//! changed it since the loop read it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

/// A schedule that has something to do, and is leased for that.
#[derive(Debug, Clone)]
pub struct Due {
    pub id: Uuid,
    pub workflow_id: Uuid,
    pub cron: String,
    pub time_zone: String,
    pub metadata: Option<Json<Map<String, Value>>>,
    pub overlap_policy: String,
    pub catch_up_ms: i64,
    pub start_at: Option<DateTime<Utc>>,
    pub end_at: Option<DateTime<Utc>>,
    pub next_at: Option<DateTime<Utc>>,
    pub buffered_at: Option<DateTime<Utc>>,
    pub revision: i64,
    /// Nobody else takes it up until then. Tells this lease from later ones.
    pub attended_until: DateTime<Utc>,
    /// The database's clock.
    pub now: DateTime<Utc>,
}

/// Leases schedules whose instant has come, and those that have buffered one while no execution of theirs is open;
/// leaves out what another replica attends to. If this one dies, another one comes in half the time within which
/// instants are made up, at the latest.
pub async fn lease(
    conn: &mut PgConnection,
    limit: i64,
    longest: Duration,
) -> sqlx::Result<Vec<Due>> {
    sqlx::query_as!(
        Due,
        r#"-- execution.lease_schedules
        with due as (
               (select id from execution.schedules
                 where next_at <= statement_timestamp()
                   and (attended_until is null or attended_until <= statement_timestamp())
                 order by next_at limit $1)
               union all
               (select s.id from execution.schedules s
                 where buffered_at is not null
                   and (attended_until is null or attended_until <= statement_timestamp())
                   and not exists (select from execution.workflow_executions e
                                    where e.schedule_id = s.id and e.status in ('PENDING', 'RUNNING'))
                 order by buffered_at limit $1)),
             free as (
               -- Asked again: another replica may have been faster.
               select id from execution.schedules
                where id in (select id from due)
                  and (attended_until is null or attended_until <= statement_timestamp())
                limit $1
                  for no key update skip locked)
        update execution.schedules s
           set attended_until = clock_timestamp()
                              + least($2::float8, catch_up_ms / 2.0::float8) * interval '1 millisecond'
          from free
         where s.id = free.id
        returning s.id, workflow_id, cron, time_zone, metadata as "metadata: Json<Map<String, Value>>",
                  overlap_policy, catch_up_ms, start_at, end_at, next_at, buffered_at, revision,
                  attended_until as "attended_until!", clock_timestamp() as "now!""#,
        limit,
        longest.as_secs_f64() * 1000.0,
    )
    .fetch_all(conn)
    .await
}

/// Lets any replica take it up after a pause, if the lease is still this one.
pub async fn release(conn: &mut PgConnection, due: &Due, pause: Duration) -> sqlx::Result<()> {
    sqlx::query!(
        "-- execution.release_schedule
        update execution.schedules
           set attended_until = clock_timestamp() + $3 * interval '1 millisecond'
         where id = $1 and attended_until = $2",
        due.id,
        due.attended_until,
        pause.as_secs_f64() * 1000.0,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// How many milliseconds until the next instant of a schedule that nobody attends to, negative if it has passed.
pub async fn next_due(conn: &mut PgConnection) -> sqlx::Result<Option<f64>> {
    sqlx::query_scalar!(
        r#"-- execution.next_due_schedule
        select (extract(epoch from min(next_at) - clock_timestamp()) * 1000)::float8 as ms
          from execution.schedules
         where next_at is not null and (attended_until is null or attended_until <= statement_timestamp())"#,
    )
    .fetch_one(conn)
    .await
}

/// Whether an execution of a schedule is not over.
pub async fn has_open(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"-- execution.has_schedule_open_executions
        select exists (select from execution.workflow_executions
                        where schedule_id = $1 and status in ('PENDING', 'RUNNING')) as "open!""#,
        id,
    )
    .fetch_one(conn)
    .await
}

/// The executions of a schedule that are not over and started before `execution`, by their ids, at most `limit`
/// after `after`.
pub async fn open_before(
    conn: &mut PgConnection,
    id: Uuid,
    (execution, after): (Uuid, Uuid),
    limit: i64,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "-- execution.open_executions_of_schedule
        select id from execution.workflow_executions
         where schedule_id = $1 and status in ('PENDING', 'RUNNING') and id <> $2 and id > $3
           and started_at <= (select started_at from execution.workflow_executions where id = $2)
         order by id
         limit $4",
        id,
        execution,
        after,
        limit
    )
    .fetch_all(conn)
    .await
}

/// What became of instants.
#[derive(Debug, Default)]
pub struct Noted {
    pub next_at: Option<DateTime<Utc>>,
    pub buffered_at: Option<DateTime<Utc>>,
    pub skipped: i64,
    pub missed: i64,
    /// Why a start was refused, and for which instant.
    pub error: Option<(String, DateTime<Utc>)>,
    /// Whether one started: then an earlier error is of no interest any more.
    pub started: bool,
}

/// Notes it, which ends the lease; false if somebody else was faster, or changed the schedule.
pub async fn note(conn: &mut PgConnection, due: &Due, noted: &Noted) -> sqlx::Result<bool> {
    let (error, error_at) = noted.error.clone().unzip();
    let done = sqlx::query!(
        "-- execution.note_schedule
        update execution.schedules
           set next_at = $5, buffered_at = $6, skipped_count = skipped_count + $7,
               missed_count = missed_count + $8,
               last_error = case when $9 then null else coalesce($10, last_error) end,
               last_error_at = case when $9 then null else coalesce($11, last_error_at) end,
               attended_until = nullif(attended_until, $12)
         where id = $1 and revision = $2 and next_at is not distinct from $3
           and buffered_at is not distinct from $4",
        due.id,
        due.revision,
        due.next_at,
        due.buffered_at,
        noted.next_at,
        noted.buffered_at,
        noted.skipped,
        noted.missed,
        noted.started,
        error,
        error_at,
        due.attended_until,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}
