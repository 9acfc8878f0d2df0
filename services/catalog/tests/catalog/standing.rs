//! What the catalog tells the services of callers whose access has ended or changed, and does itself.

use proto::catalog::v1 as pb;
use proto::catalog::v1::auth_service_client::AuthServiceClient;
use proto::catalog::v1::user_service_client::UserServiceClient;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::api_keys::{make, revoke, wanted};
use crate::harness::{Catalog, called, malformed, refused};

const PASSWORD: &str = "jane's password";

/// A user who is signed in: the account and the token.
async fn person(catalog: &Catalog, email: &str) -> (pb::User, String) {
    let request = pb::CreateUserRequest {
        user: Some(pb::User {
            email: email.to_owned(),
            name: "Jane Doe".to_owned(),
            ..pb::User::default()
        }),
        password: PASSWORD.to_owned(),
        request_id: String::new(),
    };
    let user = catalog
        .users(&catalog.admin_token)
        .create_user(request)
        .await;
    let token = catalog.login(email, PASSWORD).await.unwrap();
    (user.unwrap().into_inner(), token)
}

async fn execute(catalog: &Catalog, sql: &'static str) {
    let pool = PgPool::connect(&catalog.database.admin_url())
        .await
        .unwrap();
    sqlx::query(sql).execute(&pool).await.unwrap();
}

/// All that ListRevocations tells.
async fn told(catalog: &Catalog) -> (Vec<String>, Vec<pb::ChangedUser>) {
    let mut identity = catalog.identity(&catalog.service_token());
    let answer = identity
        .list_revocations(pb::ListRevocationsRequest {})
        .await;
    let mut parts = answer.unwrap().into_inner();
    let (mut ids, mut users) = (Vec::new(), Vec::new());
    while let Some(part) = parts.message().await.unwrap() {
        ids.extend(part.revoked_ids);
        users.extend(part.users);
    }
    (ids, users)
}

async fn who_am_i(catalog: &Catalog, token: &str) -> Result<pb::User, Status> {
    // A replica that knows nobody yet asks at once; the others do every few seconds.
    let mut auth = AuthServiceClient::new(called(catalog.replica().await, token));
    let answer = auth.get_current_user(pb::GetCurrentUserRequest {}).await?;
    Ok(answer.into_inner())
}

const PROMOTE: &str = "update catalog.users
    set role = 'ADMIN', groups = '{board}', access_changed_at = clock_timestamp()
    where email = 'jane@example.com'";
const DEACTIVATE: &str = "update catalog.users
    set is_active = false, access_changed_at = clock_timestamp()
    where email = 'jane@example.com'";

#[tokio::test]
async fn services_are_told_of_what_ended_or_changed_lately() {
    let catalog = Catalog::start().await;
    let (jane, _) = person(&catalog, "jane@example.com").await;
    assert_eq!(
        told(&catalog).await,
        (Vec::new(), Vec::new()),
        "of nobody who is only new"
    );
    let (key, _) = make(&catalog, wanted("ERP", pb::ApiKeyScope::Service))
        .await
        .unwrap();
    revoke(&catalog, &key.id, "").await.unwrap();
    execute(&catalog, PROMOTE).await;
    let (ids, users) = told(&catalog).await;
    assert_eq!(ids, [key.id]);
    let [changed] = &users[..] else {
        panic!("one user changed, not {}", users.len());
    };
    assert_eq!(
        (&changed.id, changed.role()),
        (&jane.id, pb::UserRole::Admin)
    );
    assert_eq!(
        (&changed.groups[..], changed.is_active),
        (&["board".to_owned()][..], true)
    );
    assert_eq!(changed.revision, 2);

    let age = "update catalog.revocations set revoked_at = now() - interval '45 minutes 1 second'";
    execute(&catalog, age).await;
    let age = "update catalog.users
        set created_at = now() - interval '1 day', access_changed_at = now() - interval '45 minutes 1 second'";
    execute(&catalog, age).await;
    assert_eq!(
        told(&catalog).await,
        (Vec::new(), Vec::new()),
        "no older ones"
    );
}

#[tokio::test]
async fn deactivated_user_is_refused_with_the_token_they_have() {
    let catalog = Catalog::start().await;
    let (jane, token) = person(&catalog, "jane@example.com").await;
    assert_eq!(who_am_i(&catalog, &token).await.unwrap().id, jane.id);
    execute(&catalog, DEACTIVATE).await;
    let answer = who_am_i(&catalog, &token).await;
    refused(answer, Code::Unauthenticated, "TOKEN_REVOKED");
}

#[tokio::test]
async fn ended_session_is_refused_with_the_token_it_gave() {
    let catalog = Catalog::start().await;
    let (_, token) = person(&catalog, "jane@example.com").await;
    let (_, other) = person(&catalog, "joe@example.com").await;
    let claims = token.split('.').nth(1).unwrap();
    let claims = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims);
    let claims: serde_json::Value = serde_json::from_slice(&claims.unwrap()).unwrap();
    let session: Uuid = claims["sid"].as_str().unwrap().parse().unwrap();
    let pool = PgPool::connect(&catalog.database.admin_url())
        .await
        .unwrap();
    sqlx::query("insert into catalog.revocations (id) values ($1)")
        .bind(session)
        .execute(&pool)
        .await
        .unwrap();
    let answer = who_am_i(&catalog, &token).await;
    refused(answer, Code::Unauthenticated, "TOKEN_REVOKED");
    assert!(who_am_i(&catalog, &other).await.is_ok());
}

#[tokio::test]
async fn new_role_holds_for_the_token_of_before_and_an_old_one_not_for_the_token_of_after() {
    let catalog = Catalog::start().await;
    let (_, before) = person(&catalog, "jane@example.com").await;
    let list = || pb::ListApiKeysRequest::default();
    let keys = catalog.api_keys(&before).list_api_keys(list()).await;
    refused(keys, Code::PermissionDenied, "ADMIN_REQUIRED");
    execute(&catalog, PROMOTE).await;
    let channel = catalog.replica().await;
    let mut users = UserServiceClient::new(called(channel.clone(), &before));
    // CreateUser needs an ADMIN: what is wrong then is the request.
    let answer = users.create_user(pb::CreateUserRequest::default()).await;
    assert_eq!(malformed(answer), ["user"]);

    // The replica still knows her as of now; the next token knows better.
    let demote = "update catalog.users set role = 'USER', access_changed_at = clock_timestamp()
        where email = 'jane@example.com'";
    execute(&catalog, demote).await;
    let after = catalog.login("jane@example.com", PASSWORD).await.unwrap();
    let mut users = UserServiceClient::new(called(channel, &after));
    let answer = users.create_user(pb::CreateUserRequest::default()).await;
    refused(answer, Code::PermissionDenied, "ADMIN_REQUIRED");
}

#[tokio::test]
async fn keys_are_known_by_their_hash_and_to_services_only() {
    let catalog = Catalog::start().await;
    let (key, secret) = make(&catalog, wanted("ERP", pb::ApiKeyScope::Service))
        .await
        .unwrap();
    let ask = |hash: &[u8]| pb::VerifyApiKeyRequest {
        key_hash: hash.to_vec(),
    };
    let hash = Sha256::digest(&secret);
    let mut identity = catalog.identity(&catalog.service_token());
    let found = identity
        .verify_api_key(ask(&hash))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(found, key);
    refused(
        identity.verify_api_key(ask(&[0; 32])).await,
        Code::NotFound,
        "API_KEY_NOT_FOUND",
    );
    assert_eq!(
        malformed(identity.verify_api_key(ask(&hash[1..])).await),
        ["key_hash"]
    );
    let asked = catalog
        .identity(&catalog.admin_token)
        .verify_api_key(ask(&hash))
        .await;
    refused(asked, Code::PermissionDenied, "INTERNAL_ONLY");
}
