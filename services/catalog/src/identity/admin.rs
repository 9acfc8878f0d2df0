//! The first administrator. Invariant: one is made only while there is no user at all, and never with a
//! password that anybody could know beforehand.

use chassis::input::Input;
use chassis::{Error, Result, db};
use model::status::Role;
use sqlx::PgPool;
use uuid::Uuid;

use super::Passwords;
use crate::fields;
use crate::store;
use crate::store::users::{self, NewUser};

/// Letters and digits that are not mistaken for each other; 32, so that each carries five bits.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// An administrator who was made just now, and what to sign in with.
#[derive(Debug, Clone)]
pub struct CreatedAdmin {
    pub email: String,
    pub password: String,
}

/// Makes the first administrator if there is no user at all. Without a password, a random one is made:
/// it is returned here and known nowhere else.
pub async fn ensure_admin(
    pool: &PgPool,
    email: &str,
    password: Option<&str>,
) -> Result<Option<CreatedAdmin>> {
    if users::any(&mut *pool.acquire().await?).await? {
        return Ok(None);
    }
    let mut input = Input::new();
    let email = (input.text("WFP_ADMIN_EMAIL", email, 1..=*fields::EMAIL.end())).to_lowercase();
    if let Some(fault) = fields::email_fault(&email) {
        input.push("WFP_ADMIN_EMAIL", fault);
    }
    let password = match password {
        None => random_password()?,
        Some(password) => input.text("WFP_ADMIN_PASSWORD", password, fields::PASSWORD),
    };
    input.finish()?;
    let hash = Passwords::start().await?.hash(password.clone()).await?;
    let address = email.clone();
    let created = db::transaction(pool, async move |conn| {
        store::serialize(conn, "catalog.first_admin").await?;
        if users::any(conn).await? {
            return Ok(false);
        }
        let admin = NewUser {
            id: Uuid::now_v7(),
            email: &address,
            password_hash: &hash,
            name: "Administrator",
            role: Role::Admin,
            groups: &[],
        };
        users::insert(conn, admin).await?;
        Ok(true)
    })
    .await?;
    Ok(created.then_some(CreatedAdmin { email, password }))
}

fn random_password() -> Result<String> {
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes).map_err(Error::internal)?;
    Ok((bytes.iter())
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect())
}
