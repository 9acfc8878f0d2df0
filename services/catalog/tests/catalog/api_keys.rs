//! How machines are let in: keys are made, shown once, listed and revoked.

use proto::catalog::v1 as pb;
use proto::catalog::v1::client_service_client::ClientServiceClient;
use proto::catalog::v1::workflow_service_client::WorkflowServiceClient;
use sqlx::PgPool;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::audit::story;
use crate::harness::{Catalog, called, malformed, refused};

pub fn wanted(name: &str, scope: pb::ApiKeyScope) -> pb::CreateApiKeyRequest {
    pb::CreateApiKeyRequest {
        api_key: Some(pb::ApiKey {
            name: name.to_owned(),
            scope: scope.into(),
            ..pb::ApiKey::default()
        }),
        request_id: String::new(),
    }
}

/// As the administrator: the key, and its secret.
pub async fn make(
    catalog: &Catalog,
    request: pb::CreateApiKeyRequest,
) -> Result<(pb::ApiKey, String), Status> {
    let mut keys = catalog.api_keys(&catalog.admin_token);
    let made = keys.create_api_key(request).await?.into_inner();
    Ok((made.api_key.unwrap(), made.secret))
}

pub async fn revoke(catalog: &Catalog, id: &str, etag: &str) -> Result<pb::ApiKey, Status> {
    let request = pb::RevokeApiKeyRequest {
        id: id.to_owned(),
        etag: etag.to_owned(),
    };
    let mut keys = catalog.api_keys(&catalog.admin_token);
    Ok(keys.revoke_api_key(request).await?.into_inner())
}

async fn list(
    catalog: &Catalog,
    page_size: i32,
    page_token: &str,
    filter: &str,
) -> Result<pb::ListApiKeysResponse, Status> {
    let request = pb::ListApiKeysRequest {
        page_size,
        page_token: page_token.to_owned(),
        filter: filter.to_owned(),
        order_by: String::new(),
    };
    let mut keys = catalog.api_keys(&catalog.admin_token);
    Ok(keys.list_api_keys(request).await?.into_inner())
}

async fn pool(catalog: &Catalog) -> PgPool {
    PgPool::connect(&catalog.database.admin_url())
        .await
        .unwrap()
}

#[tokio::test]
async fn key_of_the_scope_service_edits_clients_and_workflows_and_is_named_as_the_author() {
    let catalog = Catalog::start().await;
    let (key, secret) = make(&catalog, wanted("ERP", pb::ApiKeyScope::Service))
        .await
        .unwrap();
    assert!(secret.starts_with(&key.prefix) && secret.len() == 47);
    assert_eq!(
        (key.name.as_str(), key.scope()),
        ("ERP", pb::ApiKeyScope::Service)
    );
    assert!(key.expires_at.is_none() && key.revoked_at.is_none());

    let client = pb::CreateClientRequest {
        client: Some(pb::Client {
            name: "Acme".to_owned(),
            ..pb::Client::default()
        }),
        request_id: String::new(),
    };
    let made = catalog.clients_as(&secret).create_client(client).await;
    let client_id = made.unwrap().into_inner().id;
    let channel = catalog.replica().await;
    let workflow = pb::CreateWorkflowRequest {
        workflow: Some(pb::Workflow {
            name: "Onboarding".to_owned(),
            client_id: client_id.clone(),
            ..pb::Workflow::default()
        }),
        request_id: String::new(),
    };
    let made = WorkflowServiceClient::new(called(channel, &secret))
        .create_workflow(workflow)
        .await;
    assert_eq!(made.unwrap().into_inner().created_by, key.id);
    let events = crate::audit::events(&catalog, &format!("actor_id = \"{}\"", key.id)).await;
    let client_made = events
        .iter()
        .find(|event| event.object_id == client_id)
        .unwrap();
    assert_eq!(client_made.actor_type(), pb::ActorType::ApiKey);
    assert_eq!(client_made.actor_name, "ERP");

    // Never people's things, nor keys.
    let me = catalog
        .auth(&secret)
        .get_current_user(pb::GetCurrentUserRequest {})
        .await;
    refused(me, Code::PermissionDenied, "USER_REQUIRED");
    let users = catalog
        .users(&secret)
        .list_users(pb::ListUsersRequest::default())
        .await;
    refused(users, Code::PermissionDenied, "USER_REQUIRED");
    let another = wanted("another", pb::ApiKeyScope::Service);
    let another = catalog.api_keys(&secret).create_api_key(another).await;
    refused(another, Code::PermissionDenied, "ADMIN_REQUIRED");
    let internal = pb::ListRevocationsRequest {};
    let internal = catalog.identity(&secret).list_revocations(internal).await;
    refused(internal, Code::PermissionDenied, "INTERNAL_ONLY");
}

#[tokio::test]
async fn key_of_the_scope_worker_sees_nothing_of_the_catalog() {
    let catalog = Catalog::start().await;
    let (_, secret) = make(&catalog, wanted("packer", pb::ApiKeyScope::Worker))
        .await
        .unwrap();
    let clients = pb::ListClientsRequest::default();
    let clients = catalog.clients_as(&secret).list_clients(clients).await;
    refused(clients, Code::PermissionDenied, "SCOPE_REQUIRED");
    for changed in [
        format!("{secret}A"),
        secret.to_lowercase(),
        secret.replacen("wfp_", "wfp-", 1),
    ] {
        let clients = pb::ListClientsRequest::default();
        let clients = catalog.clients_as(&changed).list_clients(clients).await;
        refused(clients, Code::Unauthenticated, "TOKEN_INVALID");
    }
}

#[tokio::test]
async fn secret_is_shown_to_one_call_and_stands_in_no_row() {
    let catalog = Catalog::start().await;
    let request = pb::CreateApiKeyRequest {
        request_id: Uuid::now_v7().to_string(),
        ..wanted("ERP", pb::ApiKeyScope::Service)
    };
    let calls = (0..8).map(|_| make(&catalog, request.clone()));
    let made: Vec<_> = futures_util::future::join_all(calls).await;
    let made: Vec<(pb::ApiKey, String)> = made.into_iter().map(Result::unwrap).collect();
    assert!(made.iter().all(|(key, _)| key == &made[0].0));
    let shown: Vec<&String> = made
        .iter()
        .map(|(_, secret)| secret)
        .filter(|s| !s.is_empty())
        .collect();
    let [secret] = shown[..] else {
        panic!("shown {} times", shown.len());
    };
    let other = pb::CreateApiKeyRequest {
        request_id: request.request_id.clone(),
        ..wanted("other", pb::ApiKeyScope::Service)
    };
    refused(
        make(&catalog, other).await,
        Code::AlreadyExists,
        "REQUEST_ID_REUSED",
    );
    let said = story(&catalog, &made[0].0.id).await;
    let line = "created API key \"ERP\" of the scope SERVICE".to_owned();
    assert_eq!(said, [("CreateApiKey".to_owned(), vec![line])]);

    let rows: String = sqlx::query_scalar(
        "select string_agg(row::text, '') from (
             select k::text from catalog.api_keys k
             union all select r::text from catalog.requests r
             union all select e::text from catalog.audit_events e
         ) as rows (row)",
    )
    .fetch_one(&pool(&catalog).await)
    .await
    .unwrap();
    assert!(rows.contains(&made[0].0.prefix));
    assert!(!rows.contains(&secret[10..]));
}

#[tokio::test]
async fn revoked_key_is_refused_and_stays_listed() {
    let catalog = Catalog::start().await;
    let (key, secret) = make(&catalog, wanted("ERP", pb::ApiKeyScope::Service))
        .await
        .unwrap();
    let stale = revoke(&catalog, &key.id, "77").await;
    refused(stale, Code::Aborted, "STALE_ETAG");
    let revoked = revoke(&catalog, &key.id, &key.etag).await.unwrap();
    assert!(revoked.revoked_at.is_some());
    assert_ne!(revoked.etag, key.etag);
    // Whoever repeats it changes nothing, whatever they knew.
    assert_eq!(revoke(&catalog, &key.id, &key.etag).await.unwrap(), revoked);
    let actions: Vec<String> = story(&catalog, &key.id)
        .await
        .into_iter()
        .map(|(a, _)| a)
        .collect();
    assert_eq!(actions, ["CreateApiKey", "RevokeApiKey"]);

    // A replica that has never met it.
    let mut clients = ClientServiceClient::new(called(catalog.replica().await, &secret));
    let answer = clients
        .list_clients(pb::ListClientsRequest::default())
        .await;
    refused(answer, Code::Unauthenticated, "TOKEN_REVOKED");

    let mut keys = catalog.api_keys(&catalog.admin_token);
    let get = |id: &str| pb::GetApiKeyRequest { id: id.to_owned() };
    assert_eq!(
        keys.get_api_key(get(&key.id)).await.unwrap().into_inner(),
        revoked
    );
    let unknown = Uuid::now_v7().to_string();
    refused(
        keys.get_api_key(get(&unknown)).await,
        Code::NotFound,
        "API_KEY_NOT_FOUND",
    );
    refused(
        revoke(&catalog, &unknown, "").await,
        Code::NotFound,
        "API_KEY_NOT_FOUND",
    );
    assert_eq!(malformed(revoke(&catalog, "5", "").await), ["id"]);
}

#[tokio::test]
async fn key_ends_when_it_was_said_to() {
    let catalog = Catalog::start().await;
    let at = |seconds: i64| prost_types::Timestamp {
        seconds: chrono::Utc::now().timestamp() + seconds,
        nanos: 0,
    };
    let until = |end: prost_types::Timestamp| {
        let mut request = wanted("for a day", pb::ApiKeyScope::Service);
        request.api_key.as_mut().unwrap().expires_at = Some(end);
        request
    };
    let past = make(&catalog, until(at(-60))).await;
    assert_eq!(malformed(past), ["api_key.expires_at"]);
    let tomorrow = at(86_400);
    let (key, secret) = make(&catalog, until(tomorrow)).await.unwrap();
    assert_eq!(key.expires_at, Some(tomorrow));
    let ask = || pb::ListClientsRequest::default();
    catalog
        .clients_as(&secret)
        .list_clients(ask())
        .await
        .unwrap();

    sqlx::query("update catalog.api_keys set expires_at = now()")
        .execute(&pool(&catalog).await)
        .await
        .unwrap();
    let mut clients = ClientServiceClient::new(called(catalog.replica().await, &secret));
    refused(
        clients.list_clients(ask()).await,
        Code::Unauthenticated,
        "TOKEN_EXPIRED",
    );
}

#[tokio::test]
async fn malformed_keys_are_refused_with_all_that_is_wrong() {
    let catalog = Catalog::start().await;
    let nothing = pb::CreateApiKeyRequest::default();
    assert_eq!(malformed(make(&catalog, nothing).await), ["api_key"]);
    let mut wrong = wanted("", pb::ApiKeyScope::Unspecified);
    wrong.api_key.as_mut().unwrap().expires_at = Some(prost_types::Timestamp {
        seconds: 0,
        nanos: -1,
    });
    let fields = malformed(make(&catalog, wrong).await);
    assert_eq!(
        fields,
        ["api_key.name", "api_key.scope", "api_key.expires_at"]
    );
    let mut unknown = wanted(&"x".repeat(201), pb::ApiKeyScope::Worker);
    unknown.api_key.as_mut().unwrap().scope = 99;
    let fields = malformed(make(&catalog, unknown).await);
    assert_eq!(fields, ["api_key.name", "api_key.scope"]);
    assert!(list(&catalog, 0, "", "").await.unwrap().api_keys.is_empty());
}

#[tokio::test]
async fn there_are_a_thousand_keys_and_no_more_however_many_come_at_once() {
    let catalog = Catalog::start().await;
    sqlx::query(
        "insert into catalog.api_keys (id, name, scope, key_hash, prefix, created_by)
         select gen_random_uuid(), n::text, 'WORKER', sha256(n::text::bytea), 'wfp_', gen_random_uuid()
         from generate_series(1, 998) n",
    )
    .execute(&pool(&catalog).await)
    .await
    .unwrap();
    let calls = (0..6).map(|_| make(&catalog, wanted("late", pb::ApiKeyScope::Worker)));
    let made = futures_util::future::join_all(calls).await;
    let (made, too_many): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), too_many.len()), (2, 4));
    for answer in too_many {
        refused(answer, Code::FailedPrecondition, "API_KEY_LIMIT");
    }
    let (one, _) = made.into_iter().next().unwrap().unwrap();
    revoke(&catalog, &one.id, "").await.unwrap();
    make(&catalog, wanted("in its place", pb::ApiKeyScope::Worker))
        .await
        .unwrap();
}

#[tokio::test]
async fn keys_are_listed_in_pages_by_what_is_asked_for() {
    let catalog = Catalog::start().await;
    let mut ids = Vec::new();
    for (name, scope) in [
        ("a", pb::ApiKeyScope::Worker),
        ("b", pb::ApiKeyScope::Service),
        ("c", pb::ApiKeyScope::Worker),
    ] {
        ids.push(make(&catalog, wanted(name, scope)).await.unwrap().0.id);
    }
    revoke(&catalog, &ids[0], "").await.unwrap();
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let page = list(&catalog, 2, &token, "").await.unwrap();
        seen.extend(page.api_keys.into_iter().map(|key| key.id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ids);
    let names = async |filter: &str| -> Vec<String> {
        let page = list(&catalog, 0, "", filter).await.unwrap();
        page.api_keys.into_iter().map(|key| key.name).collect()
    };
    assert_eq!(names("scope = \"WORKER\"").await, ["a", "c"]);
    assert_eq!(
        names("is_revoked = false AND scope = \"WORKER\"").await,
        ["c"]
    );
    assert_eq!(names("is_revoked = true").await, ["a"]);
    assert_eq!(names("name = \"b\"").await, ["b"]);
    let newest_first = pb::ListApiKeysRequest {
        page_size: 2,
        order_by: "created_at desc".to_owned(),
        ..pb::ListApiKeysRequest::default()
    };
    let mut keys = catalog.api_keys(&catalog.admin_token);
    let first = keys
        .list_api_keys(newest_first.clone())
        .await
        .unwrap()
        .into_inner();
    let rest = pb::ListApiKeysRequest {
        page_token: first.next_page_token,
        ..newest_first
    };
    let rest = keys.list_api_keys(rest).await.unwrap().into_inner();
    let all = first.api_keys.into_iter().chain(rest.api_keys).rev();
    assert_eq!(all.map(|key| key.id).collect::<Vec<_>>(), ids);
    for filter in ["scope = \"ADMIN\"", "key_hash = \"x\"", "is_revoked = 1"] {
        assert_eq!(malformed(list(&catalog, 0, "", filter).await), ["filter"]);
    }
}
