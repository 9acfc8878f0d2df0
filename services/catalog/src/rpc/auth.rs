//! AuthService. Invariant: a failed login tells nothing, by its answer or its time, of which part failed.

use std::sync::Arc;

use chassis::auth;
use chassis::input::Input;
use chassis::{Error, db};
use model::wire;
use proto::catalog::v1 as pb;
use proto::catalog::v1::auth_service_server::AuthService;
use sqlx::PgPool;
use tonic::Request;
use uuid::Uuid;

use super::Answer;
use super::users::message;
use crate::fields;
use crate::identity::{Passwords, Signer};
use crate::store::users;

pub struct Auth {
    pub pool: PgPool,
    pub passwords: Arc<Passwords>,
    pub signer: Arc<Signer>,
}

#[tonic::async_trait]
impl AuthService for Auth {
    async fn login(&self, request: Request<pb::LoginRequest>) -> Answer<pb::LoginResponse> {
        let request = request.into_inner();
        let mut input = Input::new();
        let email = input
            .text("email", &request.email, 1..=*fields::EMAIL.end())
            .to_lowercase();
        // A short password is just a wrong one.
        let password = input.text("password", &request.password, 1..=*fields::PASSWORD.end());
        input.finish()?;

        let found = {
            let mut conn = db::acquire(&self.pool).await?;
            users::credentials(&mut conn, &email).await?
        };
        let (id, hash) = found.unzip();
        let right = self.passwords.verify(password, hash).await?;
        let id = id.filter(|_| right).ok_or_else(|| {
            Error::unauthenticated("LOGIN_FAILED", "email address or password is wrong")
        })?;

        let mut conn = db::acquire(&self.pool).await?;
        let user = users::get(&mut conn, id)
            .await?
            .ok_or_else(|| Error::not_found("user", id))?;
        let now = db::now(&mut conn).await?;
        let speaker = auth::User {
            id: user.id,
            email: user.email.clone(),
            name: user.name.clone(),
            role: user.role,
            groups: user.groups.clone(),
            session_id: Uuid::now_v7(),
            revision: user.revision,
        };
        let (access_token, expires_at) = self.signer.token(&speaker, now)?;
        Ok(tonic::Response::new(pb::LoginResponse {
            access_token,
            expires_at: Some(wire::timestamp(expires_at)),
            user: Some(message(user)),
        }))
    }

    async fn get_current_user(
        &self,
        request: Request<pb::GetCurrentUserRequest>,
    ) -> Answer<pb::User> {
        let id = auth::user(&request)?.id;
        let mut conn = db::acquire(&self.pool).await?;
        let user = users::get(&mut conn, id)
            .await?
            .ok_or_else(|| Error::not_found("user", id))?;
        Ok(tonic::Response::new(message(user)))
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
        Ok(tonic::Response::new(pb::ListSigningKeysResponse { keys }))
    }
}
