//! Changes of one's own password. Invariant: a token alone is not enough, and after the change nothing
//! goes on that began before, but for the session that made it.

use chassis::auth::{self, Caller};
use chassis::input::Input;
use chassis::{Error, Result, db};
use proto::catalog::v1 as pb;

use crate::fields;
use crate::identity::{Guard, Proof};
use crate::store::audit::{self, Object};
use crate::store::users::{self, User};
use crate::store::{login_failures, sessions};

pub async fn change(
    guard: &Guard,
    caller: auth::User,
    source: &str,
    request: pb::ChangePasswordRequest,
) -> Result<User> {
    let mut input = Input::new();
    let current = input.text(
        "current_password",
        &request.current_password,
        1..=*fields::PASSWORD.end(),
    );
    let new = input.text("new_password", &request.new_password, fields::PASSWORD);
    if current == new && !new.is_empty() {
        input.push("new_password", "is the current one");
    }
    input.finish()?;

    let (id, session_id) = (caller.id, caller.session_id);
    // The address in the token is the user's still: it is fixed when they are created.
    let Proof { account, counted } = (guard.judge(&caller.email, source, current).await?)
        .filter(|proof| proof.account.id == id)
        .ok_or_else(wrong)?;
    let hash = guard.passwords.hash(new).await?;
    let caller = Caller::User(caller);
    db::transaction(&guard.pool, async move |conn| {
        let user = (users::lock(conn, id).await?).filter(|user| user.is_active);
        let session =
            (sessions::lock(conn, session_id).await?).filter(|session| session.user_id == id);
        if user.is_none() || session.is_none() {
            return Err(ended());
        }
        if users::password_hash(conn, id).await?.as_ref() != Some(&account.password_hash) {
            return Err(wrong());
        }
        login_failures::take_back(conn, &counted).await?;
        users::set_password(conn, id, &hash).await?;
        sessions::end_all(conn, id, Some(session_id)).await?;
        let lines = ["changed their password".to_owned()];
        audit::record(conn, &caller, "ChangePassword", Object::User(id), &lines).await?;
        users::get(conn, id).await?.ok_or_else(ended)
    })
    .await
}

/// Not UNAUTHENTICATED: the session is good, and a client must not throw it away.
fn wrong() -> Error {
    Error::denied(
        "CURRENT_PASSWORD_WRONG",
        "the current password is another one",
    )
}

fn ended() -> Error {
    Error::unauthenticated("TOKEN_REVOKED", "the session has ended: sign in again")
}
