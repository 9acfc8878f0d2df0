//! Calls that carried a request_id. Invariant: a row is written in the transaction of its effect, so a
//! call that failed leaves none; only a broadcast, which has many, writes one before all of them.

use chassis::idempotency::RequestKey;
use chassis::{Error, Result};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// An earlier call with the same key.
#[derive(Debug, Clone)]
pub struct EarlierRequest {
    pub caller: String,
    pub method: String,
    pub request_id: Uuid,
    pub body_hash: Vec<u8>,
    pub resource_id: Uuid,
}

/// The first call with a key.
#[derive(Debug)]
pub struct FirstCall {
    pub body_hash: Vec<u8>,
    pub resource_id: Uuid,
    /// By the database's clock.
    pub created_at: DateTime<Utc>,
}

pub async fn first_call(
    conn: &mut PgConnection,
    key: &RequestKey,
) -> sqlx::Result<Option<FirstCall>> {
    sqlx::query_as!(
        FirstCall,
        "-- execution.first_call
        select body_hash, resource_id, created_at from execution.requests
        where caller = $1 and method = $2 and request_id = $3",
        key.caller,
        key.method,
        key.id,
    )
    .fetch_optional(conn)
    .await
}

/// How many calls of a method a caller has made, with different ids.
pub async fn count_calls(conn: &mut PgConnection, caller: &str, method: &str) -> sqlx::Result<i32> {
    sqlx::query_scalar!(
        r#"-- execution.count_calls
        select count(*)::int4 as "count!" from execution.requests where caller = $1 and method = $2"#,
        caller,
        method,
    )
    .fetch_one(conn)
    .await
}

/// Looks up each key by itself: a join might be planned as a walk over all that were ever kept.
pub async fn find_requests(
    conn: &mut PgConnection,
    keys: &[&RequestKey],
) -> sqlx::Result<Vec<EarlierRequest>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let (callers, methods, ids) = columns(keys);
    sqlx::query_as!(
        EarlierRequest,
        "-- execution.find_requests
        select r.caller, r.method, r.request_id, r.body_hash, r.resource_id
        from unnest($1::text[], $2::text[], $3::uuid[]) as asked (caller, method, request_id)
        cross join lateral (
            select * from execution.requests r
            where r.caller = asked.caller and r.method = asked.method and r.request_id = asked.request_id
            limit 1) r",
        &callers,
        &methods,
        &ids,
    )
    .fetch_all(conn)
    .await
}

/// Keeps the keys of calls that took effect. Waits for a concurrent call with the same key; returns
/// fewer than given if one of them has committed meanwhile.
pub async fn keep_requests(
    conn: &mut PgConnection,
    requests: &[(&RequestKey, Uuid)],
) -> sqlx::Result<u64> {
    if requests.is_empty() {
        return Ok(0);
    }
    let keys: Vec<_> = requests.iter().map(|(key, _)| *key).collect();
    let (callers, methods, ids) = columns(&keys);
    let hashes: Vec<_> = keys.iter().map(|key| key.body_hash.clone()).collect();
    let resources: Vec<_> = requests.iter().map(|(_, resource)| *resource).collect();
    let done = sqlx::query!(
        "-- execution.keep_requests
        insert into execution.requests (caller, method, request_id, body_hash, resource_id)
        select * from unnest($1::text[], $2::text[], $3::uuid[], $4::bytea[], $5::uuid[])
        order by 1, 2, 3
        on conflict do nothing",
        &callers,
        &methods,
        &ids,
        &hashes,
        &resources,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// What an earlier call with the same key made. A call without a key has none.
pub async fn earlier(conn: &mut PgConnection, key: Option<&RequestKey>) -> Result<Option<Uuid>> {
    let Some(key) = key else { return Ok(None) };
    match find_requests(conn, &[key]).await?.first() {
        Some(earlier) if earlier.body_hash != key.body_hash => Err(RequestKey::reused()),
        earlier => Ok(earlier.map(|it| it.resource_id)),
    }
}

/// Keeps the key of a call that made this, if it has one.
pub async fn keep(conn: &mut PgConnection, key: Option<&RequestKey>, id: Uuid) -> Result<()> {
    if let Some(key) = key
        && keep_requests(conn, &[(key, id)]).await? == 0
    {
        // The same request has just been committed by somebody else: start over and find it.
        return Err(Error::conflict("a concurrent repetition came first"));
    }
    Ok(())
}

/// Forgets requests older than seven days, at most 10 000 at once.
pub async fn forget_requests(conn: &mut PgConnection) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "-- execution.forget_requests
        delete from execution.requests where ctid = any(array(
            select ctid from execution.requests where created_at < now() - interval '7 days'
            limit 10000))",
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

fn columns(keys: &[&RequestKey]) -> (Vec<String>, Vec<String>, Vec<Uuid>) {
    (
        keys.iter().map(|key| key.caller.clone()).collect(),
        keys.iter().map(|key| key.method.to_owned()).collect(),
        keys.iter().map(|key| key.id).collect(),
    )
}
