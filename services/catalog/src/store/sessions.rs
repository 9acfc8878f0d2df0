//! The sessions table. Invariant: no session that is still good loses its row without leaving its id in
//! revocations, by the same statement.

use chassis::Result;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// A sign-in, as it is kept: of its secrets the SHA-256 only.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    pub id: Uuid,
    pub user_id: Uuid,
    pub lasting_digest: Vec<u8>,
    pub rotating_digest: Vec<u8>,
    pub created_at: DateTime<Utc>,
    pub refreshed_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

pub async fn insert(conn: &mut PgConnection, session: &Session) -> Result<()> {
    sqlx::query!(
        "-- catalog.insert_session
        insert into catalog.sessions
            (id, user_id, lasting_digest, rotating_digest, created_at, refreshed_at, expires_at)
        values ($1, $2, $3, $4, $5, $6, $7)",
        session.id,
        session.user_id,
        session.lasting_digest,
        session.rotating_digest,
        session.created_at,
        session.refreshed_at,
        session.expires_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The session, which nobody else changes or ends until the transaction does.
pub async fn lock(conn: &mut PgConnection, id: Uuid) -> Result<Option<Session>> {
    Ok(sqlx::query_as!(
        Session,
        "-- catalog.lock_session
        select id, user_id, lasting_digest, rotating_digest, created_at, refreshed_at, expires_at
        from catalog.sessions where id = $1 for no key update",
        id
    )
    .fetch_optional(conn)
    .await?)
}

/// Writes what a refresh changes.
pub async fn update(conn: &mut PgConnection, session: &Session) -> Result<()> {
    sqlx::query!(
        "-- catalog.refresh_session
        update catalog.sessions
        set rotating_digest = $2, refreshed_at = $3, expires_at = $4
        where id = $1",
        session.id,
        session.rotating_digest,
        session.refreshed_at,
        session.expires_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends one session, if it has not ended.
pub async fn end(conn: &mut PgConnection, id: Uuid) -> Result<()> {
    sqlx::query!(
        "-- catalog.end_session
        with ended as (delete from catalog.sessions where id = $1 returning id)
        insert into catalog.revocations (id) select id from ended on conflict (id) do nothing",
        id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends the sessions of a user, all of them or all but one.
pub async fn end_all(conn: &mut PgConnection, user_id: Uuid, but: Option<Uuid>) -> Result<()> {
    sqlx::query!(
        "-- catalog.end_sessions
        with ended as (
            delete from catalog.sessions
            where user_id = $1 and ($2::uuid is null or id <> $2)
            returning id
        )
        insert into catalog.revocations (id) select id from ended on conflict (id) do nothing",
        user_id,
        but
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends the sessions of a user but for the `most` that were refreshed last.
pub async fn end_beyond(conn: &mut PgConnection, user_id: Uuid, most: i64) -> Result<()> {
    sqlx::query!(
        "-- catalog.end_surplus_sessions
        with surplus as (
            select id from catalog.sessions where user_id = $1
            order by refreshed_at desc, id desc offset $2
        ), ended as (
            delete from catalog.sessions where id in (select id from surplus) returning id
        )
        insert into catalog.revocations (id) select id from ended on conflict (id) do nothing",
        user_id,
        most
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets it be known which sessions have ended by time within the last hour: streams may still be open.
pub async fn announce_expired(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "-- catalog.announce_expired_sessions
        insert into catalog.revocations (id)
        select id from catalog.sessions
        where expires_at <= $1 and expires_at > $1::timestamptz - interval '1 hour'
        on conflict (id) do nothing",
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets sessions that ended by time before `horizon`.
pub async fn purge(conn: &mut PgConnection, horizon: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "-- catalog.purge_sessions
        delete from catalog.sessions where expires_at < $1",
        horizon
    )
    .execute(conn)
    .await?;
    Ok(())
}
