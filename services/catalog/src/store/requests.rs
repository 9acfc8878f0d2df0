//! Calls that carried a request_id. Invariant: a row commits together with what its call made, so there
//! is none for a call that failed.

use chassis::idempotency::RequestKey;
use chassis::{Error, Result};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// Notes that the call makes `resource_id`, or finds what it made before: then the id of that. Waits for
/// a call with the same key that is still under way. A call without a key is always a new one.
pub async fn claim(
    conn: &mut PgConnection,
    key: Option<&RequestKey>,
    resource_id: Uuid,
) -> Result<Option<Uuid>> {
    let Some(key) = key else { return Ok(None) };
    let claimed = sqlx::query!(
        "-- catalog.claim_request
        insert into catalog.requests (caller, method, request_id, body_hash, resource_id)
        values ($1, $2, $3, $4, $5)
        on conflict (caller, method, request_id) do nothing",
        key.caller,
        key.method,
        key.id,
        key.body_hash,
        resource_id
    )
    .execute(&mut *conn)
    .await?;
    if claimed.rows_affected() == 1 {
        return Ok(None);
    }
    let first = sqlx::query!(
        "-- catalog.get_request
        select body_hash, resource_id from catalog.requests
        where caller = $1 and method = $2 and request_id = $3",
        key.caller,
        key.method,
        key.id
    )
    .fetch_optional(conn)
    .await?
    .ok_or_else(|| {
        // Purged between the two statements: seven days old to the second.
        Error::unavailable(
            "REQUEST_EXPIRED",
            "the request_id expired just now; try again",
        )
    })?;
    if first.body_hash != key.body_hash {
        return Err(RequestKey::reused());
    }
    Ok(Some(first.resource_id))
}

/// Forgets some of what was called before `horizon`; the next round forgets more.
pub async fn purge(conn: &mut PgConnection, horizon: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "-- catalog.purge_requests
        delete from catalog.requests where ctid = any(array(
            select ctid from catalog.requests where created_at < $1 limit 50000))",
        horizon
    )
    .execute(conn)
    .await?;
    Ok(())
}
