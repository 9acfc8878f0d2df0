//! ApiKeyService. Invariant: a key is in one answer and in no row, log or hash of a request.

use chassis::auth::{self, NewApiKey};
use chassis::filter::{Filter, Kind};
use chassis::idempotency::RequestKey;
use chassis::input::Input;
use chassis::order::Order;
use chassis::page::Page;
use chassis::{Error, Result, db};
use model::status::KeyScope;
use model::wire;
use proto::catalog::v1 as pb;
use proto::catalog::v1::api_key_service_server::ApiKeyService;
use sqlx::{PgConnection, PgPool};
use tonic::{Request, Response};
use uuid::Uuid;

use super::{Answer, check_etag, fit, present, still_admin};
use crate::fields;
use crate::store::api_keys::{self, ApiKey, KeyFilter, NewKey};
use crate::store::audit::{self, Object};
use crate::store::{self, requests, revocations};

const FILTER: &[(&str, Kind)] = &[
    ("name", Kind::Text),
    ("scope", Kind::Word(&["WORKER", "SERVICE"])),
    ("is_revoked", Kind::Bool),
];

/// Keys that are not revoked.
const MOST_KEYS: i64 = 1000;

pub struct ApiKeys {
    pub pool: PgPool,
}

#[tonic::async_trait]
impl ApiKeyService for ApiKeys {
    async fn create_api_key(
        &self,
        request: Request<pb::CreateApiKeyRequest>,
    ) -> Answer<pb::CreateApiKeyResponse> {
        let caller = auth::caller(&request)?.clone();
        let created_by = auth::user(&request)?.id;
        let mut request = request.into_inner();
        let request_id = std::mem::take(&mut request.request_id);
        let key = RequestKey::from(&caller, "CreateApiKey", &request_id, &request)?;
        let wanted = present("api_key", request.api_key)?;
        let mut input = Input::new();
        let name = input.name("api_key.name", &wanted.name, fields::NAME);
        let scope = read_scope(&mut input, wanted.scope());
        let expires_at = input.instant("api_key.expires_at", wanted.expires_at.as_ref());
        input.finish()?;

        let made = NewApiKey::make()?;
        let secret = made.secret.clone();
        let (api_key, is_new) = db::transaction(&self.pool, async move |conn| {
            still_admin(conn, &caller).await?;
            let id = Uuid::now_v7();
            if let Some(id) = requests::claim(conn, key.as_ref(), id).await? {
                return Ok((found(api_keys::get(conn, id).await?, id)?, false));
            }
            if let Some(at) = expires_at
                && at <= db::now(conn).await?
            {
                return Err(Error::invalid("api_key.expires_at", "lies in the past"));
            }
            leave_room(conn).await?;
            let new = NewKey {
                id,
                name: &name,
                scope,
                hash: &made.hash,
                prefix: &made.prefix,
                created_by,
                expires_at,
            };
            api_keys::insert(conn, new).await?;
            let lines = [format!("created API key {name:?} of the scope {scope}")];
            audit::record(conn, &caller, "CreateApiKey", Object::ApiKey(id), &lines).await?;
            Ok((found(api_keys::get(conn, id).await?, id)?, true))
        })
        .await?;
        Ok(Response::new(pb::CreateApiKeyResponse {
            api_key: Some(message(api_key)),
            secret: if is_new { secret } else { String::new() },
        }))
    }

    async fn get_api_key(&self, request: Request<pb::GetApiKeyRequest>) -> Answer<pb::ApiKey> {
        let mut input = Input::new();
        let id = input.uuid("id", &request.get_ref().id);
        input.finish()?;
        let mut conn = db::acquire(&self.pool).await?;
        let key = found(api_keys::get(&mut conn, id).await?, id)?;
        Ok(Response::new(message(key)))
    }

    async fn list_api_keys(
        &self,
        request: Request<pb::ListApiKeysRequest>,
    ) -> Answer<pb::ListApiKeysResponse> {
        let request = request.into_inner();
        let oldest_first = Order::up("created_at");
        let order = Order::parse(&request.order_by, &["created_at"], oldest_first)?;
        let query = ["ListApiKeys", &request.filter, &order.to_string()];
        let page = Page::parse(request.page_size, &request.page_token, &query)?;
        let filter = Filter::parse(&request.filter, FILTER)?;
        let restriction = KeyFilter {
            name: filter.text("name"),
            scope: filter.text("scope"),
            is_revoked: filter.bool("is_revoked"),
        };
        let run = order.run(page.after_instant()?);
        let mut listing = db::listing(&self.pool).await?;
        let rows = api_keys::list(&mut listing, restriction, run, page.limit + 1).await?;
        listing.commit().await.map_err(Error::from)?;
        let token = |row: &ApiKey| page.next_instant(row.created_at, row.id);
        let (api_keys, next_page_token) = fit(&page, rows, token, message);
        Ok(Response::new(pb::ListApiKeysResponse {
            api_keys,
            next_page_token,
        }))
    }

    async fn revoke_api_key(
        &self,
        request: Request<pb::RevokeApiKeyRequest>,
    ) -> Answer<pb::ApiKey> {
        let caller = auth::caller(&request)?.clone();
        let request = request.into_inner();
        let mut input = Input::new();
        let id = input.uuid("id", &request.id);
        input.finish()?;
        let key = db::transaction(&self.pool, async move |conn| {
            still_admin(conn, &caller).await?;
            let key = found(api_keys::lock(conn, id).await?, id)?;
            if key.revoked_at.is_some() {
                return Ok(key);
            }
            check_etag("API key", &request.etag, key.revision)?;
            api_keys::revoke(conn, id).await?;
            revocations::insert(conn, &[id]).await?;
            let lines = [format!("revoked API key {:?}", key.name)];
            audit::record(conn, &caller, "RevokeApiKey", Object::ApiKey(id), &lines).await?;
            found(api_keys::get(conn, id).await?, id)
        })
        .await?;
        Ok(Response::new(message(key)))
    }
}

/// Counting and inserting is one at a time, so that many at once do not exceed the limit together.
async fn leave_room(conn: &mut PgConnection) -> Result<()> {
    store::serialize(conn, "catalog.api_keys").await?;
    if api_keys::count_not_revoked(conn).await? < MOST_KEYS {
        return Ok(());
    }
    let message = format!("there are {MOST_KEYS} API keys; revoke some that are not needed");
    Err(Error::precondition("API_KEY_LIMIT", message))
}

fn found(key: Option<ApiKey>, id: Uuid) -> Result<ApiKey> {
    key.ok_or_else(|| Error::not_found("API key", id))
}

fn read_scope(input: &mut Input, scope: pb::ApiKeyScope) -> KeyScope {
    match scope {
        pb::ApiKeyScope::Worker => KeyScope::Worker,
        pb::ApiKeyScope::Service => KeyScope::Service,
        pb::ApiKeyScope::Unspecified => {
            let choice = "must be API_KEY_SCOPE_WORKER or API_KEY_SCOPE_SERVICE";
            input.push("api_key.scope", choice);
            KeyScope::Worker
        }
    }
}

/// A key on the wire.
pub fn message(key: ApiKey) -> pb::ApiKey {
    let scope = match key.scope {
        KeyScope::Worker => pb::ApiKeyScope::Worker,
        KeyScope::Service => pb::ApiKeyScope::Service,
    };
    pb::ApiKey {
        id: key.id.to_string(),
        name: key.name,
        scope: scope.into(),
        expires_at: key.expires_at.map(wire::timestamp),
        prefix: key.prefix,
        created_by: key.created_by.to_string(),
        created_at: Some(wire::timestamp(key.created_at)),
        revoked_at: key.revoked_at.map(wire::timestamp),
        etag: key.revision.to_string(),
    }
}
