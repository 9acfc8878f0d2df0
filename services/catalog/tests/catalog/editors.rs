//! Several people at one workflow: new orders, and etags that keep one from overwriting another.

use proto::catalog::v1 as pb;
use tonic::{Code, Status};

use crate::apply::TWO_STEPS;
use crate::harness::{Catalog, malformed, refused, step, violations};

async fn reorder(
    catalog: &Catalog,
    workflow: &pb::Workflow,
    ids: &[&str],
    etag: &str,
) -> Result<pb::Workflow, Status> {
    let request = pb::ReorderStepsRequest {
        workflow_id: workflow.id.clone(),
        step_ids: ids.iter().map(|&id| id.to_owned()).collect(),
        etag: etag.to_owned(),
    };
    Ok(catalog
        .workflows()
        .reorder_steps(request)
        .await?
        .into_inner())
}

/// Steps A, B and C, of the orders 0, 10 and 20.
async fn three(catalog: &Catalog) -> pb::Workflow {
    let client = catalog.client("Acme").await;
    let workflow = catalog.workflow(&client, "W").await;
    for (name, order) in [("A", 0), ("B", 10), ("C", 20)] {
        catalog
            .create_step(step(&workflow, name, order))
            .await
            .unwrap();
    }
    catalog.read(&workflow.id).await
}

fn ids(workflow: &pb::Workflow) -> Vec<&str> {
    workflow.steps.iter().map(|step| step.id.as_str()).collect()
}

#[tokio::test]
async fn all_steps_are_put_into_a_new_order_at_once() {
    let catalog = Catalog::start().await;
    let before = three(&catalog).await;
    let [a, b, c] = ids(&before)[..] else {
        panic!("three steps");
    };
    let after = reorder(&catalog, &before, &[c, a, b], &before.etag)
        .await
        .unwrap();
    let orders: Vec<(&str, i32)> = (after.steps.iter())
        .map(|step| (step.name.as_str(), step.order()))
        .collect();
    assert_eq!(orders, [("C", 0), ("A", 1), ("B", 2)]);
    assert_ne!(after.etag, before.etag);
    assert_eq!(catalog.read(&before.id).await, after);
    // An editor who has not seen the new order does not overwrite it.
    let stale = pb::UpdateStepRequest {
        step: Some(pb::WorkflowStep {
            id: a.to_owned(),
            order: Some(0),
            etag: before.steps[0].etag.clone(),
            ..pb::WorkflowStep::default()
        }),
        update_mask: None,
    };
    let answer = catalog.workflows().update_step(stale).await;
    refused(answer, Code::Aborted, "STALE_ETAG");
    // The same order again is no change.
    assert_eq!(
        reorder(&catalog, &before, &[c, a, b], "").await.unwrap(),
        after
    );
}

#[tokio::test]
async fn an_order_of_other_steps_is_refused_with_their_names() {
    let catalog = Catalog::start().await;
    let before = three(&catalog).await;
    let [a, b, c] = ids(&before)[..] else {
        panic!("three steps");
    };
    let answer = reorder(&catalog, &before, &[a, b], "").await;
    let status = refused(answer, Code::FailedPrecondition, "STEPS_DIFFER");
    let [(field, description)] = &violations(&status)[..] else {
        panic!("{status:?}");
    };
    assert_eq!(field, "step_ids");
    assert!(description.contains(r#"("C") is missing"#), "{description}");
    let answer = reorder(&catalog, &before, &[a, &before.client_id, c], "").await;
    let status = refused(answer, Code::FailedPrecondition, "STEPS_DIFFER");
    let fields: Vec<String> = violations(&status)
        .into_iter()
        .map(|(field, _)| field)
        .collect();
    assert_eq!(fields, ["step_ids[1]", "step_ids"]);
    let answer = reorder(&catalog, &before, &[a, "x", a, b, c], "").await;
    assert_eq!(malformed(answer), ["step_ids[1]", "step_ids[2]"]);
    assert_eq!(
        malformed(reorder(&catalog, &before, &[], "").await),
        ["step_ids"]
    );
    let answer = reorder(&catalog, &before, &[a, b, c], "0").await;
    refused(answer, Code::Aborted, "STALE_ETAG");
    assert_eq!(catalog.read(&before.id).await, before);
}

#[tokio::test]
async fn whoever_adds_a_part_may_insist_that_nobody_else_has_edited() {
    let catalog = Catalog::start().await;
    let seen = three(&catalog).await;
    let add = |name: &str, etag: &str, request_id: &str| {
        let request = pb::CreateStepRequest {
            step: Some(step(&seen, name, 30)),
            request_id: request_id.to_owned(),
            workflow_etag: etag.to_owned(),
        };
        let mut workflows = catalog.workflows();
        async move {
            workflows
                .create_step(request)
                .await
                .map(tonic::Response::into_inner)
        }
    };
    let id = "0190a0a0-0000-7000-8000-000000000001";
    let made = add("D", &seen.etag, id).await.unwrap();
    refused(add("E", &seen.etag, "").await, Code::Aborted, "STALE_ETAG");
    // A repetition is no second edit: it finds what the first one made.
    assert_eq!(add("D", &seen.etag, id).await.unwrap(), made);
    let connect = |etag: &str| {
        let request = pb::CreateTransitionRequest {
            transition: Some(pb::WorkflowTransition {
                workflow_id: seen.id.clone(),
                from_step_id: seen.steps[0].id.clone(),
                to_step_id: seen.steps[1].id.clone(),
                ..pb::WorkflowTransition::default()
            }),
            workflow_etag: etag.to_owned(),
            ..pb::CreateTransitionRequest::default()
        };
        let mut workflows = catalog.workflows();
        async move { workflows.create_transition(request).await }
    };
    refused(connect(&seen.etag).await, Code::Aborted, "STALE_ETAG");
    let now = catalog.read(&seen.id).await;
    connect(&now.etag).await.unwrap();
}

#[tokio::test]
async fn a_document_may_insist_that_nobody_else_has_edited() {
    let catalog = Catalog::start().await;
    let apply = |document: &str, etag: &str, validate_only| {
        let request = pb::ApplyWorkflowRequest {
            document: document.to_owned(),
            validate_only,
            etag: etag.to_owned(),
        };
        let mut workflows = catalog.workflows();
        async move {
            workflows
                .apply_workflow(request)
                .await
                .map(tonic::Response::into_inner)
        }
    };
    // What is not there has no etag.
    refused(
        apply(TWO_STEPS, "1", false).await,
        Code::Aborted,
        "STALE_ETAG",
    );
    let first = catalog.apply(TWO_STEPS).await.unwrap().workflow.unwrap();
    let renamed = TWO_STEPS
        .replace("name: A,", "name: Z,")
        .replace("from: A,", "from: Z,");
    let second = apply(&renamed, &first.etag, false)
        .await
        .unwrap()
        .workflow
        .unwrap();
    for validate_only in [true, false] {
        let answer = apply(TWO_STEPS, &first.etag, validate_only).await;
        refused(answer, Code::Aborted, "STALE_ETAG");
    }
    assert_eq!(catalog.read(&first.id).await, second);
}

#[tokio::test]
async fn every_edit_is_put_down_to_whoever_made_it() {
    let catalog = Catalog::start().await;
    let workflow = three(&catalog).await;
    let id = workflow.id.clone();
    let [a, b, c] = ids(&workflow)[..] else {
        panic!("three steps");
    };
    let mut workflows = catalog.workflows();
    let renamed = pb::UpdateStepRequest {
        step: Some(pb::WorkflowStep {
            id: b.to_owned(),
            name: "Bee".to_owned(),
            ..pb::WorkflowStep::default()
        }),
        update_mask: None,
    };
    workflows.update_step(renamed.clone()).await.unwrap();
    // Again it changes nothing, and nothing is told of.
    workflows.update_step(renamed).await.unwrap();
    let connect = pb::CreateTransitionRequest {
        transition: Some(pb::WorkflowTransition {
            workflow_id: id.clone(),
            from_step_id: a.to_owned(),
            to_step_id: b.to_owned(),
            ..pb::WorkflowTransition::default()
        }),
        ..pb::CreateTransitionRequest::default()
    };
    let way = workflows
        .create_transition(connect)
        .await
        .unwrap()
        .into_inner();
    let moved = pb::UpdateTransitionRequest {
        transition: Some(pb::WorkflowTransition {
            id: way.id.clone(),
            to_step_id: c.to_owned(),
            is_default: true,
            ..pb::WorkflowTransition::default()
        }),
        update_mask: None,
    };
    workflows.update_transition(moved).await.unwrap();
    reorder(&catalog, &workflow, &[a, c, b], "").await.unwrap();
    catalog.delete_step(b).await.unwrap();
    catalog.publish(&id).await.unwrap();
    catalog.publish(&id).await.unwrap();
    let delete = pb::DeleteTransitionRequest {
        id: way.id,
        ..pb::DeleteTransitionRequest::default()
    };
    workflows.delete_transition(delete).await.unwrap();
    let back = pb::PublishWorkflowRequest {
        id: id.clone(),
        from_version: 1,
        ..pb::PublishWorkflowRequest::default()
    };
    workflows.publish_workflow(back).await.unwrap();
    let archive = pb::ArchiveWorkflowRequest { id: id.clone() };
    workflows.archive_workflow(archive).await.unwrap();

    let told = crate::audit::story(&catalog, &id).await;
    let told: Vec<(&str, Vec<&str>)> = (told.iter())
        .map(|(action, lines)| (action.as_str(), lines.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(
        told,
        [
            ("CreateWorkflow", vec![r#"created workflow "W""#]),
            ("CreateStep", vec![r#"added step "A""#]),
            ("CreateStep", vec![r#"added step "B""#]),
            ("CreateStep", vec![r#"added step "C""#]),
            ("UpdateStep", vec![r#"renamed step "B" to "Bee""#]),
            ("CreateTransition", vec![r#"added transition "A" -> "Bee""#]),
            (
                "UpdateTransition",
                vec![
                    r#"changed transition "A" -> "C": isDefault: false -> true"#,
                    r#"changed transition "A" -> "C": toStepId: "Bee" -> "C""#,
                ]
            ),
            (
                "ReorderSteps",
                vec![
                    r#"changed step "C": order: 20 -> 1"#,
                    r#"changed step "Bee": order: 10 -> 2"#,
                ]
            ),
            ("DeleteStep", vec![r#"removed step "Bee""#]),
            ("PublishWorkflow", vec!["published version 1"]),
            ("DeleteTransition", vec![r#"removed transition "A" -> "C""#]),
            ("PublishWorkflow", vec![r#"added transition "A" -> "C""#]),
            (
                "ArchiveWorkflow",
                vec!["changed status from ACTIVE to ARCHIVED"]
            ),
        ]
    );
}

#[tokio::test]
async fn a_document_is_put_down_to_whoever_applied_it() {
    let catalog = Catalog::start().await;
    let trial = pb::ApplyWorkflowRequest {
        document: TWO_STEPS.to_owned(),
        validate_only: true,
        ..pb::ApplyWorkflowRequest::default()
    };
    catalog.workflows().apply_workflow(trial).await.unwrap();
    for object_type in ["CLIENT", "WORKFLOW"] {
        let filter = format!("object_type = \"{object_type}\"");
        assert_eq!(crate::audit::events(&catalog, &filter).await, []);
    }
    let applied = catalog.apply(TWO_STEPS).await.unwrap();
    catalog.apply(TWO_STEPS).await.unwrap();
    let workflow = applied.workflow.unwrap();
    let story = |id: String| {
        let catalog = &catalog;
        async move { crate::audit::story(catalog, &id).await }
    };
    let apply = |lines: &[String]| [("ApplyWorkflow".to_owned(), lines.to_vec())];
    assert_eq!(
        story(workflow.client_id).await,
        apply(&applied.changes[..1])
    );
    assert_eq!(story(workflow.id).await, apply(&applied.changes[1..]));
}
