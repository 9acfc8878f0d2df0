//! Workflows that others run.

use proto::catalog::v1 as pb;

use crate::harness::Catalog;

#[tokio::test]
async fn what_a_workflow_runs_must_be_there_and_of_the_same_client() {
    let catalog = Catalog::start().await;
    let owner = catalog.client("Acme").await;
    let called = catalog.workflow(&owner, "Called").await;
    let client = owner.id.clone();
    let other = catalog.client("Other").await.id;
    let archived = catalog.workflow(&owner, "Archived").await;
    let mut workflows = catalog.workflows();
    let archive = pb::ArchiveWorkflowRequest {
        id: archived.id.clone(),
    };
    workflows.archive_workflow(archive).await.unwrap();
    let unknown = uuid::Uuid::from_u128(9).to_string();
    let cases = [
        (&client, &unknown, "SUBWORKFLOW_UNKNOWN", false),
        (&other, &called.id, "SUBWORKFLOW_OF_ANOTHER_CLIENT", false),
        (&client, &archived.id, "SUBWORKFLOW_ARCHIVED", false),
        (&client, &called.id, "SUBWORKFLOW_NOT_ACTIVE", true),
    ];
    for (at, (client, id, code, valid)) in cases.into_iter().enumerate() {
        let name = format!("Calls {at}");
        let document = format!(
            "{{client: {client}, workflow: {{name: {name}, status: ACTIVE}}, steps: \
             [{{name: Call, stepType: subworkflow, config: {{workflowId: {id}}}}}]}}"
        );
        let source = pb::validate_workflow_request::Source::Document(document.clone());
        let request = pb::ValidateWorkflowRequest {
            source: Some(source),
        };
        let told = workflows
            .validate_workflow(request)
            .await
            .unwrap()
            .into_inner();
        let codes: Vec<_> = told.problems.iter().map(|p| p.code.as_str()).collect();
        assert_eq!((told.valid, &codes[..]), (valid, &[code][..]));
        assert_eq!(told.problems[0].path, "steps[\"Call\"].config.workflowId");
        assert_eq!(catalog.apply(&document).await.is_ok(), valid, "{code}");
        // As a draft it may stand, and is refused when it is published by itself.
        let draft = document.replace("ACTIVE", "DRAFT");
        let draft = catalog.apply(&draft).await.unwrap().workflow.unwrap();
        assert_eq!(catalog.publish(&draft.id).await.is_ok(), valid, "{code}");
    }
}
