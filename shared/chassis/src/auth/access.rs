//! Who may call what. Invariant: a caller passes by what it is now, and a level names all who pass.

use model::status::{KeyScope, Role};

use super::{ApiKey, Caller};
use crate::error::{Error, Result};

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody, without a token; the handler does not learn who it is.
    Open,
    /// Every signed-in person.
    Person,
    /// Every signed-in person, and API keys of the scope SERVICE.
    Member,
    /// Every signed-in person, and every API key.
    Worker,
    /// Persons of the role ADMIN.
    Admin,
    /// The platform's own services and nobody else.
    Internal,
}

/// A service's table: for each method's path (`/workflow.catalog.v1.AuthService/Login`), who may call it.
pub type AccessTable = &'static [(&'static str, Access)];

impl Access {
    pub(crate) fn check(self, caller: &Caller) -> Result<()> {
        match (self, caller) {
            (Self::Open, _)
            | (Self::Person | Self::Member | Self::Worker, Caller::User(_))
            | (Self::Worker, Caller::ApiKey(_))
            | (
                Self::Member,
                Caller::ApiKey(ApiKey {
                    scope: KeyScope::Service,
                    ..
                }),
            )
            | (Self::Internal, Caller::Internal(_)) => Ok(()),
            (Self::Admin, Caller::User(user)) if user.role == Role::Admin => Ok(()),
            (Self::Admin, _) => Err(Error::denied(
                "ADMIN_REQUIRED",
                "only a user of the role ADMIN may call this",
            )),
            (Self::Member, Caller::ApiKey(_)) => Err(Error::denied(
                "SCOPE_REQUIRED",
                "only a user or an API key of the scope SERVICE may call this",
            )),
            (Self::Person, Caller::ApiKey(_))
            | (Self::Person | Self::Member | Self::Worker, Caller::Internal(_)) => {
                Err(user_required())
            }
            (Self::Internal, _) => Err(Error::denied(
                "INTERNAL_ONLY",
                "only the platform's own services may call this",
            )),
        }
    }
}

pub(super) fn user_required() -> Error {
    Error::denied("USER_REQUIRED", "only a user may call this")
}
