//! Step events that reporting has not acknowledged. Invariant: a row is deleted only after its
//! acknowledgement, and no order among rows is relied upon: transactions commit in any order.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::postgres::types::PgInterval;
use uuid::Uuid;

/// A row that waits for its acknowledgement.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub id: Uuid,
    /// Bytes of its payload.
    pub size: i32,
}

/// The oldest rows of at least this age.
pub async fn waiting(
    conn: &mut PgConnection,
    age: Duration,
    limit: i64,
) -> sqlx::Result<Vec<Waiting>> {
    let age = PgInterval::try_from(age).expect("an age of whole microseconds");
    sqlx::query_as!(
        Waiting,
        r#"-- execution.list_waiting_outbox_rows
        select id, octet_length(payload) as "size!"
          from execution.outbox
         where created_at < clock_timestamp() - $1::interval
         order by created_at
         limit $2"#,
        age,
        limit
    )
    .fetch_all(conn)
    .await
}

/// The payload of each of `ids` that is still there.
pub async fn payloads(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<(Uuid, Vec<u8>)>> {
    let rows = sqlx::query!(
        r#"-- execution.get_outbox_payloads
        select id, payload from execution.outbox where id = any($1)"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.payload)).collect())
}

pub async fn delete(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<()> {
    sqlx::query!(
        r#"-- execution.delete_outbox_rows
        delete from execution.outbox where id = any($1)"#,
        ids
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The time, and the start of the oldest transaction that may still write. Read before [`oldest`]: what
/// commits in between is in the table by then. Needs a transaction of its own: sessions show their start
/// only to the role that logged in, which `set role` has left.
pub async fn oldest_writer(
    conn: &mut PgConnection,
) -> sqlx::Result<(DateTime<Utc>, DateTime<Utc>)> {
    sqlx::query!("set local role none")
        .execute(&mut *conn)
        .await?;
    // A young transaction counts even before its first write gives it an xid: it may have read the clock.
    let row = sqlx::query!(
        r#"-- execution.get_oldest_writer
        select now() as "now!", least(now(), min(xact_start)) as "writer!"
          from pg_stat_activity
         where datname = current_database() and usename = session_user
           and (backend_xid is not null or xact_start > now() - interval '1 minute')"#
    )
    .fetch_one(conn)
    .await?;
    Ok((row.now, row.writer))
}

/// When the oldest row was written.
pub async fn oldest(conn: &mut PgConnection) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        r#"-- execution.get_oldest_outbox_row
        select min(created_at) from execution.outbox"#
    )
    .fetch_one(conn)
    .await
}
