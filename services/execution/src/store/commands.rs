//! What executions ask of each other. Invariant: a row goes in the transaction that holds its effect, or that
//! found that it can have none.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

/// New rows, column by column.
#[derive(Debug, Default)]
pub struct NewCommands {
    pub id: Vec<Uuid>,
    pub kind: Vec<String>,
    pub execution_id: Vec<Uuid>,
    pub wait_id: Vec<Option<Uuid>>,
    pub payload: Vec<Option<Value>>,
    pub available_at: Vec<DateTime<Utc>>,
}

/// A row that is due.
#[derive(Debug, Clone)]
pub struct CommandRow {
    pub id: Uuid,
    pub kind: String,
    pub execution_id: Uuid,
    pub wait_id: Option<Uuid>,
    pub payload: Option<Value>,
}

pub async fn insert_commands(conn: &mut PgConnection, rows: &NewCommands) -> sqlx::Result<()> {
    if rows.id.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- execution.insert_commands
        insert into execution.commands (id, kind, execution_id, wait_id, payload, available_at)
        select * from unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::json[], $6::timestamptz[])",
        &rows.id,
        &rows.kind,
        &rows.execution_id,
        &rows.wait_id as &[Option<Uuid>],
        &rows.payload as &[Option<Value>],
        &rows.available_at,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// What is due, the oldest first, without those of `in_flight`: starts, or everything else. Due at the beginning of
/// the statement: with the clock of each row, the index would be walked to its end.
pub async fn due_commands(
    conn: &mut PgConnection,
    in_flight: &[Uuid],
    starts: bool,
    limit: i64,
) -> sqlx::Result<Vec<CommandRow>> {
    sqlx::query_as!(
        CommandRow,
        "-- execution.due_commands
        select id, kind, execution_id, wait_id, payload
        from execution.commands
        where available_at <= statement_timestamp() and id <> all($1) and (kind = 'start') = $3
        order by available_at, id limit $2",
        in_flight,
        limit,
        starts,
    )
    .fetch_all(conn)
    .await
}

/// Which of these rows are still there. Locks them; one that another transaction holds is left to it.
pub async fn lock_commands(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_scalar!(
        "-- execution.lock_commands
        select id from execution.commands where id = any($1) for update skip locked",
        ids,
    )
    .fetch_all(conn)
    .await
}

pub async fn delete_commands(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- execution.delete_commands
        delete from execution.commands where id = any($1)",
        ids,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Lets a row rest for as long as it has been due, so that it is tried ever more rarely: a second at least, a
/// minute at most.
pub async fn put_off_command(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "-- execution.put_off_command
        update execution.commands
        set available_at = clock_timestamp()
            + least(greatest(clock_timestamp() - created_at, interval '1 second'), interval '1 minute')
        where id = $1",
        id,
    )
    .execute(conn)
    .await
    .map(drop)
}
