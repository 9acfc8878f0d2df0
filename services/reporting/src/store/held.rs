//! Events that arrived before their predecessors.
//! Invariant: what was acknowledged is counted, held here, or parked.

use chassis::Result;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::refused;

/// Where held events belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub execution_id: Uuid,
    pub first_seq: i32,
}

fn columns(places: &[Place]) -> (Vec<Uuid>, Vec<i32>) {
    places
        .iter()
        .map(|place| (place.execution_id, place.first_seq))
        .unzip()
}

/// A place may be named once only. Of events that begin alike the longer ones stay: they tell all that the
/// others do.
pub async fn hold(conn: &mut PgConnection, places: &[Place], payloads: &[Vec<u8>]) -> Result<()> {
    let (executions, seqs) = columns(places);
    sqlx::query!(
        r#"-- reporting.hold_events
        insert into reporting.held_events (execution_id, first_seq, payload)
        select h.execution_id, h.first_seq, h.payload
        from unnest($1::uuid[], $2::integer[], $3::bytea[]) as h (execution_id, first_seq, payload)
        order by h.execution_id, h.first_seq
        on conflict (execution_id, first_seq) do update set payload = excluded.payload
            where octet_length(excluded.payload) > octet_length(held_events.payload)"#,
        &executions,
        &seqs,
        payloads
    )
    .execute(conn)
    .await
    .map_err(refused)?;
    Ok(())
}

/// The payloads held for some executions.
pub async fn of(conn: &mut PgConnection, executions: &[Uuid]) -> Result<Vec<Vec<u8>>> {
    let payloads = sqlx::query_scalar!(
        r#"-- reporting.read_held_events
        select payload from reporting.held_events where execution_id = any($1)"#,
        executions
    )
    .fetch_all(conn)
    .await?;
    Ok(payloads)
}

pub async fn release(conn: &mut PgConnection, places: &[Place]) -> Result<()> {
    let (executions, seqs) = columns(places);
    sqlx::query!(
        r#"-- reporting.release_held_events
        delete from reporting.held_events h
        using unnest($1::uuid[], $2::integer[]) as p (execution_id, first_seq)
        where h.execution_id = p.execution_id and h.first_seq = p.first_seq"#,
        &executions,
        &seqs
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What has been held since before an instant, oldest first.
pub async fn older_than(
    conn: &mut PgConnection,
    instant: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Place>> {
    let places = sqlx::query_as!(
        Place,
        r#"-- reporting.list_old_held_events
        select execution_id, first_seq from reporting.held_events
        where held_at <= $1
        order by held_at, execution_id, first_seq
        limit $2"#,
        instant,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(places)
}

/// Whether any of these places still holds something.
pub async fn any_left(conn: &mut PgConnection, places: &[Place]) -> Result<bool> {
    let (executions, seqs) = columns(places);
    let left = sqlx::query_scalar!(
        r#"-- reporting.any_held_events_left
        select exists (
            select from reporting.held_events h
            join unnest($1::uuid[], $2::integer[]) as p (execution_id, first_seq)
                on h.execution_id = p.execution_id and h.first_seq = p.first_seq
        ) as "left!""#,
        &executions,
        &seqs
    )
    .fetch_one(conn)
    .await?;
    Ok(left)
}

/// Moves what is left in these places to the parked rows, under the ids given; returns those used.
pub async fn park(
    conn: &mut PgConnection,
    places: &[Place],
    row_ids: &[Uuid],
    error: &str,
) -> Result<Vec<Uuid>> {
    let (executions, seqs) = columns(places);
    let parked = sqlx::query_scalar!(
        r#"-- reporting.park_held_events
        with gone as (
            delete from reporting.held_events h
            using unnest($1::uuid[], $2::integer[], $3::uuid[]) as p (execution_id, first_seq, row_id)
            where h.execution_id = p.execution_id and h.first_seq = p.first_seq
            returning p.row_id, h.payload
        )
        insert into reporting.parked_rows (row_id, payload, error)
        select row_id, payload, $4 from gone
        on conflict (row_id) do nothing
        returning row_id"#,
        &executions,
        &seqs,
        row_ids,
        error
    )
    .fetch_all(conn)
    .await?;
    Ok(parked)
}
