//! UserService. Invariant: an active administrator remains.

mod change;
mod list;

use std::sync::Arc;

use chassis::auth;
use chassis::idempotency::RequestKey;
use chassis::input::Input;
use chassis::{Error, Result, db};
use model::status::Role;
use model::wire;
use proto::catalog::v1 as pb;
use proto::catalog::v1::user_service_server::UserService;
use sqlx::PgPool;
use tonic::{Request, Response};
use uuid::Uuid;

use super::{Answer, present, still_admin};
use crate::fields;
use crate::identity::{MasterKey, Passwords};
use crate::store::audit::{self, Object};
use crate::store::requests;
use crate::store::users::{self, NewUser, User};

pub struct Users {
    pub pool: PgPool,
    pub passwords: Arc<Passwords>,
    pub master: MasterKey,
}

#[tonic::async_trait]
impl UserService for Users {
    async fn create_user(&self, request: Request<pb::CreateUserRequest>) -> Answer<pb::User> {
        let caller = auth::caller(&request)?.clone();
        let mut request = request.into_inner();
        let request_id = std::mem::take(&mut request.request_id);
        let wanted = present("user", request.user.clone())?;
        let mut input = Input::new();
        let email = input
            .text("user.email", &wanted.email, 1..=*fields::EMAIL.end())
            .to_lowercase();
        if let Some(fault) = fields::email_fault(&email).filter(|_| !email.is_empty()) {
            input.push("user.email", fault);
        }
        let name = input.name("user.name", &wanted.name, fields::NAME);
        let role = match wanted.role {
            0 => Role::User,
            role => read_role(&mut input, role),
        };
        let groups = read_groups(&mut input, &wanted.groups);
        let is_active = wanted.is_active.unwrap_or(true);
        let password = input.text("password", &request.password, fields::PASSWORD);
        input.finish()?;

        // The password must not be guessable from the hash of the request.
        request.password = self.master.fingerprint(&password);
        let key = RequestKey::from(&caller, "CreateUser", &request_id, &request)?;
        let password_hash = self.passwords.hash(password).await?;
        let id = Uuid::now_v7();
        let user = db::transaction(&self.pool, async move |conn| {
            still_admin(conn, &caller).await?;
            if let Some(id) = requests::claim(conn, key.as_ref(), id).await? {
                return found(users::get(conn, id).await?, id);
            }
            let new = NewUser {
                id,
                email: &email,
                password_hash: &password_hash,
                name: &name,
                role,
                groups: &groups,
                is_active,
            };
            users::insert(conn, new).await?;
            let lines = [format!("created user {email:?}")];
            audit::record(conn, &caller, "CreateUser", Object::User(id), &lines).await?;
            found(users::get(conn, id).await?, id)
        })
        .await?;
        Ok(Response::new(message(user)))
    }

    async fn get_user(&self, request: Request<pb::GetUserRequest>) -> Answer<pb::User> {
        let mut input = Input::new();
        let id = input.uuid("id", &request.get_ref().id);
        input.finish()?;
        let mut conn = db::acquire(&self.pool).await?;
        let user = found(users::get(&mut conn, id).await?, id)?;
        Ok(Response::new(message(user)))
    }

    async fn list_users(
        &self,
        request: Request<pb::ListUsersRequest>,
    ) -> Answer<pb::ListUsersResponse> {
        let page = list::list(&self.pool, request.into_inner()).await?;
        Ok(Response::new(page))
    }

    async fn update_user(&self, request: Request<pb::UpdateUserRequest>) -> Answer<pb::User> {
        let caller = auth::user(&request)?.clone();
        let user = change::update(&self.pool, caller, request.into_inner()).await?;
        Ok(Response::new(message(user)))
    }

    async fn reset_password(&self, request: Request<pb::ResetPasswordRequest>) -> Answer<pb::User> {
        let caller = auth::caller(&request)?.clone();
        let request = request.into_inner();
        let user = change::reset_password(&self.pool, &self.passwords, caller, request).await?;
        Ok(Response::new(message(user)))
    }

    async fn delete_user(&self, request: Request<pb::DeleteUserRequest>) -> Answer<()> {
        let caller = auth::caller(&request)?.clone();
        change::delete(&self.pool, caller, request.into_inner()).await?;
        Ok(Response::new(()))
    }
}

/// A user on the wire.
pub fn message(user: User) -> pb::User {
    let role = match user.role {
        Role::Admin => pb::UserRole::Admin,
        Role::User => pb::UserRole::User,
    };
    pb::User {
        id: user.id.to_string(),
        email: user.email,
        name: user.name,
        role: role.into(),
        groups: user.groups,
        created_at: Some(wire::timestamp(user.created_at)),
        updated_at: Some(wire::timestamp(user.updated_at)),
        etag: user.revision.to_string(),
        is_active: Some(user.is_active),
    }
}

fn found(user: Option<User>, id: Uuid) -> Result<User> {
    user.ok_or_else(|| Error::not_found("user", id))
}

fn read_role(input: &mut Input, role: i32) -> Role {
    match pb::UserRole::try_from(role) {
        Ok(pb::UserRole::Admin) => Role::Admin,
        Ok(pb::UserRole::User) => Role::User,
        Ok(pb::UserRole::Unspecified) | Err(_) => {
            input.push("user.role", "must be USER_ROLE_ADMIN or USER_ROLE_USER");
            Role::User
        }
    }
}

/// Groups in order and once each.
fn read_groups(input: &mut Input, groups: &[String]) -> Vec<String> {
    if groups.len() > fields::MAX_GROUPS {
        let most = fields::MAX_GROUPS;
        input.push(
            "user.groups",
            format!("has {} names; at most {most} fit", groups.len()),
        );
        return Vec::new();
    }
    let mut read: Vec<String> = (groups.iter().enumerate())
        .map(|(index, group)| input.name(&format!("user.groups[{index}]"), group, fields::GROUP))
        .collect();
    if read.iter().map(String::len).sum::<usize>() > fields::MAX_GROUP_BYTES {
        let most = fields::MAX_GROUP_BYTES;
        input.push("user.groups", format!("comes to more than {most} bytes"));
    }
    read.sort();
    read.dedup();
    read
}
