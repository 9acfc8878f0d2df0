//! Broadcast signals that nobody has taken yet. Invariant: keeping and taking one of a name and correlation happen
//! under that key's lock, so that none is overlooked while another is taken.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

/// A signal that is kept, or is to be.
#[derive(Debug, Clone)]
pub struct KeptSignal {
    pub id: Uuid,
    pub name: String,
    pub correlation: String,
    /// Restricts who may take it.
    pub workflow_id: Option<Uuid>,
    pub data: Json<Map<String, Value>>,
}

/// What there is for whoever waits in a workflow.
#[derive(Debug)]
pub struct Offer {
    pub id: Uuid,
    pub name: String,
    pub correlation: String,
    /// Of who waits.
    pub workflow_id: Uuid,
    pub data: Json<Map<String, Value>>,
}

/// How many there are, of one key and of all, counted no further than is of interest.
#[derive(Debug)]
pub struct Counts {
    pub of_key: i64,
    pub of_all: i64,
}

/// Holds the keys until the transaction ends. Taken in one order by everybody.
pub async fn lock_keys(
    conn: &mut PgConnection,
    names: &[String],
    correlations: &[String],
) -> sqlx::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"-- execution.lock_signal_keys
        select pg_advisory_xact_lock(key)::text
        from (select distinct hashtextextended(name, 0) # hashtextextended(correlation, 1) as key
              from unnest($1::text[], $2::text[]) as keys (name, correlation)
              order by key) as ordered"#,
        names,
        correlations,
    )
    .fetch_all(conn)
    .await
    .map(drop)
}

/// Counts what is kept, up to `most_of_key` and `most_of_all`. Expired ones do not count for their key.
pub async fn count(
    conn: &mut PgConnection,
    signal: &KeptSignal,
    (most_of_key, most_of_all): (i64, i64),
) -> sqlx::Result<Counts> {
    sqlx::query_as!(
        Counts,
        r#"-- execution.count_kept_signals
        select (select count(*) from (
                    select from execution.kept_signals
                    where name = $1 and correlation = $2 and expires_at > clock_timestamp()
                    limit $3) k) as "of_key!",
               (select count(*) from (select from execution.kept_signals limit $4) k) as "of_all!""#,
        signal.name,
        signal.correlation,
        most_of_key,
        most_of_all,
    )
    .fetch_one(conn)
    .await
}

pub async fn keep(
    conn: &mut PgConnection,
    signal: &KeptSignal,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "-- execution.keep_signal
        insert into execution.kept_signals (id, name, correlation, workflow_id, data, expires_at)
        values ($1, $2, $3, $4, $5, $6)",
        signal.id,
        signal.name,
        signal.correlation,
        signal.workflow_id,
        Json(&signal.data.0) as _,
        expires_at,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// For each name, correlation and workflow the oldest signal that may be taken. The keys are locked.
pub async fn oldest(
    conn: &mut PgConnection,
    names: &[String],
    correlations: &[String],
    workflow_ids: &[Uuid],
) -> sqlx::Result<Vec<Offer>> {
    sqlx::query_as!(
        Offer,
        r#"-- execution.oldest_kept_signals
        select k.id, k.name, k.correlation, asked.workflow_id as "workflow_id!",
               k.data as "data: Json<Map<String, Value>>"
        from unnest($1::text[], $2::text[], $3::uuid[]) as asked (name, correlation, workflow_id)
        cross join lateral (
            select * from execution.kept_signals k
            where k.name = asked.name and k.correlation = asked.correlation
              and (k.workflow_id is null or k.workflow_id = asked.workflow_id)
              and k.expires_at > clock_timestamp()
            order by k.created_at, k.id
            limit 1) k"#,
        names,
        correlations,
        workflow_ids,
    )
    .fetch_all(conn)
    .await
}

/// Whether it is still there; with it whom it may go to.
pub async fn get(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<KeptSignal>> {
    sqlx::query_as!(
        KeptSignal,
        r#"-- execution.get_kept_signal
        select id, name, correlation, workflow_id, '{}'::json as "data!: Json<Map<String, Value>>"
        from execution.kept_signals where id = $1 and expires_at > clock_timestamp()"#,
        id,
    )
    .fetch_optional(conn)
    .await
}

pub async fn delete(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- execution.delete_kept_signals
        delete from execution.kept_signals where id = any($1)",
        ids,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Deletes what nobody may take any more, at most 1000 at once.
pub async fn forget_expired(conn: &mut PgConnection) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "-- execution.forget_kept_signals
        delete from execution.kept_signals where id = any(array(
            select id from execution.kept_signals where expires_at <= now() limit 1000))",
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
