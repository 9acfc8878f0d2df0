//! AuthService: the list of its calls. Invariant: a failed login tells nothing, by its answer or its time,
//! of which part failed.

mod password;
mod session;

use std::sync::Arc;

use chassis::{Error, auth, db};
use model::wire;
use proto::catalog::v1 as pb;
use proto::catalog::v1::auth_service_server::AuthService;
use tonic::{Request, Response};

use super::Answer;
use super::users::message;
use crate::identity::{Guard, Proxies, Signer};
use crate::store::users;

pub struct Auth {
    pub guard: Guard,
    pub signer: Arc<Signer>,
    pub proxies: Proxies,
}

#[tonic::async_trait]
impl AuthService for Auth {
    async fn login(&self, request: Request<pb::LoginRequest>) -> Answer<pb::LoginResponse> {
        let source = self.proxies.source(&request);
        let issued = session::login(self, &source, request.into_inner()).await?;
        Ok(Response::new(pb::LoginResponse {
            access_token: issued.access_token,
            expires_at: Some(wire::timestamp(issued.expires_at)),
            user: Some(message(issued.user)),
            refresh_token: issued.refresh_token,
            refresh_expires_at: Some(wire::timestamp(issued.refresh_expires_at)),
        }))
    }

    async fn refresh_token(
        &self,
        request: Request<pb::RefreshTokenRequest>,
    ) -> Answer<pb::RefreshTokenResponse> {
        let issued = session::refresh(self, request.into_inner()).await?;
        Ok(Response::new(pb::RefreshTokenResponse {
            access_token: issued.access_token,
            expires_at: Some(wire::timestamp(issued.expires_at)),
            user: Some(message(issued.user)),
            refresh_token: issued.refresh_token,
            refresh_expires_at: Some(wire::timestamp(issued.refresh_expires_at)),
        }))
    }

    async fn logout(&self, request: Request<pb::LogoutRequest>) -> Answer<()> {
        let caller = auth::user(&request)?.clone();
        session::logout(&self.guard.pool, &caller, request.into_inner()).await?;
        Ok(Response::new(()))
    }

    async fn get_current_user(
        &self,
        request: Request<pb::GetCurrentUserRequest>,
    ) -> Answer<pb::User> {
        let id = auth::user(&request)?.id;
        let mut conn = db::acquire(&self.guard.pool).await?;
        let user = users::get(&mut conn, id)
            .await?
            .ok_or_else(|| Error::not_found("user", id))?;
        Ok(Response::new(message(user)))
    }

    async fn change_password(
        &self,
        request: Request<pb::ChangePasswordRequest>,
    ) -> Answer<pb::User> {
        let caller = auth::user(&request)?.clone();
        let source = self.proxies.source(&request);
        let user = password::change(&self.guard, caller, &source, request.into_inner()).await?;
        Ok(Response::new(message(user)))
    }

    async fn list_signing_keys(
        &self,
        _request: Request<pb::ListSigningKeysRequest>,
    ) -> Answer<pb::ListSigningKeysResponse> {
        let keys = (self.signer.published().into_iter())
            .map(|key| pb::SigningKey {
                id: key.id,
                public_key: key.public_key,
                created_at: Some(wire::timestamp(key.created_at)),
            })
            .collect();
        Ok(Response::new(pb::ListSigningKeysResponse { keys }))
    }
}
