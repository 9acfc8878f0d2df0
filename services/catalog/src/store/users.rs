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
}

pub async fn insert(conn: &mut PgConnection, user: NewUser<'_>) -> Result<()> {
    sqlx::query!(
        "-- catalog.insert_user
        insert into catalog.users (id, email, password, name, role, groups)
        values ($1, $2, $3, $4, $5::text::catalog.user_role, $6)",
        user.id,
        user.email,
        user.password_hash,
        user.name,
        user.role.as_str(),
        user.groups
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
        select id, email, name, role::text as "role!: Word", groups, created_at, updated_at, revision
        from catalog.users where id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?)
}

/// The same, and nobody else changes it until the transaction ends.
pub async fn lock(conn: &mut PgConnection, id: Uuid) -> Result<Option<User>> {
    Ok(sqlx::query_as!(
        User,
        r#"-- catalog.lock_user
        select id, email, name, role::text as "role!: Word", groups, created_at, updated_at, revision
        from catalog.users where id = $1 for no key update"#,
        id
    )
    .fetch_optional(conn)
    .await?)
}

/// The id and the password's hash of whoever has this address.
pub async fn credentials(conn: &mut PgConnection, email: &str) -> Result<Option<(Uuid, String)>> {
    let found = sqlx::query!(
        "-- catalog.get_credentials
        select id, password from catalog.users where email = $1",
        email
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.map(|row| (row.id, row.password)))
}

pub async fn any(conn: &mut PgConnection) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"-- catalog.any_user
        select exists (select from catalog.users) as "any!""#
    )
    .fetch_one(conn)
    .await?)
}

pub async fn count_admins(conn: &mut PgConnection) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"-- catalog.count_admins
        select count(*) as "count!" from catalog.users where role = 'ADMIN'"#
    )
    .fetch_one(conn)
    .await?)
}

/// Writes what may change of a user.
pub async fn update(conn: &mut PgConnection, user: &User) -> Result<()> {
    sqlx::query!(
        "-- catalog.update_user
        update catalog.users
        set name = $2, role = $3::text::catalog.user_role, groups = $4
        where id = $1",
        user.id,
        user.name,
        user.role.as_str(),
        &user.groups
    )
    .execute(conn)
    .await?;
    Ok(())
}
