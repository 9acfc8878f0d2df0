//! Clients and users.

use platform::client::{Session, request_id};
use proto::catalog::v1::*;
use tonic::{Code, Response};

use super::{Answers, UNKNOWN};
use crate::story::{Outcome, Story};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_and_users() -> Outcome {
    let story = Story::begin().await?;
    let Session {
        mut clients,
        mut users,
        ..
    } = story.admin.clone();
    let mut answers = Answers::default();

    let long = "x".repeat(201);
    for name in ["", "   ", &long, "a\u{0}b", "a\u{7}b"] {
        let client = Client {
            name: name.into(),
            ..Default::default()
        };
        let request = CreateClientRequest {
            client: Some(client),
            request_id: request_id(),
        };
        answers.invalid(clients.create_client(request).await, "client.name");
    }
    let nothing = CreateClientRequest {
        client: None,
        request_id: String::new(),
    };
    answers.invalid(clients.create_client(nothing).await, "client");
    let named = |name: &str| {
        Some(Client {
            name: name.into(),
            ..Default::default()
        })
    };
    let bad_id = CreateClientRequest {
        client: named("Acme"),
        request_id: "one".into(),
    };
    answers.invalid(clients.create_client(bad_id).await, "request_id");
    answers.invalid(
        clients
            .get_client(GetClientRequest { id: "1".into() })
            .await,
        "id",
    );
    let unknown = clients
        .get_client(GetClientRequest { id: UNKNOWN.into() })
        .await;
    answers.expect(unknown, Code::NotFound, "CLIENT_NOT_FOUND");

    for (page_size, page_token, filter, field) in [
        (-1, "", "", "page_size"),
        (0, "nonsense", "", "page_token"),
        (0, "", "name ~ \"a\"", "filter"),
        (0, "", "colour = \"red\"", "filter"),
        (0, "", "is_active = \"perhaps\"", "filter"),
        (0, "", "name = \"a\" OR name = \"b\"", "filter"),
        (0, "", "name = \"unfinished", "filter"),
    ] {
        let request = ListClientsRequest {
            page_size,
            page_token: page_token.into(),
            filter: filter.into(),
            order_by: String::new(),
        };
        answers.invalid(clients.list_clients(request).await, field);
    }

    let made = CreateClientRequest {
        client: named("Acme"),
        request_id: request_id(),
    };
    let made = clients.create_client(made).await?.into_inner();
    let change = |mask: &str, etag: &str, name: &str| UpdateClientRequest {
        client: Some(Client {
            id: made.id.clone(),
            name: name.into(),
            etag: etag.into(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec![mask.into()],
        }),
    };
    answers.invalid(
        clients.update_client(change("colour", "", "B")).await,
        "update_mask",
    );
    answers.invalid(
        clients.update_client(change("name", "", "")).await,
        "client.name",
    );
    clients
        .update_client(change("name", &made.etag, "B"))
        .await?;
    let stale = clients.update_client(change("name", &made.etag, "C")).await;
    answers.expect(stale, Code::Aborted, "STALE_ETAG");

    let mut user = async |email: &str, name: &str, password: &str| {
        let request = CreateUserRequest {
            user: Some(User {
                email: email.into(),
                name: name.into(),
                ..Default::default()
            }),
            password: password.into(),
            request_id: request_id(),
        };
        users.create_user(request).await
    };
    answers.invalid(user("nobody", "N", "long enough").await, "user.email");
    answers.invalid(user("a@example.com", "", "long enough").await, "user.name");
    answers.invalid(user("a@example.com", "A", "short").await, "password");
    answers.expect(
        user("ADMIN@localhost", "A", "long enough").await,
        Code::AlreadyExists,
        "EMAIL_TAKEN",
    );
    let login = story
        .services
        .login("admin@localhost", "wrong password")
        .await;
    answers.expect(
        login.map(|_| Response::new(())),
        Code::Unauthenticated,
        "LOGIN_FAILED",
    );
    answers.end();
    assert_eq!(
        story.recount("select count(*) from catalog.users").await?,
        1
    );
    story.end().await
}
