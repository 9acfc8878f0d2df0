//! The known_sources table: from where a user has signed in. Invariant: only a right password puts a
//! source there.

use chassis::Result;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// Notes a sign-in, and forgets all but the `most` sources that were used last.
pub async fn note(
    conn: &mut PgConnection,
    user_id: Uuid,
    source: &str,
    now: DateTime<Utc>,
    most: i64,
) -> Result<()> {
    sqlx::query!(
        "-- catalog.note_source
        insert into catalog.known_sources (user_id, source, last_login_at) values ($1, $2, $3)
        on conflict (user_id, source) do update set last_login_at = excluded.last_login_at",
        user_id,
        source,
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "-- catalog.forget_surplus_sources
        delete from catalog.known_sources
        where user_id = $1 and source in (
            select source from catalog.known_sources where user_id = $1
            order by last_login_at desc, source offset $2
        )",
        user_id,
        most
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets sources that were last used before `horizon`.
pub async fn purge(conn: &mut PgConnection, horizon: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "-- catalog.purge_known_sources
        delete from catalog.known_sources where last_login_at < $1",
        horizon
    )
    .execute(conn)
    .await?;
    Ok(())
}
