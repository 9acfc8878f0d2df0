//! The users table. Invariant: addresses are stored in lower case, so that equality is enough to find one.

use chassis::{Error, Result};
use chrono::{DateTime, Utc};
use model::status::Role;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Word, on_constraint};

mod list;

pub use list::{UserFilter, UserOrder, list};

/// A person's account, without the password's hash: that leaves the table only for a login.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    pub id: Uuid,
    pub email: String,
    pub name: String,
    pub role: Role,
    pub groups: Vec<String>,
    pub is_active: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub revision: i64,
}

/// An account that is to be made.
#[derive(Debug)]
pub struct NewUser<'a> {
    pub id: Uuid,
    pub email: &'a str,
    pub password_hash: &'a str,
    pub name: &'a str,
    pub role: Role,
    pub groups: &'a [String],
    pub is_active: bool,
}

/// What it takes to judge a password.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub id: Uuid,
    pub password_hash: String,
    pub is_active: bool,
    /// Whether the user has signed in from the source in question.
    pub knows_source: bool,
}

pub async fn insert(conn: &mut PgConnection, user: NewUser<'_>) -> Result<()> {
    sqlx::query!(
        "-- catalog.insert_user
        insert into catalog.users (id, email, password, name, role, groups, is_active)
        values ($1, $2, $3, $4, $5::text::catalog.user_role, $6, $7)",
        user.id,
        user.email,
        user.password_hash,
        user.name,
        user.role.as_str(),
        user.groups,
        user.is_active
    )
    .execute(conn)
    .await
    .map_err(|error| {
        on_constraint(
            error,
            &[("users_email_key", &|| {
                let message = format!("{} belongs to another user", user.email);
                Error::already_exists("EMAIL_TAKEN", message)
            })],
        )
    })?;
    Ok(())
}

pub async fn get(conn: &mut PgConnection, id: Uuid) -> Result<Option<User>> {
    Ok(sqlx::query_as!(
        User,
        r#"-- catalog.get_user
        select id, email, name, role::text as "role!: Word", groups, is_active, created_at, updated_at,
               revision
        from catalog.users where id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?)
}

/// Whether this user is an administrator at this moment, and the session stands.
pub async fn is_admin_now(conn: &mut PgConnection, id: Uuid, session_id: Uuid) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"-- catalog.is_admin_now
        select exists (
            select from catalog.users u join catalog.sessions s on s.user_id = u.id
            where u.id = $1 and s.id = $2 and u.is_active and u.role = 'ADMIN') as "is_admin!""#,
        id,
        session_id
    )
    .fetch_one(conn)
    .await?)
}

/// The user, and nobody else changes it until the transaction ends.
pub async fn lock(conn: &mut PgConnection, id: Uuid) -> Result<Option<User>> {
    Ok(sqlx::query_as!(
        User,
        r#"-- catalog.lock_user
        select id, email, name, role::text as "role!: Word", groups, is_active, created_at, updated_at,
               revision
        from catalog.users where id = $1 for no key update"#,
        id
    )
    .fetch_optional(conn)
    .await?)
}

/// Of whoever has this address, asked from this source; a sign-in there before `horizon` does not count.
pub async fn credentials(
    conn: &mut PgConnection,
    email: &str,
    source: &str,
    horizon: DateTime<Utc>,
) -> Result<Option<Credentials>> {
    Ok(sqlx::query_as!(
        Credentials,
        r#"-- catalog.get_credentials
        select u.id, u.password as password_hash, u.is_active, exists (
            select from catalog.known_sources s
            where s.user_id = u.id and s.source = $2 and s.last_login_at > $3
        ) as "knows_source!"
        from catalog.users u where u.email = $1"#,
        email,
        source,
        horizon
    )
    .fetch_optional(conn)
    .await?)
}

/// The hash of a user's password.
pub async fn password_hash(conn: &mut PgConnection, id: Uuid) -> Result<Option<String>> {
    Ok(sqlx::query_scalar!(
        "-- catalog.get_password_hash
        select password from catalog.users where id = $1",
        id
    )
    .fetch_optional(conn)
    .await?)
}

pub async fn set_password(conn: &mut PgConnection, id: Uuid, password_hash: &str) -> Result<()> {
    sqlx::query!(
        "-- catalog.set_password
        update catalog.users set password = $2 where id = $1",
        id,
        password_hash
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn any(conn: &mut PgConnection) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"-- catalog.any_user
        select exists (select from catalog.users) as "any!""#
    )
    .fetch_one(conn)
    .await?)
}

/// Whether somebody else can administer.
pub async fn another_admin(conn: &mut PgConnection, id: Uuid) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"-- catalog.another_admin
        select exists (
            select from catalog.users where role = 'ADMIN' and is_active and id <> $1
        ) as "another!""#,
        id
    )
    .fetch_one(conn)
    .await?)
}

/// Writes what may change of a user. Whoever is told of access that changed lately learns of it if role,
/// groups or is_active did.
pub async fn update(conn: &mut PgConnection, user: &User) -> Result<()> {
    sqlx::query!(
        "-- catalog.update_user
        update catalog.users
        set name = $2, role = $3::text::catalog.user_role, groups = $4, is_active = $5,
            access_changed_at = case
                when (role, groups, is_active)
                    is distinct from ($3::text::catalog.user_role, $4::text[], $5::boolean)
                then now() else access_changed_at
            end
        where id = $1",
        user.id,
        user.name,
        user.role.as_str(),
        &user.groups,
        user.is_active
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn delete(conn: &mut PgConnection, id: Uuid) -> Result<()> {
    sqlx::query!(
        "-- catalog.delete_user
        delete from catalog.users where id = $1",
        id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Those of `groups` that no active user is in.
pub async fn empty_groups(conn: &mut PgConnection, groups: &[String]) -> Result<Vec<String>> {
    let empty = sqlx::query_scalar!(
        r#"-- catalog.find_empty_groups
        select asked as "asked!"
          from unnest($1::text[]) as asked
         where not exists (select from catalog.users
                            where groups @> array[asked] and is_active)"#,
        groups
    )
    .fetch_all(conn)
    .await?;
    Ok(empty)
}
