//! How sessions begin and go on. Invariant: of all refresh tokens of a session one is good, the newest,
//! and only once; an older one that comes back ends the session, whoever sends it.

use chassis::{Error, Result};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::RefreshToken;
use crate::store::sessions::{self, Session};
use crate::store::users::{self, User};

/// How long a session lasts without being refreshed.
const IDLE: TimeDelta = TimeDelta::days(30);
/// How long a session lasts at all.
const LIFE: TimeDelta = TimeDelta::days(90);
/// How many sessions a user has at most.
const MOST: i64 = 50;

/// What came of a refresh token.
pub enum Refreshed {
    /// The session goes on, with this token.
    Next(User, Session, RefreshToken),
    /// The token was used before, and the session of this user has ended: to be committed.
    Reused(User, Session),
}

/// Begins a session of the user, whose row is locked: of the sessions that are too many, those that were
/// refreshed the longest ago end.
pub async fn begin(
    conn: &mut PgConnection,
    user_id: Uuid,
    now: DateTime<Utc>,
) -> Result<(Session, RefreshToken)> {
    let token = RefreshToken::first(Uuid::now_v7())?;
    let session = Session {
        id: token.session_id,
        user_id,
        lasting_digest: token.lasting_digest(),
        rotating_digest: token.rotating_digest(),
        created_at: now,
        refreshed_at: now,
        expires_at: now + IDLE,
    };
    sessions::insert(conn, &session).await?;
    sessions::end_beyond(conn, user_id, MOST).await?;
    Ok((session, token))
}

/// Takes a token for the next one.
pub async fn refresh(
    conn: &mut PgConnection,
    token: &RefreshToken,
    now: DateTime<Utc>,
) -> Result<Refreshed> {
    // Two who come with the same token stand in line here.
    let session = (sessions::lock(conn, token.session_id).await?)
        .filter(|session| session.lasting_digest == token.lasting_digest())
        .ok_or_else(invalid)?;
    if session.expires_at <= now {
        return Err(Error::unauthenticated(
            "REFRESH_TOKEN_EXPIRED",
            "the session is over: sign in again",
        ));
    }
    let user = (users::get(conn, session.user_id).await?)
        .filter(|user| user.is_active)
        .ok_or_else(invalid)?;
    if session.rotating_digest != token.rotating_digest() {
        sessions::end(conn, session.id).await?;
        return Ok(Refreshed::Reused(user, session));
    }
    let next = token.next()?;
    let session = Session {
        rotating_digest: next.rotating_digest(),
        refreshed_at: now,
        expires_at: (now + IDLE).min(session.created_at + LIFE),
        ..session
    };
    sessions::update(conn, &session).await?;
    Ok(Refreshed::Next(user, session, next))
}

/// The answer to what is no token of a session.
pub fn invalid() -> Error {
    let message = "the session has ended, or there never was one: sign in again";
    Error::unauthenticated("REFRESH_TOKEN_INVALID", message)
}

/// The answer to a token that came back.
pub fn reused() -> Error {
    let message = "the refresh token was used before, so its session has ended: sign in again";
    Error::unauthenticated("REFRESH_TOKEN_REUSED", message)
}
