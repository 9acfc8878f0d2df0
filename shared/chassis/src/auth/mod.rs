//! Who calls, and what for. A method that no table names is nobody's to call, and a token is checked
//! with nothing but what is in memory unless its key has never been seen.

use std::fmt;

use model::status::Role;
use tonic::Request;
use uuid::Uuid;

use crate::error::{Error, Result};

mod ed25519;
mod key;
mod token;
mod user_keys;
mod verifier;

pub use key::{PublicKey, ServiceKey, SigningKey};
pub use user_keys::{LocalKeys, UserKeys};
pub use verifier::Verifier;

#[cfg(test)]
mod tests;

/// A person, as the access token describes them.
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
}

/// Who makes a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    User(User),
    /// One of the platform's own services, by name.
    Service(String),
}

impl Caller {
    /// Tells callers apart in stored rows: `user:<id>` or `service:<name>`.
    pub fn key(&self) -> String {
        match self {
            Self::User(user) => format!("user:{}", user.id),
            Self::Service(name) => format!("service:{name}"),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key())
    }
}

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody, without a token; the handler does not learn who it is.
    Open,
    /// Every signed-in person.
    User,
    /// Persons of the role ADMIN.
    Admin,
    /// The platform's own services and nobody else.
    Service,
}

/// A service's table: for each method's path (`/workflow.catalog.v1.AuthService/Login`), who may call it.
pub type AccessTable = &'static [(&'static str, Access)];

impl Access {
    pub(crate) fn check(self, caller: &Caller) -> Result<()> {
        match (self, caller) {
            (Self::Open, _)
            | (Self::User, Caller::User(_))
            | (Self::Service, Caller::Service(_)) => Ok(()),
            (Self::Admin, Caller::User(user)) if user.role == Role::Admin => Ok(()),
            (Self::Admin, Caller::User(_)) => Err(Error::denied(
                "ADMIN_REQUIRED",
                "only a user of the role ADMIN may call this",
            )),
            (Self::User | Self::Admin, Caller::Service(_)) => {
                Err(Error::denied("USER_REQUIRED", "only a user may call this"))
            }
            (Self::Service, Caller::User(_)) => Err(Error::denied(
                "SERVICE_REQUIRED",
                "only the platform's services may call this",
            )),
        }
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
        Caller::Service(_) => Err(Error::denied("USER_REQUIRED", "only a user may call this")),
    }
}

fn sign_in() -> Error {
    Error::unauthenticated(
        "TOKEN_MISSING",
        "sign in with AuthService.Login and send `authorization: Bearer <access_token>`",
    )
}
