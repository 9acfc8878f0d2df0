//! All of the catalog's SQL, by table. Invariant: one statement a function, on a connection that the
//! caller owns; what a violated constraint means to a caller is said where the statement stands.

pub mod api_keys;
pub mod audit;
pub mod clients;
pub mod known_sources;
pub mod login_failures;
pub mod names;
pub mod requests;
pub mod revocations;
pub mod sessions;
pub mod signing_keys;
pub mod standing;
pub mod steps;
pub mod transitions;
pub mod users;
pub mod versions;
pub mod workflows;

use chassis::{Error, Result};
use model::status::{KeyScope, Role, WorkflowStatus};
use sqlx::PgConnection;

/// A word of one of the schema's enum types, read as text.
#[derive(Debug, sqlx::Type)]
#[sqlx(transparent)]
struct Word(String);

impl From<Word> for WorkflowStatus {
    fn from(word: Word) -> Self {
        Self::parse(&word.0).expect("the column's type has no other words")
    }
}

impl From<Word> for KeyScope {
    fn from(word: Word) -> Self {
        Self::parse(&word.0).expect("the column's type has no other words")
    }
}

impl From<Word> for Role {
    fn from(word: Word) -> Self {
        Self::parse(&word.0).expect("the column's type has no other words")
    }
}

/// Replaces the error of a statement if it violated a named constraint.
fn on_constraint(error: sqlx::Error, known: &[(&str, &dyn Fn() -> Error)]) -> Error {
    let Some(name) = Error::constraint(&error) else {
        return error.into();
    };
    match known.iter().find(|(constraint, _)| *constraint == name) {
        Some((_, meaning)) => meaning(),
        None => error.into(),
    }
}

/// Lets one transaction at a time do what is named so. Released at its end.
pub async fn serialize(conn: &mut PgConnection, name: &str) -> Result<()> {
    sqlx::query!(
        "-- catalog.serialize
        select pg_advisory_xact_lock(hashtextextended($1, 0))",
        name
    )
    .execute(conn)
    .await?;
    Ok(())
}
