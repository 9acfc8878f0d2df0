//! What a request_id promises.

use proto::catalog::v1 as pb;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::harness::{Catalog, refused};

const ID: &str = "0190a0a0-0000-7000-8000-000000000001";

fn request(name: &str, request_id: &str) -> pb::CreateClientRequest {
    pb::CreateClientRequest {
        client: Some(pb::Client {
            name: name.to_owned(),
            ..pb::Client::default()
        }),
        request_id: request_id.to_owned(),
    }
}

async fn create(catalog: &Catalog, name: &str, request_id: &str) -> Result<pb::Client, Status> {
    let request = request(name, request_id);
    Ok(catalog.clients().create_client(request).await?.into_inner())
}

#[tokio::test]
async fn a_repeated_call_finds_what_the_first_made() {
    let catalog = Catalog::start().await;
    let first = create(&catalog, "Acme", ID).await.unwrap();
    let renamed = pb::UpdateClientRequest {
        client: Some(pb::Client {
            name: "Acme 2".to_owned(),
            ..first.clone()
        }),
        update_mask: None,
    };
    catalog.clients().update_client(renamed).await.unwrap();
    // As it is now, not as it was made.
    let again = create(&catalog, "Acme", ID).await.unwrap();
    assert_eq!(
        (again.id.as_str(), again.name.as_str()),
        (first.id.as_str(), "Acme 2")
    );
    let other = create(&catalog, "Other", ID).await;
    refused(other, Code::AlreadyExists, "REQUEST_ID_REUSED");
    // The same id for another method is another request.
    let request = pb::CreateWorkflowRequest {
        workflow: Some(pb::Workflow {
            name: "W".to_owned(),
            client_id: first.id,
            ..pb::Workflow::default()
        }),
        request_id: ID.to_owned(),
    };
    let made = catalog
        .workflows()
        .create_workflow(request.clone())
        .await
        .unwrap()
        .into_inner();
    let again = catalog
        .workflows()
        .create_workflow(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(made, again);
}

#[tokio::test]
async fn calls_at_the_same_time_make_one_thing() {
    let catalog = Catalog::start().await;
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let (mut clients, request) = (catalog.clients(), request("Acme", ID));
        calls.spawn(async move { clients.create_client(request).await });
    }
    let mut ids: Vec<String> = (calls.join_all().await.into_iter())
        .map(|answer| answer.unwrap().into_inner().id)
        .collect();
    assert_eq!(ids.len(), 20);
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn a_call_that_failed_leaves_its_id_free() {
    let catalog = Catalog::start().await;
    let acme = catalog.client("Acme").await;
    let workflow = catalog.workflow(&acme, "W").await;
    let request = pb::CreateStepRequest {
        step: Some(crate::harness::step(&workflow, "A", 0)),
        request_id: ID.to_owned(),
        ..pb::CreateStepRequest::default()
    };
    let taken = catalog
        .create_step(crate::harness::step(&workflow, "A", 1))
        .await
        .unwrap();
    let answer = catalog.workflows().create_step(request.clone()).await;
    refused(answer, Code::AlreadyExists, "STEP_NAME_TAKEN");
    catalog.delete_step(&taken.id).await.unwrap();
    let made = catalog
        .workflows()
        .create_step(request.clone())
        .await
        .unwrap()
        .into_inner();
    let again = catalog
        .workflows()
        .create_step(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(made, again);
}

#[tokio::test]
async fn the_password_counts_without_being_kept() {
    let catalog = Catalog::start().await;
    let create = |password: &str| {
        let request = pb::CreateUserRequest {
            user: Some(pb::User {
                email: "jane@example.com".to_owned(),
                name: "Jane".to_owned(),
                ..pb::User::default()
            }),
            password: password.to_owned(),
            request_id: ID.to_owned(),
        };
        let mut users = catalog.users(&catalog.admin_token);
        async move {
            users
                .create_user(request)
                .await
                .map(tonic::Response::into_inner)
        }
    };
    let first = create("first password").await.unwrap();
    assert_eq!(create("first password").await.unwrap(), first);
    refused(
        create("other password").await,
        Code::AlreadyExists,
        "REQUEST_ID_REUSED",
    );
}
