//! Workflows, steps and transitions, edited call by call.

use prost_types::{FieldMask, ListValue, Struct, Value, value::Kind};
use proto::catalog::v1 as pb;
use tonic::{Code, Status};

use crate::harness::{Catalog, malformed, refused, step};

async fn update_step(
    catalog: &Catalog,
    step: pb::WorkflowStep,
) -> Result<pb::WorkflowStep, Status> {
    let request = pb::UpdateStepRequest {
        step: Some(step),
        update_mask: None,
    };
    Ok(catalog.workflows().update_step(request).await?.into_inner())
}

async fn connect(
    catalog: &Catalog,
    workflow: &pb::Workflow,
    (from, to): (&pb::WorkflowStep, &pb::WorkflowStep),
) -> Result<pb::WorkflowTransition, Status> {
    let request = pb::CreateTransitionRequest {
        transition: Some(pb::WorkflowTransition {
            workflow_id: workflow.id.clone(),
            from_step_id: from.id.clone(),
            to_step_id: to.id.clone(),
            ..pb::WorkflowTransition::default()
        }),
        request_id: String::new(),
        ..pb::CreateTransitionRequest::default()
    };
    Ok(catalog
        .workflows()
        .create_transition(request)
        .await?
        .into_inner())
}

fn text(value: &str) -> Value {
    Value {
        kind: Some(Kind::StringValue(value.to_owned())),
    }
}

fn object(key: &str, value: Value) -> Struct {
    Struct {
        fields: [(key.to_owned(), value)].into(),
    }
}

#[tokio::test]
async fn every_edit_of_a_part_changes_the_workflows_etag() {
    let catalog = Catalog::start().await;
    let acme = catalog.client("Acme").await;
    let workflow = catalog.workflow(&acme, "Onboarding").await;
    assert_eq!(workflow.status(), pb::WorkflowStatus::Draft);
    assert_eq!(
        (workflow.version, workflow.has_unpublished_changes),
        (1, true)
    );
    let mut etags = vec![workflow.etag.clone()];

    let a = catalog
        .create_step(step(&workflow, "First Step", 0))
        .await
        .unwrap();
    assert_eq!((a.key.as_str(), a.is_required), ("first-step", Some(true)));
    etags.push(catalog.read(&workflow.id).await.etag);
    let b = catalog
        .create_step(step(&workflow, "Second", 1))
        .await
        .unwrap();
    etags.push(catalog.read(&workflow.id).await.etag);
    let transition = connect(&catalog, &workflow, (&a, &b)).await.unwrap();
    etags.push(catalog.read(&workflow.id).await.etag);
    let config = object("action", text("do_it"));
    let wanted = pb::WorkflowStep {
        id: b.id.clone(),
        config: Some(config.clone()),
        etag: b.etag.clone(),
        ..pb::WorkflowStep::default()
    };
    let changed = update_step(&catalog, wanted.clone()).await.unwrap();
    assert_eq!(
        (changed.config, changed.name.as_str()),
        (Some(config), "Second")
    );
    etags.push(catalog.read(&workflow.id).await.etag);
    refused(
        update_step(&catalog, wanted).await,
        Code::Aborted,
        "STALE_ETAG",
    );
    let request = pb::DeleteTransitionRequest {
        id: transition.id,
        etag: transition.etag,
    };
    catalog
        .workflows()
        .delete_transition(request)
        .await
        .unwrap();
    let now = catalog.read(&workflow.id).await;
    etags.push(now.etag);
    assert_eq!((now.steps.len(), now.transitions.len()), (2, 0));

    let count = etags.len();
    etags.sort();
    etags.dedup();
    assert_eq!(etags.len(), count);
}

#[tokio::test]
async fn malformed_parts_are_refused_by_field() {
    let catalog = Catalog::start().await;
    let acme = catalog.client("Acme").await;
    let workflow = catalog.workflow(&acme, "W").await;
    let deep = (0..32).fold(text("x"), |inner, _| Value {
        kind: Some(Kind::ListValue(ListValue {
            values: vec![inner],
        })),
    });
    let named = |name: &str| step(&workflow, name, 0);
    let configured = |key: &str, value: Value| pb::WorkflowStep {
        config: Some(object(key, value)),
        ..named("A")
    };
    let number = |number| Value {
        kind: Some(Kind::NumberValue(number)),
    };
    let keyed = pb::WorkflowStep {
        key: "No Key".into(),
        ..named("A")
    };
    for (wrong, field) in [
        (step(&workflow, "A", -1), "step.order"),
        (keyed, "step.key"),
        (named("a\0b"), "step.name"),
        (named(&"x".repeat(201)), "step.name"),
        (configured("a", text("b\0")), "step.config"),
        (configured("a\0", text("b")), "step.config"),
        (configured("a", text(&"x".repeat(70_000))), "step.config"),
        (configured("a", number(f64::NAN)), "step.config"),
        (configured("a", deep), "step.config"),
    ] {
        assert_eq!(malformed(catalog.create_step(wrong).await), [field]);
    }
    let nothing = catalog.create_step(pb::WorkflowStep::default()).await;
    let required = ["workflow_id", "name", "step_type", "order"];
    assert_eq!(
        malformed(nothing),
        required.map(|field| format!("step.{field}"))
    );
    let nowhere = pb::WorkflowStep {
        workflow_id: acme.id.clone(),
        ..step(&workflow, "A", 0)
    };
    refused(
        catalog.create_step(nowhere).await,
        Code::NotFound,
        "WORKFLOW_NOT_FOUND",
    );
    assert!(catalog.read(&workflow.id).await.steps.is_empty());
}

#[tokio::test]
async fn transitions_stay_within_their_workflow() {
    let catalog = Catalog::start().await;
    let acme = catalog.client("Acme").await;
    let (one, other) = (
        catalog.workflow(&acme, "One").await,
        catalog.workflow(&acme, "Other").await,
    );
    let a = catalog.create_step(step(&one, "A", 0)).await.unwrap();
    let b = catalog.create_step(step(&one, "B", 1)).await.unwrap();
    let foreign = catalog.create_step(step(&other, "F", 0)).await.unwrap();

    let answer = connect(&catalog, &one, (&a, &foreign)).await;
    assert_eq!(malformed(answer), ["transition.to_step_id"]);
    let answer = connect(&catalog, &other, (&a, &b)).await;
    assert_eq!(
        malformed(answer),
        ["transition.from_step_id", "transition.to_step_id"]
    );
    let made = connect(&catalog, &one, (&a, &b)).await.unwrap();
    let update = |transition: pb::WorkflowTransition, paths: &[&str]| {
        let mut workflows = catalog.workflows();
        let paths: Vec<String> = paths.iter().map(|&path| path.to_owned()).collect();
        let update_mask = (!paths.is_empty()).then_some(FieldMask { paths });
        async move {
            let request = pb::UpdateTransitionRequest {
                transition: Some(transition),
                update_mask,
            };
            workflows
                .update_transition(request)
                .await
                .map(tonic::Response::into_inner)
        }
    };
    let moved = pb::WorkflowTransition {
        id: made.id.clone(),
        from_step_id: foreign.id.clone(),
        ..pb::WorkflowTransition::default()
    };
    assert_eq!(
        malformed(update(moved, &[]).await),
        ["transition.from_step_id"]
    );
    let guarded = pb::WorkflowTransition {
        id: made.id.clone(),
        condition: Some(object("field", text("approved"))),
        ..pb::WorkflowTransition::default()
    };
    let guarded = update(guarded, &[]).await.unwrap();
    assert_eq!(
        (&guarded.to_step_id, guarded.condition.is_some()),
        (&b.id, true)
    );
    let bare = pb::WorkflowTransition {
        id: made.id.clone(),
        ..Default::default()
    };
    assert!(
        update(bare, &["condition"])
            .await
            .unwrap()
            .condition
            .is_none()
    );
}

#[tokio::test]
async fn a_step_takes_its_transitions_along() {
    let catalog = Catalog::start().await;
    let acme = catalog.client("Acme").await;
    let workflow = catalog.workflow(&acme, "W").await;
    let a = catalog.create_step(step(&workflow, "A", 0)).await.unwrap();
    let b = catalog.create_step(step(&workflow, "B", 1)).await.unwrap();
    connect(&catalog, &workflow, (&a, &b)).await.unwrap();
    catalog.delete_step(&b.id).await.unwrap();
    let left = catalog.read(&workflow.id).await;
    assert_eq!((left.steps.len(), left.transitions.len()), (1, 0));
}

#[tokio::test]
async fn names_and_keys_are_unique_in_a_workflow() {
    let catalog = Catalog::start().await;
    let acme = catalog.client("Acme").await;
    let workflow = catalog.workflow(&acme, "W").await;
    let a = catalog
        .create_step(step(&workflow, "Review", 0))
        .await
        .unwrap();
    let again = catalog.create_step(step(&workflow, "Review", 1)).await;
    refused(again, Code::AlreadyExists, "STEP_NAME_TAKEN");
    let b = catalog
        .create_step(step(&workflow, "review!", 1))
        .await
        .unwrap();
    assert_eq!((a.key.as_str(), b.key.as_str()), ("review", "review-2"));
    let keyed = pb::WorkflowStep {
        key: "review".into(),
        ..step(&workflow, "Other", 2)
    };
    refused(
        catalog.create_step(keyed).await,
        Code::AlreadyExists,
        "STEP_KEY_TAKEN",
    );
    let renamed = pb::WorkflowStep {
        id: b.id,
        name: "Review".into(),
        ..Default::default()
    };
    refused(
        update_step(&catalog, renamed).await,
        Code::AlreadyExists,
        "STEP_NAME_TAKEN",
    );
}

#[tokio::test]
async fn workflows_are_listed_by_client_status_and_name() {
    let catalog = Catalog::start().await;
    let (acme, other) = (catalog.client("Acme").await, catalog.client("Other").await);
    for name in ["One", "Two", "Three"] {
        catalog.workflow(&acme, name).await;
    }
    catalog.workflow(&other, "One").await;
    let list = |filter: String, page_token: String| {
        let mut workflows = catalog.workflows();
        async move {
            let request = pb::ListWorkflowsRequest {
                page_size: 2,
                page_token,
                filter,
                order_by: String::new(),
            };
            workflows
                .list_workflows(request)
                .await
                .map(tonic::Response::into_inner)
        }
    };
    let names = |page: &pb::ListWorkflowsResponse| -> Vec<String> {
        page.workflows
            .iter()
            .map(|workflow| workflow.name.clone())
            .collect()
    };
    let filter = format!(r#"client_id = "{}" AND status = "DRAFT""#, acme.id);
    let page = list(filter.clone(), String::new()).await.unwrap();
    assert_eq!(names(&page), ["One", "Two"]);
    let page = list(filter, page.next_page_token).await.unwrap();
    assert_eq!(
        (names(&page), page.next_page_token.as_str()),
        (vec!["Three".to_owned()], "")
    );
    let page = list(r#"name = "One""#.into(), String::new()).await.unwrap();
    assert_eq!(page.workflows.len(), 2);
    let page = list(r#"status = "ACTIVE""#.into(), String::new())
        .await
        .unwrap();
    assert_eq!(page.workflows.len(), 0);
    for wrong in [r#"status = "active""#, r#"client_id = "x""#] {
        assert_eq!(
            malformed(list(wrong.into(), String::new()).await),
            ["filter"]
        );
    }
}
