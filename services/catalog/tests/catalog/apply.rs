//! ApplyWorkflow and ValidateWorkflow: documents in, the same workflow out.

use proto::catalog::v1 as pb;
use tonic::Code;

use crate::harness::{Catalog, IN_USE, errors, malformed, refused, violations};

/// The workflows in use, each as a document of its own.
pub fn in_use() -> Vec<String> {
    let list = IN_USE.split("\n- ").skip(1);
    list.map(|document| document.replace("\n  ", "\n"))
        .collect()
}

pub const TWO_STEPS: &str = r#"
client: { name: Acme }
workflow: { name: W }
steps:
  - { name: A, stepType: custom, key: first }
  - { name: B, stepType: custom, config: { n: 1.0, long: 123456789.12345679, big: 1.5e300, list: [1, {a: x}] } }
transitions:
  - { from: first, to: B, condition: { field: ok, operator: equals, value: true } }
  - { from: A, to: b, isDefault: true }
"#;

#[tokio::test]
async fn the_workflows_in_use_apply_as_they_are_and_once() {
    let catalog = Catalog::start().await;
    let documents = in_use();
    assert_eq!(documents.len(), 3);
    for (document, (steps, is_published)) in
        documents.iter().zip([(5, true), (5, true), (4, false)])
    {
        let first = catalog.apply(document).await.unwrap();
        let workflow = first.workflow.unwrap();
        assert_eq!(errors(&first.problems), [""; 0], "{:?}", first.problems);
        assert_eq!(first.published, is_published);
        assert_eq!(workflow.steps.len(), steps);
        assert_eq!(workflow.transitions.len(), steps - 1);
        let status = match is_published {
            true => pb::WorkflowStatus::Active,
            false => pb::WorkflowStatus::Draft,
        };
        assert_eq!(workflow.status(), status);
        assert_eq!(workflow.has_unpublished_changes, !is_published);

        let second = catalog.apply(document).await.unwrap();
        assert_eq!(second.changes, [""; 0]);
        assert_eq!(second.workflow.unwrap(), workflow);
        assert_eq!(second.problems, first.problems);
        catalog.publish(&workflow.id).await.unwrap();
    }
}

#[tokio::test]
async fn the_deepest_config_comes_back() {
    let catalog = Catalog::start().await;
    let document = |depth: usize| {
        let config = format!("{}1{}", "{a: ".repeat(depth), "}".repeat(depth));
        format!(
            "client: {{name: A}}\nworkflow: {{name: W}}\nsteps: [{{name: S, stepType: x, config: {config}}}]"
        )
    };
    let applied = catalog.apply(&document(32)).await.unwrap();
    let workflow = applied.workflow.unwrap();
    assert_eq!(catalog.read(&workflow.id).await, workflow);
    assert_eq!(malformed(catalog.apply(&document(33)).await), ["document"]);
}

#[tokio::test]
async fn renamed_removed_and_restored_steps_keep_their_ids() {
    let catalog = Catalog::start().await;
    let first = catalog.apply(TWO_STEPS).await.unwrap().workflow.unwrap();
    let id = |workflow: &pb::Workflow, key: &str| {
        let step = workflow.steps.iter().find(|step| step.key == key);
        step.map(|step| step.id.clone()).unwrap()
    };
    let (a, b) = (id(&first, "first"), id(&first, "b"));
    catalog.publish(&first.id).await.unwrap();
    assert_eq!(catalog.apply(TWO_STEPS).await.unwrap().changes, [""; 0]);

    // Names exchanged: known by their keys.
    let swapped = "
client: { name: Acme }
workflow: { name: W, description: Swapped }
steps:
  - { key: first, name: B, stepType: custom, order: 7 }
  - { key: b, name: A, stepType: decision }
transitions:
  - { from: B, to: b, isDefault: true }
";
    let second = catalog.apply(swapped).await.unwrap();
    assert_eq!(
        second.changes,
        [
            r#"changed the workflow: description: nothing -> "Swapped""#,
            r#"renamed step "A" to "B""#,
            r#"changed step "B": order: 0 -> 7"#,
            r#"changed step "A": config.big: 1.5e+300 -> nothing"#,
            r#"changed step "A": config.list: [1,{"a":"x"}] -> nothing"#,
            r#"changed step "A": config.long: 123456789.12345679 -> nothing"#,
            r#"changed step "A": config.n: 1 -> nothing"#,
            r#"renamed step "B" to "A""#,
            r#"changed step "A": stepType: "custom" -> "decision""#,
            r#"removed transition "B" -> "A""#,
        ]
    );
    let second = second.workflow.unwrap();
    assert_eq!(
        (id(&second, "first"), id(&second, "b")),
        (a.clone(), b.clone())
    );
    assert_eq!(second.transitions[0].id, first.transitions[1].id);
    assert_eq!(
        (second.status(), second.version),
        (pb::WorkflowStatus::Active, 1)
    );
    assert!(second.has_unpublished_changes);

    let without = "
client: { name: Acme }
workflow: { name: W, description: Swapped }
steps: [{ key: first, name: B, stepType: custom, order: 7 }]
";
    let third = catalog.apply(without).await.unwrap();
    assert_eq!(
        third.changes,
        [r#"removed step "A""#, r#"removed transition "B" -> "A""#]
    );
    let restored = catalog.apply(swapped).await.unwrap();
    assert_eq!(
        restored.changes,
        [r#"added step "A""#, r#"added transition "B" -> "A""#]
    );
    assert_eq!(id(&restored.workflow.unwrap(), "b"), b);
}

#[tokio::test]
async fn validate_only_says_what_would_happen_and_leaves_no_trace() {
    let catalog = Catalog::start().await;
    let try_out = |document: &str| {
        let request = pb::ApplyWorkflowRequest {
            document: document.to_owned(),
            validate_only: true,
            ..pb::ApplyWorkflowRequest::default()
        };
        let mut workflows = catalog.workflows();
        async move {
            workflows
                .apply_workflow(request)
                .await
                .unwrap()
                .into_inner()
        }
    };
    let published = TWO_STEPS.replace("name: W", "name: W, status: ACTIVE");
    let would = try_out(&published).await;
    assert!(would.workflow.is_none());
    assert!(would.published);
    let clients = catalog
        .clients()
        .list_clients(pb::ListClientsRequest::default())
        .await;
    assert!(clients.unwrap().into_inner().clients.is_empty());

    let did = catalog.apply(&published).await.unwrap();
    assert_eq!(did.changes, would.changes);
    let workflow = did.workflow.unwrap();
    let again = try_out(&published.replace("name: A,", "name: A, order: 5,")).await;
    assert_eq!(again.workflow.as_ref(), Some(&workflow));
    assert_eq!(again.changes.len(), 2, "{:?}", again.changes);
    assert_eq!(catalog.read(&workflow.id).await, workflow);
    // What could not be published is told, not refused.
    let broken = published.replace("operator: equals", "operator: like");
    let broken = try_out(&broken).await;
    assert!(!broken.published);
    assert!(!errors(&broken.problems).is_empty());
}

#[tokio::test]
async fn what_does_not_validate_is_stored_as_a_draft_or_not_at_all() {
    let catalog = Catalog::start().await;
    let broken = TWO_STEPS.replace("operator: equals", "operator: like");
    let publish = broken.replace("name: W", "name: W, status: ACTIVE");
    let status = refused(
        catalog.apply(&publish).await,
        Code::FailedPrecondition,
        "DEFINITION_INVALID",
    );
    assert!(!violations(&status).is_empty());
    let list = pb::ListWorkflowsRequest::default();
    let stored = catalog
        .workflows()
        .list_workflows(list)
        .await
        .unwrap()
        .into_inner();
    assert!(stored.workflows.is_empty());

    let draft = catalog.apply(&broken).await.unwrap();
    assert!(!errors(&draft.problems).is_empty());
    let id = draft.workflow.unwrap().id;
    refused(
        catalog.publish(&id).await,
        Code::FailedPrecondition,
        "DEFINITION_INVALID",
    );
    for source in [
        pb::validate_workflow_request::Source::Id(id),
        pb::validate_workflow_request::Source::Document(broken),
    ] {
        let request = pb::ValidateWorkflowRequest {
            source: Some(source),
        };
        let verdict = catalog
            .workflows()
            .validate_workflow(request)
            .await
            .unwrap()
            .into_inner();
        assert!(!verdict.valid);
        assert_eq!(errors(&verdict.problems), errors(&draft.problems));
    }
    let request = pb::ValidateWorkflowRequest { source: None };
    assert_eq!(
        malformed(catalog.workflows().validate_workflow(request).await),
        ["source"]
    );
}

#[tokio::test]
async fn faults_of_form_are_told_with_their_place() {
    let catalog = Catalog::start().await;
    for (document, places) in [
        ("", vec!["is required"]),
        ("a: [", vec!["line "]),
        ("client: {name: A}\nclient: {name: B}", vec!["line 2"]),
        ("[1, 2]", vec!["is a list of 2"]),
        ("42", vec!["must be an object"]),
        ("{}", vec!["client: is required", "workflow: is required"]),
        (
            "client: Acme\nworkflow: {name: W}",
            vec!["client: is no id"],
        ),
        (
            "client: {name: A, emial: x@y}\nworkflow: {name: W, status: ARCHIVED}\nstep: []",
            vec![
                "client.emial: is not known here; did you mean `email`?",
                "step: ",
                "workflow.status: ",
            ],
        ),
        (
            "client: {name: A, phone: 5550100}\nworkflow: {name: W}\nsteps:\n- {name: '', stepType: x, order: -1}\n- {stepType: x, key: 'A B'}",
            vec![
                "client.phone: ",
                "steps[0].name: ",
                "steps[0].order: ",
                "steps[1].key: ",
                "steps[1].name: ",
            ],
        ),
        (
            "client: {name: A}\nworkflow: {name: W}\nsteps: [{name: Review, stepType: x}, {name: Review, stepType: x}]\ntransitions: [{from: Revew, to: Review, condition: true}]",
            vec![
                "steps[1].name: ",
                "did you mean `Review`?",
                "transitions[0].condition: ",
            ],
        ),
        (
            "client: {name: \"a\\0b\"}\nworkflow: {name: W}\nsteps: [{name: A, stepType: x, config: {a: \"\\0\"}}]",
            vec!["client.name: ", "steps[0].config: "],
        ),
    ] {
        let status = refused(
            catalog.apply(document).await,
            Code::InvalidArgument,
            "INVALID_ARGUMENT",
        );
        let named = violations(&status);
        assert_eq!(named.len(), places.len(), "{document}: {named:?}");
        for ((field, description), place) in named.iter().zip(&places) {
            assert_eq!(field, "document");
            assert!(
                description.contains(place),
                "{description:?} has no {place:?}"
            );
        }
    }
}

#[tokio::test]
async fn clients_and_workflows_are_found_by_exact_name_or_not_guessed() {
    let catalog = Catalog::start().await;
    let first = catalog.client("Acme").await;
    let document = "client: { name: Acme, phone: '1' }\nworkflow: { name: W }";
    let applied = catalog.apply(document).await.unwrap();
    assert_eq!(applied.changes, [r#"created workflow "W""#]);
    let workflow = applied.workflow.unwrap();
    assert_eq!(workflow.client_id, first.id);

    catalog.client("Acme").await;
    let answer = catalog.apply(document).await;
    refused(answer, Code::FailedPrecondition, "CLIENT_AMBIGUOUS");
    let by_id = format!("client: {}\nworkflow: {{ name: W }}", first.id);
    assert_eq!(
        catalog.apply(&by_id).await.unwrap().workflow.unwrap().id,
        workflow.id
    );
    catalog.workflow(&first, "W").await;
    let answer = catalog.apply(&by_id).await;
    refused(answer, Code::FailedPrecondition, "WORKFLOW_AMBIGUOUS");
    let nobody = "client: 0190a0a0-0000-7000-8000-000000000001\nworkflow: { name: W }";
    refused(
        catalog.apply(nobody).await,
        Code::NotFound,
        "CLIENT_NOT_FOUND",
    );
}

#[tokio::test]
async fn documents_applied_at_once_make_one_client_and_one_workflow() {
    let catalog = Catalog::start().await;
    let (a, b, c) = tokio::join!(
        catalog.apply(TWO_STEPS),
        catalog.apply(TWO_STEPS),
        catalog.apply(TWO_STEPS)
    );
    let ids: Vec<String> = [a, b, c]
        .into_iter()
        .map(|done| done.unwrap().workflow.unwrap().id)
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    let clients = catalog
        .clients()
        .list_clients(pb::ListClientsRequest::default())
        .await;
    assert_eq!(clients.unwrap().into_inner().clients.len(), 1);
}
