//! Bulk operations. Invariant: progress is written only by who holds the lease, and only while the operation is
//! under way, so nothing is counted twice and a final state never changes.

use chassis::order::Run;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use crate::bulk::Deed;
use crate::engine::Actor;

/// A row of `bulk_operations`.
#[derive(Debug, Clone)]
pub struct Operation {
    pub id: Uuid,
    pub action: Json<Deed>,
    pub filter: String,
    pub max_per_second: i32,
    pub dry_run: bool,
    pub state: String,
    pub actor: Json<Actor>,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub completed_at: Option<DateTime<Utc>>,
    pub cursor_started_at: Option<DateTime<Utc>>,
    pub cursor_id: Option<Uuid>,
    pub processed: i64,
    pub succeeded: i64,
    pub skipped: i64,
    pub failed: i64,
    pub errors: Json<Vec<Fault>>,
    pub error: Option<String>,
}

/// An execution that it could not be done to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    pub execution_id: Uuid,
    pub reason: String,
    pub message: String,
}

/// Executions that are done together. Kept before that, so that another try does the same ones.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    pub executions: Vec<PageTarget>,
    /// Start and id of the last one, if there is one.
    pub last: Option<(DateTime<Utc>, Uuid)>,
    /// No other page follows.
    pub is_last: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageTarget {
    pub id: Uuid,
    /// Its incidents, if those are what is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<Uuid>,
}

/// An operation that is to be kept.
#[derive(Debug)]
pub struct NewOperation<'a> {
    pub id: Uuid,
    pub deed: &'a Deed,
    pub filter: &'a str,
    pub max_per_second: i32,
    pub dry_run: bool,
    pub actor: &'a Actor,
    pub created_by: &'a str,
}

/// One statement that ends with rows of operations.
macro_rules! operations {
    ($before:literal, $action:literal, $from:literal, $after:literal $(, $value:expr)*) => {
        sqlx::query_as!(
            Operation,
            $before + r#"
            select id, "# + $action + r#" as "action!: Json<Deed>", filter, max_per_second, dry_run, state,
                   actor as "actor: Json<Actor>", created_by, created_at, started_at, completed_at,
                   cursor_started_at, cursor_id, processed, succeeded, skipped, failed,
                   errors as "errors: Json<Vec<Fault>>", error
              from "# + $from + " " + $after
            $(, $value)*
        )
    };
}

/// How many operations are not over. No other one can be kept until the transaction ends.
pub async fn count_open(conn: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query!(
        "-- execution.lock_bulk_operations
        lock table execution.bulk_operations in share row exclusive mode"
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query_scalar!(
        r#"-- execution.count_open_bulk_operations
        select count(*) as "count!" from execution.bulk_operations where state in ('PENDING', 'RUNNING')"#
    )
    .fetch_one(conn)
    .await
}

pub async fn insert(conn: &mut PgConnection, new: &NewOperation<'_>) -> sqlx::Result<()> {
    sqlx::query!(
        "-- execution.insert_bulk_operation
        insert into execution.bulk_operations
            (id, action, filter, max_per_second, dry_run, actor, created_by)
        values ($1, $2, $3, $4, $5, $6, $7)",
        new.id,
        Json(new.deed) as _,
        new.filter,
        new.max_per_second,
        new.dry_run,
        Json(new.actor) as _,
        new.created_by
    )
    .execute(conn)
    .await
    .map(drop)
}

pub async fn get(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Operation>> {
    operations!(
        "-- execution.get_bulk_operation",
        "action",
        "execution.bulk_operations",
        "where id = $1",
        id
    )
    .fetch_optional(conn)
    .await
}

/// At most `limit` operations, by creation, without what signals bring. `states` restricts if given.
pub async fn list(
    conn: &mut PgConnection,
    states: Option<&[String]>,
    run: Run<DateTime<Utc>>,
    limit: i64,
) -> sqlx::Result<Vec<Operation>> {
    match run {
        Run::Up(after) => {
            let (after_created, after_id) = after.unzip();
            operations!(
                "-- execution.list_bulk_operations_oldest_first",
                "(action::jsonb - 'data')::json",
                "execution.bulk_operations",
                "where ($1::text[] is null or state = any($1))
                   and ($2::timestamptz is null or (created_at, id) > ($2, $3::uuid))
                 order by created_at, id limit $4",
                states,
                after_created,
                after_id,
                limit
            )
            .fetch_all(conn)
            .await
        }
        Run::Down(after) => {
            let (after_created, after_id) = after.unzip();
            operations!(
                "-- execution.list_bulk_operations",
                "(action::jsonb - 'data')::json",
                "execution.bulk_operations",
                "where ($1::text[] is null or state = any($1))
                   and ($2::timestamptz is null or (created_at, id) < ($2, $3::uuid))
                 order by created_at desc, id desc limit $4",
                states,
                after_created,
                after_id,
                limit
            )
            .fetch_all(conn)
            .await
        }
    }
}

/// Takes the oldest operation that is to be done and that nobody works on.
pub async fn take(conn: &mut PgConnection, holder: Uuid) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!(
        "-- execution.take_bulk_operation
        update execution.bulk_operations
           set held_by = $1, lease_until = clock_timestamp() + interval '30 seconds', state = 'RUNNING',
               started_at = coalesce(started_at, clock_timestamp())
         where id = (select id from execution.bulk_operations
                      where state in ('PENDING', 'RUNNING')
                        and (lease_until is null or lease_until < clock_timestamp())
                      order by created_at limit 1 for no key update skip locked)
        returning id",
        holder
    )
    .fetch_optional(conn)
    .await
}

/// The operation, and its lease for another while; nothing if it is over or somebody else's.
pub async fn renew(
    conn: &mut PgConnection,
    id: Uuid,
    holder: Uuid,
) -> sqlx::Result<Option<Operation>> {
    operations!(
        "-- execution.renew_bulk_operation
        with renewed as (
            update execution.bulk_operations
               set lease_until = clock_timestamp() + interval '30 seconds'
             where id = $1 and held_by = $2 and state = 'RUNNING'
            returning *)",
        "action",
        "renewed",
        "",
        id,
        holder
    )
    .fetch_optional(conn)
    .await
}

/// The page that was begun and is not counted.
pub async fn page(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Page>> {
    let page = sqlx::query_scalar!(
        r#"-- execution.get_bulk_page
        select page as "page: Json<Page>" from execution.bulk_operations where id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(page.flatten().map(|Json(page)| page))
}

/// Keeps what is about to be done; false if the operation is over or somebody else's.
pub async fn keep_page(
    conn: &mut PgConnection,
    (id, holder): (Uuid, Uuid),
    page: &Page,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "-- execution.keep_bulk_page
        update execution.bulk_operations set page = $3
         where id = $1 and held_by = $2 and state = 'RUNNING'",
        id,
        holder,
        Json(page) as _
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives an operation back before its end.
pub async fn release(conn: &mut PgConnection, id: Uuid, holder: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "-- execution.release_bulk_operation
        update execution.bulk_operations set held_by = null, lease_until = null
         where id = $1 and held_by = $2 and state = 'RUNNING'",
        id,
        holder
    )
    .execute(conn)
    .await
    .map(drop)
}

/// What one page came to.
#[derive(Debug, Default)]
pub struct Progress {
    /// Start and id of the last execution of the page, if there was one.
    pub cursor: Option<(DateTime<Utc>, Uuid)>,
    pub processed: i64,
    pub succeeded: i64,
    pub skipped: i64,
    pub failed: i64,
    /// All that are kept, those of earlier pages included.
    pub errors: Vec<Fault>,
    /// The state that it ends with.
    pub end: Option<&'static str>,
    pub error: Option<String>,
}

/// Counts a page and forgets it; false if the operation is over or somebody else's: then nothing is counted.
pub async fn advance(
    conn: &mut PgConnection,
    (id, holder): (Uuid, Uuid),
    progress: &Progress,
) -> sqlx::Result<bool> {
    let (started_at, last_id) = progress.cursor.unzip();
    let done = sqlx::query!(
        "-- execution.advance_bulk_operation
        update execution.bulk_operations
           set cursor_started_at = coalesce($3, cursor_started_at), cursor_id = coalesce($4, cursor_id),
               processed = processed + $5, succeeded = succeeded + $6, skipped = skipped + $7,
               failed = failed + $8, errors = $9, page = null, state = coalesce($10, state), error = $11,
               completed_at = case when $10 is not null then clock_timestamp() end,
               lease_until = clock_timestamp() + interval '30 seconds'
         where id = $1 and held_by = $2 and state = 'RUNNING'",
        id,
        holder,
        started_at,
        last_id,
        progress.processed,
        progress.succeeded,
        progress.skipped,
        progress.failed,
        Json(&progress.errors) as _,
        progress.end,
        progress.error
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends an operation on request; what is over stays as it is.
pub async fn cancel(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "-- execution.cancel_bulk_operation
        update execution.bulk_operations
           set state = 'CANCELLED', completed_at = clock_timestamp(), page = null
         where id = $1 and state in ('PENDING', 'RUNNING')",
        id
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Execution and id of the incidents of these executions, at one step if it is given.
pub async fn incidents(
    conn: &mut PgConnection,
    execution_ids: &[Uuid],
    step_id: Option<Uuid>,
) -> sqlx::Result<Vec<(Uuid, Uuid)>> {
    let rows = sqlx::query!(
        "-- execution.list_incidents
        select execution_id, id from execution.waits
         where execution_id = any($1) and kind = 'incident' and ($2::uuid is null or step_id = $2)
         order by id",
        execution_ids,
        step_id
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.execution_id, row.id))
        .collect())
}

/// Forgets operations that have been over for 90 days.
pub async fn forget(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!(
        "-- execution.forget_bulk_operations
        delete from execution.bulk_operations
         where completed_at < clock_timestamp() - interval '90 days'"
    )
    .execute(conn)
    .await
    .map(drop)
}
