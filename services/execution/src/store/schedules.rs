//! The schedules table, as callers see it. Invariant: a change by a caller counts up the revision.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

mod due;
mod list;

pub use due::{Due, Noted, has_open, lease, next_due, note, open_before, release};
pub use list::{Filter, list};

/// What callers say of a schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields {
    pub name: String,
    pub cron: String,
    pub time_zone: String,
    pub metadata: Option<Json<Map<String, Value>>>,
    pub overlap_policy: String,
    pub catch_up_ms: i64,
    pub is_paused: bool,
    pub start_at: Option<DateTime<Utc>>,
    pub end_at: Option<DateTime<Utc>>,
}

/// A row of `schedules`, with what it started last.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub id: Uuid,
    pub workflow_id: Uuid,
    pub name: String,
    pub cron: String,
    pub time_zone: String,
    pub metadata: Option<Json<Map<String, Value>>>,
    pub overlap_policy: String,
    pub catch_up_ms: i64,
    pub is_paused: bool,
    pub start_at: Option<DateTime<Utc>>,
    pub end_at: Option<DateTime<Utc>>,
    pub next_at: Option<DateTime<Utc>>,
    pub buffered_at: Option<DateTime<Utc>>,
    pub skipped_count: i64,
    pub missed_count: i64,
    pub last_error: Option<String>,
    pub last_error_at: Option<DateTime<Utc>>,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub revision: i64,
    pub last_execution_id: Option<Uuid>,
    pub last_started_at: Option<DateTime<Utc>>,
}

impl Schedule {
    pub fn fields(&self) -> Fields {
        Fields {
            name: self.name.clone(),
            cron: self.cron.clone(),
            time_zone: self.time_zone.clone(),
            metadata: self.metadata.clone(),
            overlap_policy: self.overlap_policy.clone(),
            catch_up_ms: self.catch_up_ms,
            is_paused: self.is_paused,
            start_at: self.start_at,
            end_at: self.end_at,
        }
    }
}

/// What does not change.
#[derive(Debug, Clone)]
pub struct New {
    pub id: Uuid,
    pub workflow_id: Uuid,
    pub created_by: String,
    pub now: DateTime<Utc>,
}

pub async fn insert(
    conn: &mut PgConnection,
    new: &New,
    fields: &Fields,
    next_at: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "-- execution.insert_schedule
        insert into execution.schedules (
            id, workflow_id, name, cron, time_zone, metadata, overlap_policy, catch_up_ms, is_paused, start_at,
            end_at, next_at, created_by, created_at, updated_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14)",
        new.id,
        new.workflow_id,
        fields.name,
        fields.cron,
        fields.time_zone,
        fields.metadata.as_ref() as Option<&Json<Map<String, Value>>>,
        fields.overlap_policy,
        fields.catch_up_ms,
        fields.is_paused,
        fields.start_at,
        fields.end_at,
        next_at,
        new.created_by,
        new.now,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// How many schedules a workflow has. Nobody adds another one until the transaction ends.
pub async fn count(conn: &mut PgConnection, workflow_id: Uuid) -> sqlx::Result<i64> {
    sqlx::query!(
        r#"-- execution.lock_schedules_of_workflow
        select pg_advisory_xact_lock(hashtextextended('schedules of ' || $1::uuid, 0)) as "locked: ()""#,
        workflow_id
    )
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query_scalar!(
        r#"-- execution.count_schedules
        select count(*) as "count!" from execution.schedules where workflow_id = $1"#,
        workflow_id
    )
    .fetch_one(conn)
    .await
}

pub async fn get(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Schedule>> {
    sqlx::query_as!(
        Schedule,
        r#"-- execution.get_schedule
        select s.id, s.workflow_id, name, cron, time_zone, s.metadata as "metadata: Json<Map<String, Value>>",
               overlap_policy, catch_up_ms, is_paused, start_at, end_at, next_at, buffered_at, skipped_count,
               missed_count, last_error, last_error_at, created_by, s.created_at, s.updated_at, s.revision,
               last.id as "last_execution_id?", last.started_at as "last_started_at?"
          from execution.schedules s
          left join lateral (
               select e.id, e.started_at from execution.workflow_executions e where e.schedule_id = s.id
                order by e.started_at desc, e.id desc limit 1) last on true
         where s.id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await
}

/// Lets nobody else change it until the transaction ends; false if there is none.
pub async fn lock(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<bool> {
    let found = sqlx::query_scalar!(
        "-- execution.lock_schedule
        select id from execution.schedules where id = $1 for no key update",
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

/// Takes over what a caller says. One that is paused buffers nothing.
pub async fn update(
    conn: &mut PgConnection,
    id: Uuid,
    fields: &Fields,
    (next_at, now): (Option<DateTime<Utc>>, DateTime<Utc>),
) -> sqlx::Result<()> {
    sqlx::query!(
        "-- execution.update_schedule
        update execution.schedules
           set name = $2, cron = $3, time_zone = $4, metadata = $5, overlap_policy = $6, catch_up_ms = $7,
               is_paused = $8, start_at = $9, end_at = $10, next_at = $11, updated_at = $12,
               buffered_at = case when $8 then null else buffered_at end, revision = revision + 1
         where id = $1",
        id,
        fields.name,
        fields.cron,
        fields.time_zone,
        fields.metadata.as_ref() as Option<&Json<Map<String, Value>>>,
        fields.overlap_policy,
        fields.catch_up_ms,
        fields.is_paused,
        fields.start_at,
        fields.end_at,
        next_at,
        now,
    )
    .execute(conn)
    .await
    .map(drop)
}

pub async fn delete(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "-- execution.delete_schedule
        delete from execution.schedules where id = $1",
        id
    )
    .execute(conn)
    .await
    .map(drop)
}
