//! IdentityService, and the same for the catalog itself. Invariant: whether somebody is let in here and
//! elsewhere is read from the same rows by the same statements.

use std::iter;

use chassis::auth::{Account, ApiKey, KeyFound, KeyHash, Revocations, Source};
use chassis::{BoxFuture, Error, Result, db};
use model::status::Role;
use proto::catalog::v1 as pb;
use proto::catalog::v1::identity_service_server::IdentityService;
use sqlx::PgPool;
use tokio_stream::Iter;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Answer, api_keys};
use crate::store::{self, standing};

/// Well below the 4 MiB that a client takes: an id has 36 bytes, a user's groups 8000 and something.
const IDS_A_MESSAGE: usize = 50_000;
const USERS_A_MESSAGE: usize = 300;
/// Groups that one call may ask about.
const MOST_GROUPS: usize = 1000;

#[derive(Debug, Clone)]
pub struct Identity {
    pub pool: PgPool,
}

impl Identity {
    async fn find(&self, hash: &[u8]) -> Result<Option<store::api_keys::ApiKey>> {
        let mut conn = db::acquire(&self.pool).await?;
        store::api_keys::find(&mut conn, hash).await
    }

    async fn read(&self) -> Result<Revocations> {
        let mut conn = db::acquire(&self.pool).await?;
        Ok(Revocations {
            ended: standing::ended(&mut conn).await?,
            accounts: standing::changed_accounts(&mut conn).await?,
        })
    }
}

impl Source for Identity {
    fn revocations(&self) -> BoxFuture<'_, Result<Revocations>> {
        Box::pin(self.read())
    }

    fn api_key(&self, hash: KeyHash) -> BoxFuture<'_, Result<KeyFound>> {
        Box::pin(async move {
            Ok(match self.find(&hash).await? {
                None => KeyFound::Unknown,
                Some(key) if key.revoked_at.is_some() => KeyFound::Revoked,
                Some(key) => KeyFound::Good(ApiKey {
                    id: key.id,
                    name: key.name,
                    scope: key.scope,
                    expires_at: key.expires_at,
                }),
            })
        })
    }
}

type Parts = Vec<Result<pb::ListRevocationsResponse, Status>>;

#[tonic::async_trait]
impl IdentityService for Identity {
    type ListRevocationsStream = Iter<<Parts as IntoIterator>::IntoIter>;

    async fn verify_api_key(
        &self,
        request: Request<pb::VerifyApiKeyRequest>,
    ) -> Answer<pb::ApiKey> {
        let hash = request.into_inner().key_hash;
        if hash.len() != KeyHash::default().len() {
            return Err(Error::invalid("key_hash", "is not 32 bytes long").into());
        }
        let key = self.find(&hash).await?;
        let key = key.ok_or_else(|| Error::not_found("API key", "with this hash"))?;
        Ok(Response::new(api_keys::message(key)))
    }

    async fn list_revocations(
        &self,
        _: Request<pb::ListRevocationsRequest>,
    ) -> Answer<Self::ListRevocationsStream> {
        let parts: Parts = split(self.read().await?).map(Ok).collect();
        Ok(Response::new(tokio_stream::iter(parts)))
    }

    async fn find_empty_groups(
        &self,
        request: Request<pb::FindEmptyGroupsRequest>,
    ) -> Answer<pb::FindEmptyGroupsResponse> {
        let asked = request.into_inner().groups;
        if asked.len() > MOST_GROUPS {
            let description = format!("are more than {MOST_GROUPS}");
            return Err(Error::invalid("groups", description).into());
        }
        let mut conn = db::acquire(&self.pool).await?;
        let groups = store::users::empty_groups(&mut conn, &asked).await?;
        Ok(Response::new(pb::FindEmptyGroupsResponse { groups }))
    }
}

/// In messages that clients accept.
fn split(revocations: Revocations) -> impl Iterator<Item = pb::ListRevocationsResponse> {
    let Revocations { ended, accounts } = revocations;
    let ids = pieces(ended, IDS_A_MESSAGE).map(|ids| pb::ListRevocationsResponse {
        revoked_ids: ids.iter().map(Uuid::to_string).collect(),
        users: Vec::new(),
    });
    let users = pieces(accounts, USERS_A_MESSAGE).map(|users| pb::ListRevocationsResponse {
        revoked_ids: Vec::new(),
        users: users.into_iter().map(changed).collect(),
    });
    ids.chain(users)
}

fn pieces<T>(all: impl IntoIterator<Item = T>, size: usize) -> impl Iterator<Item = Vec<T>> {
    let mut all = all.into_iter();
    iter::from_fn(move || {
        let piece: Vec<T> = all.by_ref().take(size).collect();
        (!piece.is_empty()).then_some(piece)
    })
}

fn changed((id, account): (Uuid, Account)) -> pb::ChangedUser {
    let role = match account.role {
        Role::Admin => pb::UserRole::Admin,
        Role::User => pb::UserRole::User,
    };
    pb::ChangedUser {
        id: id.to_string(),
        role: role.into(),
        groups: account.groups,
        is_active: account.is_active,
        revision: account.revision,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_much_there_is_it_comes_in_messages_that_are_accepted() {
        use prost::Message;

        let account = Account {
            role: Role::User,
            groups: (0..50).map(|n| format!("{n:0160}")).collect(),
            is_active: true,
            revision: i64::MAX,
        };
        let all = Revocations {
            ended: (0..120_000).map(Uuid::from_u128).collect(),
            accounts: (0..1000)
                .map(|n| (Uuid::from_u128(n), account.clone()))
                .collect(),
        };
        let parts: Vec<_> = split(all).collect();
        let ids: usize = parts.iter().map(|part| part.revoked_ids.len()).sum();
        let users: usize = parts.iter().map(|part| part.users.len()).sum();
        assert_eq!((ids, users), (120_000, 1000));
        for part in parts {
            assert!(part.encoded_len() < 4 * 1024 * 1024);
        }
    }
}
