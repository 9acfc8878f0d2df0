//! Who changed what: an event for each change, none for what failed or changed nothing.

use proto::catalog::v1 as pb;
use tonic::Code;
use uuid::Uuid;

use crate::harness::{ADMIN_EMAIL, Catalog, malformed, refused};

pub async fn events(catalog: &Catalog, filter: &str) -> Vec<pb::AuditEvent> {
    let request = pb::ListAuditEventsRequest {
        filter: filter.to_owned(),
        ..pb::ListAuditEventsRequest::default()
    };
    let mut audit = catalog.audit(&catalog.admin_token);
    audit
        .list_audit_events(request)
        .await
        .unwrap()
        .into_inner()
        .events
}

/// Action and lines, the oldest first.
pub async fn story(catalog: &Catalog, object_id: &str) -> Vec<(String, Vec<String>)> {
    let events = events(catalog, &format!("object_id = \"{object_id}\"")).await;
    (events.into_iter().rev())
        .map(|event| (event.action, event.changes))
        .collect()
}

#[tokio::test]
async fn each_change_is_told_with_who_made_it() {
    let catalog = Catalog::start().await;
    let acme = catalog.client("Acme").await;
    let mut wanted = pb::Client {
        name: "Acme & Co".to_owned(),
        email: "mail@acme.example".to_owned(),
        is_active: Some(false),
        ..acme.clone()
    };
    let update = |client: &pb::Client| pb::UpdateClientRequest {
        client: Some(client.clone()),
        update_mask: None,
    };
    let mut clients = catalog.clients();
    wanted = (clients.update_client(update(&wanted)).await)
        .unwrap()
        .into_inner();
    // Changes nothing, and is refused: neither leaves an event.
    clients.update_client(update(&wanted)).await.unwrap();
    refused(
        clients.update_client(update(&acme)).await,
        Code::Aborted,
        "STALE_ETAG",
    );
    let delete = pb::DeleteClientRequest {
        id: acme.id.clone(),
        etag: String::new(),
    };
    clients.delete_client(delete).await.unwrap();

    let lines = |lines: &[&str]| {
        lines
            .iter()
            .map(|&line| line.to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        story(&catalog, &acme.id).await,
        [
            (
                "CreateClient".to_owned(),
                lines(&[r#"created client "Acme""#])
            ),
            (
                "UpdateClient".to_owned(),
                lines(&[
                    r#"changed name from "Acme" to "Acme & Co""#,
                    r#"set email to "mail@acme.example""#,
                    "deactivated",
                ])
            ),
            (
                "DeleteClient".to_owned(),
                lines(&[r#"deleted client "Acme & Co""#])
            ),
        ]
    );

    let by_type = events(
        &catalog,
        r#"object_type = "CLIENT" AND action = "DeleteClient""#,
    )
    .await;
    let [deleted] = by_type.as_slice() else {
        panic!("one client was deleted: {by_type:?}");
    };
    assert_eq!(deleted.actor_type(), pb::ActorType::User);
    assert_eq!(deleted.object_type(), pb::ObjectType::Client);
    assert_eq!(deleted.actor_name, ADMIN_EMAIL.to_lowercase());
    let mut auth = catalog.auth(&catalog.admin_token);
    let me = auth.get_current_user(pb::GetCurrentUserRequest {});
    assert_eq!(deleted.actor_id, me.await.unwrap().into_inner().id);
    let filter = format!(
        "actor_id = \"{}\" AND object_type = \"CLIENT\"",
        deleted.actor_id
    );
    assert_eq!(events(&catalog, &filter).await.len(), 3);
    assert_eq!(
        events(&catalog, &format!("actor_id = \"{}\"", Uuid::nil())).await,
        []
    );
}

#[tokio::test]
async fn events_are_paged_and_only_for_administrators() {
    let catalog = Catalog::start().await;
    for name in ["A", "B", "C"] {
        catalog.client(name).await;
    }
    let mut audit = catalog.audit(&catalog.admin_token);
    let mut request = pb::ListAuditEventsRequest {
        page_size: 2,
        filter: r#"object_type = "CLIENT""#.to_owned(),
        ..pb::ListAuditEventsRequest::default()
    };
    let first = audit
        .list_audit_events(request.clone())
        .await
        .unwrap()
        .into_inner();
    request.page_token = first.next_page_token;
    let second = audit.list_audit_events(request).await.unwrap().into_inner();
    let told: Vec<&str> = (first.events.iter().chain(&second.events))
        .map(|event| event.changes[0].as_str())
        .collect();
    let created = ["C", "B", "A"].map(|name| format!("created client {name:?}"));
    assert_eq!(told, created);
    assert_eq!(second.next_page_token, "");

    for filter in [
        "object_type = \"SECRET\"",
        "password = \"x\"",
        "actor_id = \"x\"",
    ] {
        let request = pb::ListAuditEventsRequest {
            filter: filter.to_owned(),
            ..pb::ListAuditEventsRequest::default()
        };
        assert_eq!(
            malformed(audit.list_audit_events(request).await),
            ["filter"]
        );
    }
    let clerk = pb::CreateUserRequest {
        user: Some(pb::User {
            email: "clerk@example.com".to_owned(),
            name: "Clerk".to_owned(),
            ..pb::User::default()
        }),
        password: "the clerk's own".to_owned(),
        ..pb::CreateUserRequest::default()
    };
    let mut users = catalog.users(&catalog.admin_token);
    users.create_user(clerk).await.unwrap();
    let token = (catalog.login("clerk@example.com", "the clerk's own").await).unwrap();
    let mut audit = catalog.audit(&token);
    let asked = audit.list_audit_events(pb::ListAuditEventsRequest::default());
    refused(asked.await, Code::PermissionDenied, "ADMIN_REQUIRED");
}
