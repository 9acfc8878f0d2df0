//! Sessions from the sign-in to the sign-out. Invariant: no token leaves before the session that it
//! belongs to is stored.

use std::sync::Arc;

use chassis::auth::{self, Caller};
use chassis::input::Input;
use chassis::{Error, Result, db};
use chrono::{DateTime, Utc};
use proto::catalog::v1 as pb;
use sqlx::PgPool;
use uuid::Uuid;

use super::Auth;
use crate::fields;
use crate::identity::sessions::{self, Refreshed};
use crate::identity::{Proof, RefreshToken, Signer, limits};
use crate::store;
use crate::store::audit::{self, Object};
use crate::store::sessions::Session;
use crate::store::users::{self, User};
use crate::store::{known_sources, login_failures, revocations};

/// A refresh token is 86 characters long; what is much longer is not looked at.
const TOKEN: std::ops::RangeInclusive<usize> = 1..=500;

/// What a session's caller goes on with.
pub struct Issued {
    pub access_token: String,
    pub expires_at: DateTime<Utc>,
    pub refresh_token: String,
    pub refresh_expires_at: DateTime<Utc>,
    pub user: User,
}

pub async fn login(auth: &Auth, source: &str, request: pb::LoginRequest) -> Result<Issued> {
    let mut input = Input::new();
    let email = input
        .text("email", &request.email, 1..=*fields::EMAIL.end())
        .to_lowercase();
    // A short password is just a wrong one.
    let password = input.text("password", &request.password, 1..=*fields::PASSWORD.end());
    input.finish()?;

    let Proof { account, counted } =
        (auth.guard.judge(&email, source, password).await?).ok_or_else(login_failed)?;
    // At once, whatever becomes of the sign-in: a right password is no failure.
    db::transaction(&auth.guard.pool, async move |conn| {
        login_failures::take_back(conn, &counted).await
    })
    .await?;
    auth.signer.keep_fresh(&auth.guard.pool).await?;
    let (signer, source) = (Arc::clone(&auth.signer), source.to_owned());
    db::transaction(&auth.guard.pool, async move |conn| {
        // The user may have been changed while the password was judged.
        let user = (users::lock(conn, account.id).await?)
            .filter(|user| user.is_active)
            .ok_or_else(login_failed)?;
        if users::password_hash(conn, user.id).await?.as_ref() != Some(&account.password_hash) {
            return Err(login_failed());
        }
        let now = db::now(conn).await?;
        known_sources::note(conn, user.id, &source, now, limits::MOST_KNOWN).await?;
        let (session, token) = sessions::begin(conn, user.id, now).await?;
        issue(&signer, user, &session, &token)
    })
    .await
}

pub async fn refresh(auth: &Auth, request: pb::RefreshTokenRequest) -> Result<Issued> {
    let mut input = Input::new();
    let text = input.text("refresh_token", &request.refresh_token, TOKEN);
    input.finish()?;
    let token = RefreshToken::parse(&text).ok_or_else(sessions::invalid)?;
    auth.signer.keep_fresh(&auth.guard.pool).await?;
    let signer = Arc::clone(&auth.signer);
    let issued = db::transaction(&auth.guard.pool, async move |conn| {
        let now = db::now(conn).await?;
        match sessions::refresh(conn, &token, now).await? {
            Refreshed::Next(user, session, next) => issue(&signer, user, &session, &next).map(Some),
            Refreshed::Reused(user, session) => {
                let (user_id, session_id) = (user.id, session.id);
                tracing::warn!(%user_id, %session_id, "a refresh token was used twice");
                // Whoever it was, they had this user's token.
                let caller = Caller::User(speaker(&user, session_id));
                let lines = ["ended a session, as a refresh token was used twice".to_owned()];
                let object = Object::User(user_id);
                audit::record(conn, &caller, "RefreshToken", object, &lines).await?;
                Ok(None)
            }
        }
    })
    .await?;
    issued.ok_or_else(sessions::reused)
}

pub async fn logout(pool: &PgPool, caller: &auth::User, request: pb::LogoutRequest) -> Result<()> {
    let (user_id, session_id) = (caller.id, caller.session_id);
    db::transaction(pool, async move |conn| {
        if request.all_sessions {
            store::sessions::end_all(conn, user_id, None).await?;
        }
        store::sessions::end(conn, session_id).await?;
        // Also if the session is over by time and forgotten: its last token must not outlive this answer.
        revocations::insert(conn, &[session_id]).await
    })
    .await
}

/// Signs for what is about to be committed: a session whose tokens nobody gets would be lost.
fn issue(signer: &Signer, user: User, session: &Session, token: &RefreshToken) -> Result<Issued> {
    let speaker = speaker(&user, session.id);
    let (access_token, expires_at) =
        signer.token(&speaker, session.refreshed_at, session.expires_at)?;
    Ok(Issued {
        access_token,
        expires_at,
        refresh_token: token.text(),
        refresh_expires_at: session.expires_at,
        user,
    })
}

fn speaker(user: &User, session_id: Uuid) -> auth::User {
    auth::User {
        id: user.id,
        email: user.email.clone(),
        name: user.name.clone(),
        role: user.role,
        groups: user.groups.clone(),
        session_id,
        revision: user.revision,
    }
}

fn login_failed() -> Error {
    Error::unauthenticated("LOGIN_FAILED", "email address or password is wrong")
}
