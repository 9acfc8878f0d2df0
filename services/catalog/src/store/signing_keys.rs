//! The signing_keys table. Invariant: the private half is in it only sealed with the master key.

use chassis::Result;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// A key that signs access tokens.
#[derive(Debug, Clone)]
pub struct StoredKey {
    pub id: String,
    pub public_key: Vec<u8>,
    pub sealed_private_key: Vec<u8>,
    pub created_at: DateTime<Utc>,
}

pub async fn insert(conn: &mut PgConnection, key: &StoredKey) -> Result<()> {
    sqlx::query!(
        "-- catalog.insert_signing_key
        insert into catalog.signing_keys (id, public_key, sealed_private_key, created_at)
        values ($1, $2, $3, $4)",
        key.id,
        key.public_key,
        key.sealed_private_key,
        key.created_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn delete(conn: &mut PgConnection, ids: &[String]) -> Result<()> {
    sqlx::query!(
        "-- catalog.delete_signing_keys
        delete from catalog.signing_keys where id = any($1)",
        ids
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Every key, the newest first.
pub async fn list(conn: &mut PgConnection) -> Result<Vec<StoredKey>> {
    Ok(sqlx::query_as!(
        StoredKey,
        "-- catalog.list_signing_keys
        select id, public_key, sealed_private_key, created_at from catalog.signing_keys
        order by created_at desc, id"
    )
    .fetch_all(conn)
    .await?)
}
