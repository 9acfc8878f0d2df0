//! Who calls, and what for. A method that no table names is nobody's to call, a token is checked with
//! nothing but what is in memory unless its key has never been seen, and nobody is let in on knowledge
//! of more than a minute ago.

use std::fmt;

use chrono::{DateTime, Utc};
use model::status::{KeyScope, Role};
use tonic::Request;
use uuid::Uuid;

use crate::error::{Error, Result};

mod access;
mod api_key;
mod ed25519;
mod key;
mod remote;
mod standing;
mod token;
mod user_keys;
mod verifier;

pub use access::{Access, AccessTable};
pub use api_key::{KeyHash, NewApiKey};
pub use key::{PublicKey, ServiceKey, SigningKey};
pub use standing::{Account, KeyFound, Revocations, Source, Standing};
pub use user_keys::{LocalKeys, UserKeys};
pub use verifier::Verifier;

#[cfg(test)]
mod tests;

/// A person, as the access token describes them, or as the catalog has told since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: Uuid,
    pub email: String,
    pub name: String,
    pub role: Role,
    /// Groups whose tasks the user may decide.
    pub groups: Vec<String>,
    /// The sign-in that the token came of: when it ends, so does the token.
    pub session_id: Uuid,
    /// The account's revision when this was read from it: what a later one says replaces it.
    pub revision: i64,
}

/// A machine, as its API key describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: Uuid,
    pub name: String,
    pub scope: KeyScope,
    pub expires_at: Option<DateTime<Utc>>,
}

/// Who makes a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A person who has signed in.
    User(User),
    /// A worker, or a customer's own system.
    ApiKey(ApiKey),
    /// One of the platform's own services, by name.
    Internal(String),
}

impl Caller {
    /// Tells callers apart in stored rows: `user:<id>`, `key:<id>` or `internal:<name>`.
    pub fn key(&self) -> String {
        match self {
            Self::User(user) => format!("user:{}", user.id),
            Self::ApiKey(key) => format!("key:{}", key.id),
            Self::Internal(name) => format!("internal:{name}"),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key())
    }
}

/// Who makes this call. Methods that are `Access::Open` have no caller.
pub fn caller<T>(request: &Request<T>) -> Result<&Caller> {
    request.extensions().get().ok_or_else(sign_in)
}

/// The person who makes this call.
pub fn user<T>(request: &Request<T>) -> Result<&User> {
    match caller(request)? {
        Caller::User(user) => Ok(user),
        Caller::ApiKey(_) | Caller::Internal(_) => Err(access::user_required()),
    }
}

fn sign_in() -> Error {
    Error::unauthenticated(
        "TOKEN_MISSING",
        "sign in with AuthService.Login and send `authorization: Bearer <access_token>`, or an API key",
    )
}

/// One answer for all that is forged, so that forgers learn nothing.
fn refused() -> Error {
    Error::unauthenticated(
        "TOKEN_INVALID",
        "the token is not one that this platform issued",
    )
}

fn expired() -> Error {
    Error::unauthenticated("TOKEN_EXPIRED", "the token has expired")
}

fn revoked() -> Error {
    Error::unauthenticated(
        "TOKEN_REVOKED",
        "the session or the API key has ended, or the user is not active any more",
    )
}
