//! The revocations table: sessions and API keys that have ended. Invariant: a row is written in the same
//! transaction as what ends the access.

use chassis::Result;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// Ends what these sessions and keys may do, wherever they have been verified.
pub async fn insert(conn: &mut PgConnection, ids: &[Uuid]) -> Result<()> {
    sqlx::query!(
        "-- catalog.insert_revocations
        insert into catalog.revocations (id)
        select * from unnest($1::uuid[])
        on conflict (id) do nothing",
        ids
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets what ended before `horizon`.
pub async fn purge(conn: &mut PgConnection, horizon: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "-- catalog.purge_revocations
        delete from catalog.revocations where revoked_at < $1",
        horizon
    )
    .execute(conn)
    .await?;
    Ok(())
}
