//! Changes of users and their end. Invariant: whoever loses their access loses it with the same commit,
//! wherever they are signed in.

use chassis::auth::{self, Caller};
use chassis::input::Input;
use chassis::mask::Mask;
use chassis::{Error, Result, Violation, db};
use model::status::Role;
use proto::catalog::v1 as pb;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{found, read_groups, read_role};
use crate::fields;
use crate::identity::Passwords;
use crate::rpc::{check_etag, check_fixed, present, still_admin};
use crate::store;
use crate::store::audit::{self, Object};
use crate::store::sessions;
use crate::store::users::{self, User};

const CHANGEABLE: &[&str] = &["name", "role", "groups", "is_active"];
/// What everybody may change of themselves.
const OWN: &[&str] = &["name"];

pub async fn update(
    pool: &PgPool,
    caller: auth::User,
    request: pb::UpdateUserRequest,
) -> Result<User> {
    let wanted = present("user", request.user)?;
    let mut set = Vec::new();
    set.extend((!wanted.name.is_empty()).then_some("name"));
    set.extend((wanted.role != 0).then_some("role"));
    set.extend((!wanted.groups.is_empty()).then_some("groups"));
    set.extend(wanted.is_active.map(|_| "is_active"));
    let mask = Mask::parse(request.update_mask.as_ref(), CHANGEABLE, &set)?;
    let mut input = Input::new();
    let id = input.uuid("user.id", &wanted.id);
    let name = (mask.has("name")).then(|| input.name("user.name", &wanted.name, fields::NAME));
    let role = (mask.has("role")).then(|| read_role(&mut input, wanted.role));
    let groups = (mask.has("groups")).then(|| read_groups(&mut input, &wanted.groups));
    if mask.has("is_active") && wanted.is_active.is_none() {
        input.push("update_mask", "names is_active, which user does not say");
    }
    let is_active = wanted.is_active.filter(|_| mask.has("is_active"));
    input.finish()?;
    allow(&caller, id, &mask)?;

    let is_own = caller.id == id
        && CHANGEABLE
            .iter()
            .all(|field| !mask.has(field) || OWN.contains(field));
    let caller = Caller::User(caller);
    db::transaction(pool, async move |conn| {
        if role.is_some() || is_active.is_some() {
            one_at_a_time(conn).await?;
        }
        if !is_own {
            still_admin(conn, &caller).await?;
        }
        let before = found(users::lock(conn, id).await?, id)?;
        check_etag("user", &wanted.etag, before.revision)?;
        check_fixed("user.email", &wanted.email, &before.email)?;
        let after = User {
            name: name.clone().unwrap_or_else(|| before.name.clone()),
            role: role.unwrap_or(before.role),
            groups: groups.clone().unwrap_or_else(|| before.groups.clone()),
            is_active: is_active.unwrap_or(before.is_active),
            ..before.clone()
        };
        if administers(&before) && !administers(&after) {
            another_administers(conn, id).await?;
        }
        let lines = changes(&before, &after);
        if !lines.is_empty() {
            users::update(conn, &after).await?;
            audit::record(conn, &caller, "UpdateUser", Object::User(id), &lines).await?;
        }
        if !after.is_active {
            sessions::end_all(conn, id, None).await?;
        }
        found(users::get(conn, id).await?, id)
    })
    .await
}

pub async fn reset_password(
    pool: &PgPool,
    passwords: &Passwords,
    caller: Caller,
    request: pb::ResetPasswordRequest,
) -> Result<User> {
    let mut input = Input::new();
    let id = input.uuid("id", &request.id);
    let password = input.text("new_password", &request.new_password, fields::PASSWORD);
    input.finish()?;
    let hash = passwords.hash(password).await?;
    db::transaction(pool, async move |conn| {
        still_admin(conn, &caller).await?;
        let user = found(users::lock(conn, id).await?, id)?;
        check_etag("user", &request.etag, user.revision)?;
        users::set_password(conn, id, &hash).await?;
        sessions::end_all(conn, id, None).await?;
        let lines = ["set a new password".to_owned()];
        audit::record(conn, &caller, "ResetPassword", Object::User(id), &lines).await?;
        found(users::get(conn, id).await?, id)
    })
    .await
}

pub async fn delete(pool: &PgPool, caller: Caller, request: pb::DeleteUserRequest) -> Result<()> {
    let mut input = Input::new();
    let id = input.uuid("id", &request.id);
    input.finish()?;
    db::transaction(pool, async move |conn| {
        one_at_a_time(conn).await?;
        still_admin(conn, &caller).await?;
        let user = found(users::lock(conn, id).await?, id)?;
        check_etag("user", &request.etag, user.revision)?;
        if administers(&user) {
            another_administers(conn, id).await?;
        }
        sessions::end_all(conn, id, None).await?;
        let lines = [format!("deleted user {:?}", user.email)];
        audit::record(conn, &caller, "DeleteUser", Object::User(id), &lines).await?;
        users::delete(conn, id).await
    })
    .await
}

/// Refuses what is not the caller's to change, and names all of it.
fn allow(caller: &auth::User, id: Uuid, mask: &Mask) -> Result<()> {
    let own: &[&str] = if caller.id == id { OWN } else { &[] };
    let refused: Vec<Violation> = (CHANGEABLE.iter())
        .filter(|field| mask.has(field) && !own.contains(field))
        .map(|field| Violation {
            field: format!("user.{field}"),
            description: "only an administrator may change this".to_owned(),
        })
        .collect();
    if caller.role == Role::Admin || (caller.id == id && refused.is_empty()) {
        return Ok(());
    }
    let message = "only a user of the role ADMIN may change more than their own name";
    Err(Error::denied("ADMIN_REQUIRED", message).with_violations(refused))
}

/// What makes the one the other, in words.
fn changes(before: &User, after: &User) -> Vec<String> {
    let mut lines = Vec::new();
    if before.name != after.name {
        lines.push(format!(
            "changed name from {:?} to {:?}",
            before.name, after.name
        ));
    }
    if before.role != after.role {
        let (before, after) = (before.role.as_str(), after.role.as_str());
        lines.push(format!("changed role from {before} to {after}"));
    }
    let parted = |from: &User, by: &User| -> Vec<String> {
        let kept = |group: &&String| !by.groups.contains(group);
        from.groups.iter().filter(kept).cloned().collect()
    };
    lines.extend((parted(after, before).iter()).map(|group| format!("added to group {group:?}")));
    lines.extend(
        (parted(before, after).iter()).map(|group| format!("taken out of group {group:?}")),
    );
    if before.is_active != after.is_active {
        let what = if after.is_active {
            "activated"
        } else {
            "deactivated"
        };
        lines.push(what.to_owned());
    }
    lines
}

/// Two administrators must not take the role from each other at once.
async fn one_at_a_time(conn: &mut PgConnection) -> Result<()> {
    store::serialize(conn, "catalog.admins").await
}

fn administers(user: &User) -> bool {
    user.role == Role::Admin && user.is_active
}

async fn another_administers(conn: &mut PgConnection, id: Uuid) -> Result<()> {
    if users::another_admin(conn, id).await? {
        return Ok(());
    }
    let message = "the last active administrator must stay one";
    Err(Error::precondition("LAST_ADMIN", message))
}
