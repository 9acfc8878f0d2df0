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

pub async fn insert(
    conn: &mut PgConnection,
    id: &str,
    public_key: &[u8],
    sealed_private_key: &[u8],
) -> Result<()> {
    sqlx::query!(
        "-- catalog.insert_signing_key
        insert into catalog.signing_keys (id, public_key, sealed_private_key) values ($1, $2, $3)",
        id,
        public_key,
        sealed_private_key
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
