//! What the catalog knows of callers, asked over the wire. Invariant: an answer that came only in part, or
//! that cannot be read, is none: what is missing in it would be let in.

use futures_util::future::BoxFuture;
use model::status::{KeyScope, Role};
use model::wire;
use proto::catalog::v1 as pb;
use proto::catalog::v1::identity_service_client::IdentityServiceClient;
use tonic::{Code, Status};
use uuid::Uuid;

use super::ApiKey;
use super::api_key::KeyHash;
use super::standing::{Account, KeyFound, Revocations, Source, Standing};
use crate::client::Peer;
use crate::error::{Error, Result};
use crate::input::parse_uuid;

type Client = IdentityServiceClient<Peer>;

impl Standing {
    /// Everywhere but in the catalog itself.
    pub fn remote(catalog: Peer) -> Self {
        Self::new(std::sync::Arc::new(Client::new(catalog)))
    }
}

impl Source for Client {
    fn revocations(&self) -> BoxFuture<'_, Result<Revocations>> {
        Box::pin(async {
            let request = pb::ListRevocationsRequest {};
            let mut parts = (self.clone().list_revocations(request).await)
                .map_err(unanswered)?
                .into_inner();
            let mut revocations = Revocations::default();
            while let Some(part) = parts.message().await.map_err(unanswered)? {
                for id in &part.revoked_ids {
                    revocations.ended.insert(read_id(id)?);
                }
                for user in part.users {
                    let (id, account) = read_account(user)?;
                    revocations.accounts.insert(id, account);
                }
            }
            Ok(revocations)
        })
    }

    fn api_key(&self, hash: KeyHash) -> BoxFuture<'_, Result<KeyFound>> {
        Box::pin(async move {
            let key_hash = hash.to_vec();
            let request = pb::VerifyApiKeyRequest { key_hash };
            match self.clone().verify_api_key(request).await {
                Ok(key) => read_key(key.into_inner()),
                Err(status) if status.code() == Code::NotFound => Ok(KeyFound::Unknown),
                Err(status) => Err(unanswered(status)),
            }
        })
    }
}

fn read_account(user: pb::ChangedUser) -> Result<(Uuid, Account)> {
    let role = match user.role() {
        pb::UserRole::Admin => Role::Admin,
        pb::UserRole::User => Role::User,
        pb::UserRole::Unspecified => return Err(unreadable("role")),
    };
    let account = Account {
        role,
        groups: user.groups,
        is_active: user.is_active,
        revision: user.revision,
    };
    Ok((read_id(&user.id)?, account))
}

fn read_key(key: pb::ApiKey) -> Result<KeyFound> {
    if key.revoked_at.is_some() {
        return Ok(KeyFound::Revoked);
    }
    let scope = match key.scope() {
        pb::ApiKeyScope::Worker => KeyScope::Worker,
        pb::ApiKeyScope::Service => KeyScope::Service,
        pb::ApiKeyScope::Unspecified => return Err(unreadable("scope")),
    };
    let expires_at = key.expires_at.as_ref().map(wire::instant).transpose();
    Ok(KeyFound::Good(ApiKey {
        id: read_id(&key.id)?,
        name: key.name,
        scope,
        expires_at: expires_at.map_err(|_| unreadable("expires_at"))?,
    }))
}

fn read_id(text: &str) -> Result<Uuid> {
    parse_uuid(text).ok_or_else(|| unreadable("id"))
}

fn unreadable(field: &str) -> Error {
    Error::internal(format_args!(
        "the catalog tells of callers with no {field} that can be read"
    ))
}

/// It is asked every few seconds: whoever asks says when it begins to go wrong, not each time.
fn unanswered(status: Status) -> Error {
    tracing::debug!(%status, "the catalog does not tell of callers");
    Error::unavailable("DEPENDENCY_UNAVAILABLE", "the catalog does not answer")
}
