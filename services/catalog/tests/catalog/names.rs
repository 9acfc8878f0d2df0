//! The rule of names: what differs differs to the eye, or is refused, whichever way it comes in; and what
//! is fixed at creation stays.

use proto::catalog::v1 as pb;
use tonic::{Code, Status};

use crate::harness::{Catalog, malformed, refused, step, violations};

/// Names that look like `Acme` and are not.
const LOOKALIKES: [&str; 7] = [
    "Acme\u{200b}",
    "\u{feff}Acme",
    "Ac\u{ad}me",
    " Acme",
    "Acme ",
    "\u{202a}Acme\u{202c}",
    "Acme\u{fe0f}",
];

async fn client(catalog: &Catalog, client: pb::Client) -> Result<pb::Client, Status> {
    let request = pb::CreateClientRequest {
        client: Some(client),
        request_id: String::new(),
    };
    Ok(catalog.clients().create_client(request).await?.into_inner())
}

#[tokio::test]
async fn names_that_look_alike_are_refused_everywhere() {
    let catalog = Catalog::start().await;
    let acme = catalog.client("Acme").await;
    let workflow = catalog.workflow(&acme, "Acme").await;
    for name in LOOKALIKES {
        let name = name.to_owned();
        let wrong = pb::Client {
            name: name.clone(),
            company: name.clone(),
            ..pb::Client::default()
        };
        assert_eq!(
            malformed(client(&catalog, wrong).await),
            ["client.name", "client.company"]
        );
        let request = pb::CreateWorkflowRequest {
            workflow: Some(pb::Workflow {
                name: name.clone(),
                client_id: acme.id.clone(),
                ..pb::Workflow::default()
            }),
            request_id: String::new(),
        };
        let answer = catalog.workflows().create_workflow(request).await;
        assert_eq!(malformed(answer), ["workflow.name"]);
        let mut wrong = step(&workflow, &name, 0);
        wrong.step_type = name.clone();
        assert_eq!(
            malformed(catalog.create_step(wrong).await),
            ["step.name", "step.step_type"]
        );
        let request = pb::CreateUserRequest {
            user: Some(pb::User {
                email: "a@example.com".to_owned(),
                name: name.clone(),
                groups: vec!["fine".to_owned(), name.clone()],
                ..pb::User::default()
            }),
            password: "long enough".to_owned(),
            request_id: String::new(),
        };
        let mut users = catalog.users(&catalog.admin_token);
        assert_eq!(
            malformed(users.create_user(request).await),
            ["user.name", "user.groups[1]"]
        );
        let document = serde_json::json!({
            "client": { "name": name, "company": name },
            "workflow": { "name": name },
            "steps": [{ "name": name, "stepType": name }],
        });
        let status = refused(
            catalog.apply(&document.to_string()).await,
            Code::InvalidArgument,
            "INVALID_ARGUMENT",
        );
        let said: Vec<String> = violations(&status).into_iter().map(|(_, it)| it).collect();
        for path in [
            "client.name",
            "client.company",
            "workflow.name",
            "steps[0].name",
            "steps[0].stepType",
        ] {
            let named = said.iter().any(|it| it.starts_with(&format!("{path}:")));
            assert!(named, "{path} of {name:?}: {said:?}");
        }
    }
    let email = pb::Client {
        name: "Fine".to_owned(),
        email: "a\u{200b}@example.com".to_owned(),
        ..pb::Client::default()
    };
    assert_eq!(malformed(client(&catalog, email).await), ["client.email"]);
}

#[tokio::test]
async fn case_tells_names_apart_and_not_addresses() {
    let catalog = Catalog::start().await;
    let (upper, lower) = (catalog.client("ACME").await, catalog.client("acme").await);
    assert_ne!(upper.id, lower.id);
    let document = |client: &str| {
        format!(
            "client: {{name: {client}}}\nworkflow: {{name: Line}}\nsteps: [{{name: A, stepType: custom}}, {{name: a, stepType: custom}}]"
        )
    };
    let owner = async |name: &str| {
        let applied = catalog.apply(&document(name)).await.unwrap();
        applied.workflow.unwrap().client_id
    };
    assert_eq!(owner("ACME").await, upper.id);
    assert_eq!(owner("acme").await, lower.id);
    let user = |email: &str| pb::CreateUserRequest {
        user: Some(pb::User {
            email: email.to_owned(),
            name: "Somebody".to_owned(),
            ..pb::User::default()
        }),
        password: "long enough".to_owned(),
        request_id: String::new(),
    };
    let mut users = catalog.users(&catalog.admin_token);
    let made = users.create_user(user("Jane@Example.com")).await.unwrap();
    assert_eq!(made.get_ref().email, "jane@example.com");
    refused(
        users.create_user(user("JANE@example.com")).await,
        Code::AlreadyExists,
        "EMAIL_TAKEN",
    );
}

#[tokio::test]
async fn free_texts_are_kept_to_the_letter() {
    let catalog = Catalog::start().await;
    let text = " a\u{200b}b\u{202e}\n\tМu\u{308} \u{fe0f} ";
    let kept = client(
        &catalog,
        pb::Client {
            name: "Acme".to_owned(),
            notes: text.to_owned(),
            address: text.to_owned(),
            ..pb::Client::default()
        },
    )
    .await
    .unwrap();
    assert_eq!((kept.notes.as_str(), kept.address.as_str()), (text, text));
}

#[tokio::test]
async fn what_is_fixed_is_not_changed_in_silence() {
    let catalog = Catalog::start().await;
    let client = catalog.client("Acme").await;
    let (workflow, other) = (
        catalog.workflow(&client, "One").await,
        catalog.workflow(&client, "Two").await,
    );
    let a = catalog.create_step(step(&workflow, "A", 0)).await.unwrap();
    let b = catalog.create_step(step(&workflow, "B", 1)).await.unwrap();
    let update = async |change: fn(&mut pb::WorkflowStep, &str)| {
        let mut wanted = a.clone();
        change(&mut wanted, &other.id);
        wanted.etag.clear();
        let request = pb::UpdateStepRequest {
            step: Some(wanted),
            update_mask: None,
        };
        catalog.workflows().update_step(request).await
    };
    // Read, change, write back: what is fixed comes along and does no harm.
    let same = update(|step, _| step.name = "A2".to_owned()).await.unwrap();
    assert_eq!(same.get_ref().name, "A2");
    let moved = update(|step, other| step.workflow_id = other.to_owned()).await;
    assert_eq!(malformed(moved), ["step.workflow_id"]);
    let renamed = update(|step, _| step.key = "other".to_owned()).await;
    assert_eq!(malformed(renamed), ["step.key"]);

    let request = pb::CreateTransitionRequest {
        transition: Some(pb::WorkflowTransition {
            workflow_id: workflow.id.clone(),
            from_step_id: a.id.clone(),
            to_step_id: b.id.clone(),
            ..pb::WorkflowTransition::default()
        }),
        ..pb::CreateTransitionRequest::default()
    };
    let made = catalog
        .workflows()
        .create_transition(request)
        .await
        .unwrap();
    let request = pb::UpdateTransitionRequest {
        transition: Some(pb::WorkflowTransition {
            workflow_id: other.id.clone(),
            etag: String::new(),
            ..made.into_inner()
        }),
        update_mask: None,
    };
    let moved = catalog.workflows().update_transition(request).await;
    assert_eq!(malformed(moved), ["transition.workflow_id"]);

    let mut users = catalog.users(&catalog.admin_token);
    let listed = users.list_users(pb::ListUsersRequest::default()).await;
    let admin = listed.unwrap().into_inner().users.remove(0);
    let update = |email: &str| pb::UpdateUserRequest {
        user: Some(pb::User {
            email: email.to_owned(),
            ..admin.clone()
        }),
        update_mask: None,
    };
    let moved = users.update_user(update("else@example.com")).await;
    assert_eq!(malformed(moved), ["user.email"]);
    users.update_user(update("ROOT@example.com")).await.unwrap();
}
