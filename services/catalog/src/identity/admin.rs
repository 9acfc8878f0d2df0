//! The first administrator. Invariant: one is made only while there is no user at all, and only with a
//! password that was given: none is known beforehand, and none has to be told to anybody.

use chassis::auth::Caller;
use chassis::input::Input;
use chassis::{Result, db};
use model::status::Role;
use sqlx::PgPool;
use uuid::Uuid;

use super::Passwords;
use crate::fields;
use crate::store;
use crate::store::audit::{self, Object};
use crate::store::users::{self, NewUser};

/// Makes the first administrator if there is no user at all.
pub async fn ensure_admin(
    pool: &PgPool,
    passwords: &Passwords,
    email: &str,
    password: Option<&str>,
) -> Result<()> {
    if users::any(&mut *db::acquire(pool).await?).await? {
        return Ok(());
    }
    let Some(password) = password else {
        tracing::warn!("there is no user, and no password from which to make an administrator");
        return Ok(());
    };
    let mut input = Input::new();
    let email = (input.text("WFP_ADMIN_EMAIL", email, 1..=*fields::EMAIL.end())).to_lowercase();
    if let Some(fault) = fields::email_fault(&email) {
        input.push("WFP_ADMIN_EMAIL", fault);
    }
    let password = input.text("WFP_ADMIN_PASSWORD", password, fields::PASSWORD);
    input.finish()?;
    let hash = passwords.hash(password).await?;
    db::transaction(pool, async move |conn| {
        // Replicas that start together make one.
        store::serialize(conn, "catalog.first_admin").await?;
        if users::any(conn).await? {
            return Ok(());
        }
        let id = Uuid::now_v7();
        let admin = NewUser {
            id,
            email: &email,
            password_hash: &hash,
            name: "Administrator",
            role: Role::Admin,
            groups: &[],
            is_active: true,
        };
        users::insert(conn, admin).await?;
        let lines = [format!("created the first administrator, {email:?}")];
        let caller = Caller::Internal("catalog".to_owned());
        audit::record(conn, &caller, "CreateUser", Object::User(id), &lines).await?;
        tracing::info!(email, "made the first administrator");
        Ok(())
    })
    .await
}
