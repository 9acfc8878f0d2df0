//! Clients: created, changed, listed, deleted, and refused.

use prost_types::FieldMask;
use proto::catalog::v1 as pb;
use tonic::{Code, Status};

use crate::harness::{Catalog, malformed, refused};

async fn update(
    catalog: &Catalog,
    client: pb::Client,
    paths: &[&str],
) -> Result<pb::Client, Status> {
    let mask = (!paths.is_empty()).then(|| FieldMask {
        paths: paths.iter().map(|&path| path.to_owned()).collect(),
    });
    let request = pb::UpdateClientRequest {
        client: Some(client),
        update_mask: mask,
    };
    Ok(catalog.clients().update_client(request).await?.into_inner())
}

async fn delete(catalog: &Catalog, client: &pb::Client) -> Result<(), Status> {
    let request = pb::DeleteClientRequest {
        id: client.id.clone(),
        etag: client.etag.clone(),
    };
    catalog.clients().delete_client(request).await?;
    Ok(())
}

#[tokio::test]
async fn updates_touch_what_the_mask_names() {
    let catalog = Catalog::start().await;
    let acme = catalog.client("Acme").await;
    assert_eq!((acme.is_active, acme.etag.as_str()), (Some(true), "1"));
    let wanted = pb::Client {
        id: acme.id.clone(),
        email: "mail@acme.example".to_owned(),
        notes: "a\n\tb".to_owned(),
        is_active: Some(false),
        ..pb::Client::default()
    };
    let changed = update(&catalog, wanted.clone(), &[]).await.unwrap();
    assert_eq!(
        (changed.name.as_str(), changed.email.as_str()),
        ("Acme", "mail@acme.example")
    );
    assert_eq!(
        (changed.notes.as_str(), changed.is_active),
        ("a\n\tb", Some(false))
    );
    // What is named and empty is cleared; what equals is no change.
    let bare = pb::Client {
        id: acme.id.clone(),
        ..pb::Client::default()
    };
    let cleared = update(&catalog, bare.clone(), &["email", "is_active"])
        .await
        .unwrap();
    assert_eq!(
        (cleared.email.as_str(), cleared.is_active),
        ("", Some(true))
    );
    let same = update(&catalog, bare.clone(), &["email"]).await.unwrap();
    assert_eq!(same.etag, cleared.etag);

    assert_eq!(
        malformed(update(&catalog, bare.clone(), &["name"]).await),
        ["client.name"]
    );
    assert_eq!(
        malformed(update(&catalog, bare.clone(), &["id"]).await),
        ["update_mask"]
    );
    let stale = pb::Client {
        etag: acme.etag.clone(),
        ..wanted
    };
    refused(
        update(&catalog, stale, &[]).await,
        Code::Aborted,
        "STALE_ETAG",
    );
    refused(delete(&catalog, &acme).await, Code::Aborted, "STALE_ETAG");
    delete(&catalog, &same).await.unwrap();
    refused(
        delete(&catalog, &same).await,
        Code::NotFound,
        "CLIENT_NOT_FOUND",
    );
}

#[tokio::test]
async fn malformed_fields_are_all_named() {
    let catalog = Catalog::start().await;
    let create = |client: Option<pb::Client>, request_id: &str| {
        let request_id = request_id.to_owned();
        let mut clients = catalog.clients();
        async move {
            clients
                .create_client(pb::CreateClientRequest { client, request_id })
                .await
        }
    };
    let wrong = pb::Client {
        name: "a\0b".to_owned(),
        email: "nowhere".to_owned(),
        phone: "1".repeat(51),
        notes: "x".repeat(10_001),
        ..pb::Client::default()
    };
    assert_eq!(
        malformed(create(Some(wrong), "").await),
        [
            "client.name",
            "client.email",
            "client.phone",
            "client.notes"
        ]
    );
    assert_eq!(malformed(create(None, "").await), ["client"]);
    let fine = pb::Client {
        name: "ä".repeat(200),
        ..pb::Client::default()
    };
    assert_eq!(
        malformed(create(Some(fine.clone()), "not a uuid").await),
        ["request_id"]
    );
    assert_eq!(
        create(Some(fine.clone()), "")
            .await
            .unwrap()
            .into_inner()
            .name,
        fine.name
    );

    for id in ["", "x", "00000000-0000-0000-0000-00000000000g"] {
        let request = pb::GetClientRequest { id: id.to_owned() };
        assert_eq!(
            malformed(catalog.clients().get_client(request).await),
            ["id"]
        );
    }
    for (filter, page_token, page_size, field) in [
        ("name", "", 0, "filter"),
        ("name = \"a\0b\"", "", 0, "filter"),
        ("phone = \"1\"", "", 0, "filter"),
        ("", "nonsense", 0, "page_token"),
        ("", "", -1, "page_size"),
    ] {
        let request = pb::ListClientsRequest {
            page_size,
            page_token: page_token.to_owned(),
            filter: filter.to_owned(),
            order_by: String::new(),
        };
        let answer = catalog.clients().list_clients(request).await;
        assert_eq!(malformed(answer), [field], "{filter:?}");
    }
}

#[tokio::test]
async fn pages_show_each_client_once() {
    let catalog = Catalog::start().await;
    for index in 0..5 {
        // Twice each: names need not be unique.
        catalog.client(&format!("Client {}", index / 2)).await;
    }
    let list = |page_token: String, filter: &str| {
        let mut clients = catalog.clients();
        let filter = filter.to_owned();
        async move {
            let request = pb::ListClientsRequest {
                page_size: 2,
                page_token,
                filter,
                order_by: String::new(),
            };
            clients
                .list_clients(request)
                .await
                .map(tonic::Response::into_inner)
        }
    };
    let mut names = Vec::new();
    let mut token = String::new();
    loop {
        let page = list(token, "is_active = true").await.unwrap();
        names.extend(page.clients.into_iter().map(|client| client.name));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
        assert_eq!(malformed(list(token.clone(), "").await), ["page_token"]);
    }
    assert_eq!(
        names,
        ["Client 0", "Client 0", "Client 1", "Client 1", "Client 2"]
    );
    let named = list(String::new(), r#"name = "Client 1""#).await.unwrap();
    assert_eq!(
        (named.clients.len(), named.next_page_token.as_str()),
        (2, "")
    );
}

#[tokio::test]
async fn a_page_of_long_texts_fits_a_message() {
    let catalog = Catalog::start().await;
    let pool = sqlx::PgPool::connect(&catalog.database.admin_url())
        .await
        .unwrap();
    let insert = "insert into catalog.clients (id, name, notes) \
        select gen_random_uuid(), 'c' || n, repeat('ä', 10000) from generate_series(1, 300) n";
    sqlx::query(insert).execute(&pool).await.unwrap();
    let mut seen = 0;
    let mut page_token = String::new();
    loop {
        let request = pb::ListClientsRequest {
            page_size: 1000,
            page_token,
            ..pb::ListClientsRequest::default()
        };
        let page = catalog
            .clients()
            .list_clients(request)
            .await
            .unwrap()
            .into_inner();
        seen += page.clients.len();
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, 300);
}

#[tokio::test]
async fn clients_in_use_stay() {
    let catalog = Catalog::start().await;
    let acme = catalog.client("Acme").await;
    catalog.workflow(&acme, "Onboarding").await;
    let status = refused(
        delete(&catalog, &acme).await,
        Code::FailedPrecondition,
        "CLIENT_IN_USE",
    );
    assert!(status.message().contains("workflows"), "{status:?}");
}
