//! CloneWorkflow, and PublishWorkflow with a version to go back to.

use proto::catalog::v1 as pb;
use tonic::{Code, Status};

use crate::apply::TWO_STEPS;
use crate::harness::{Catalog, malformed, refused};

async fn clone(
    catalog: &Catalog,
    request: pb::CloneWorkflowRequest,
) -> Result<pb::Workflow, Status> {
    Ok(catalog
        .workflows()
        .clone_workflow(request)
        .await?
        .into_inner())
}

async fn roll_back(catalog: &Catalog, id: &str, from_version: i32) -> Result<pb::Workflow, Status> {
    let request = pb::PublishWorkflowRequest {
        id: id.to_owned(),
        from_version,
        comment: format!("back to {from_version}"),
        ..pb::PublishWorkflowRequest::default()
    };
    Ok(catalog
        .workflows()
        .publish_workflow(request)
        .await?
        .into_inner())
}

/// Newest first.
async fn history(catalog: &Catalog, id: &str) -> Vec<pb::WorkflowVersion> {
    let request = pb::ListWorkflowVersionsRequest {
        workflow_id: id.to_owned(),
        ..pb::ListWorkflowVersionsRequest::default()
    };
    let page = catalog.workflows().list_workflow_versions(request).await;
    page.unwrap().into_inner().versions
}

/// What a definition says, without ids: the same in a copy.
async fn exported(catalog: &Catalog, id: &str, version: i32) -> String {
    let request = pb::ExportWorkflowRequest {
        id: id.to_owned(),
        version,
    };
    let document = catalog
        .workflows()
        .export_workflow(request)
        .await
        .unwrap()
        .into_inner()
        .document;
    let parts = document.split_once("\nsteps:").unwrap().1;
    parts.to_owned()
}

#[tokio::test]
async fn a_copy_says_the_same_under_ids_of_its_own() {
    let catalog = Catalog::start().await;
    let source = catalog.apply(TWO_STEPS).await.unwrap().workflow.unwrap();
    catalog.publish(&source.id).await.unwrap();
    let edited = TWO_STEPS.replace("isDefault: true", "isDefault: false");
    catalog.apply(&edited).await.unwrap();
    let source = catalog.read(&source.id).await;
    let other = catalog.client("Other").await;

    let request = pb::CloneWorkflowRequest {
        id: source.id.clone(),
        client_id: other.id.clone(),
        ..pb::CloneWorkflowRequest::default()
    };
    let copy = clone(&catalog, request.clone()).await.unwrap();
    assert_eq!((copy.name.as_str(), &copy.client_id), ("W", &other.id));
    assert_eq!(
        (copy.status(), copy.version),
        (pb::WorkflowStatus::Draft, 1)
    );
    assert_eq!(
        exported(&catalog, &copy.id, 0).await,
        exported(&catalog, &source.id, 0).await
    );
    let parts = |workflow: &pb::Workflow| -> Vec<String> {
        let steps = workflow.steps.iter().map(|step| step.id.clone());
        let ways = workflow.transitions.iter().map(|way| way.id.clone());
        steps.chain(ways).collect()
    };
    let (theirs, ours) = (parts(&copy), parts(&source));
    assert_eq!(theirs.len(), ours.len());
    assert!(theirs.iter().all(|id| !ours.contains(id)));
    assert_eq!(
        catalog.read(&source.id).await,
        source,
        "the source stays as it is"
    );

    // A version instead of the working copy, under another name.
    let version = pb::CloneWorkflowRequest {
        version: 1,
        name: "As it was".to_owned(),
        ..request
    };
    let copy = clone(&catalog, version).await.unwrap();
    assert_eq!(copy.name, "As it was");
    assert_eq!(
        exported(&catalog, &copy.id, 0).await,
        exported(&catalog, &source.id, 1).await
    );
    assert_eq!(catalog.publish(&copy.id).await.unwrap().version, 1);
}

#[tokio::test]
async fn a_copy_is_made_once_and_not_beside_its_like() {
    let catalog = Catalog::start().await;
    let source = catalog.apply(TWO_STEPS).await.unwrap().workflow.unwrap();
    let request = |name: &str| pb::CloneWorkflowRequest {
        id: source.id.clone(),
        name: name.to_owned(),
        request_id: "0190a0a0-0000-7000-8000-000000000001".to_owned(),
        ..pb::CloneWorkflowRequest::default()
    };
    refused(
        clone(&catalog, request("")).await,
        Code::AlreadyExists,
        "WORKFLOW_NAME_TAKEN",
    );
    let copy = clone(&catalog, request("Copy")).await.unwrap();
    assert_eq!(copy.client_id, source.client_id);
    assert_eq!(clone(&catalog, request("Copy")).await.unwrap(), copy);
    let answer = clone(&catalog, request("Another")).await;
    refused(answer, Code::AlreadyExists, "REQUEST_ID_REUSED");
    let wrong = pb::CloneWorkflowRequest {
        id: "x".to_owned(),
        version: -1,
        client_id: "y".to_owned(),
        name: "z".repeat(201),
        ..pb::CloneWorkflowRequest::default()
    };
    let fields = ["id", "version", "client_id", "name"];
    assert_eq!(malformed(clone(&catalog, wrong).await), fields);
    let nowhere = pb::CloneWorkflowRequest {
        client_id: source.id.clone(),
        request_id: String::new(),
        ..request("Nowhere")
    };
    refused(
        clone(&catalog, nowhere).await,
        Code::NotFound,
        "CLIENT_NOT_FOUND",
    );
    let never = pb::CloneWorkflowRequest {
        version: 1,
        request_id: String::new(),
        ..request("Never")
    };
    refused(
        clone(&catalog, never).await,
        Code::NotFound,
        "WORKFLOW_VERSION_NOT_FOUND",
    );
}

#[tokio::test]
async fn an_old_version_comes_back_as_the_next_one() {
    let catalog = Catalog::start().await;
    let first = catalog.apply(TWO_STEPS).await.unwrap().workflow.unwrap();
    catalog.publish(&first.id).await.unwrap();
    let v1 = catalog.read(&first.id).await;
    // The first step goes, the second takes its name, and a transition leads elsewhere.
    let second = "
client: { name: Acme }
workflow: { name: W, description: Second, status: ACTIVE }
steps:
  - { key: b, name: A, stepType: decision, order: 3 }
  - { name: New, stepType: custom, order: 4 }
transitions:
  - { from: b, to: New, isDefault: true }
";
    catalog.apply(second).await.unwrap();
    // An edit that nobody published: gone afterwards.
    catalog
        .apply(&second.replace("Second, status: ACTIVE", "Third"))
        .await
        .unwrap();

    let back = roll_back(&catalog, &first.id, 1).await.unwrap();
    assert_eq!((back.version, back.has_unpublished_changes), (3, false));
    let said = |workflow: &pb::Workflow| {
        let steps = workflow.steps.iter().map(|step| pb::WorkflowStep {
            updated_at: None,
            etag: String::new(),
            ..step.clone()
        });
        let ways = workflow
            .transitions
            .iter()
            .map(|way| pb::WorkflowTransition {
                created_at: None,
                updated_at: None,
                etag: String::new(),
                ..way.clone()
            });
        (
            steps.collect::<Vec<_>>(),
            ways.collect::<Vec<_>>(),
            workflow.description.clone(),
        )
    };
    assert_eq!(said(&back), said(&v1), "ids and all");
    // A transition that was away has no etag that it had before.
    for way in &back.transitions {
        assert!(
            v1.transitions.iter().all(|old| old.etag != way.etag),
            "{way:?}"
        );
    }
    // Version 3 is what runs now: going to it, or to 1 again, changes nothing.
    for version in [3, 1] {
        let again = roll_back(&catalog, &first.id, version).await.unwrap();
        assert_eq!((again.version, said(&again)), (3, said(&v1)));
    }
    let versions = history(&catalog, &first.id).await;
    let told: Vec<(i32, i32, &str)> = (versions.iter())
        .map(|version| {
            (
                version.version,
                version.from_version,
                version.comment.as_str(),
            )
        })
        .collect();
    assert_eq!(told, [(3, 1, "back to 1"), (2, 0, ""), (1, 0, "")]);
    for version in &versions {
        assert_eq!(
            version.published_by_email,
            crate::harness::ADMIN_EMAIL.to_lowercase()
        );
    }
    let request = pb::GetWorkflowVersionRequest {
        workflow_id: first.id.clone(),
        version: 3,
    };
    let whole = catalog
        .workflows()
        .get_workflow_version(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (whole.comment.as_str(), whole.from_version),
        ("back to 1", 1)
    );
    assert_eq!(whole.published_by_email, versions[0].published_by_email);
}

#[tokio::test]
async fn what_cannot_be_brought_back_changes_nothing() {
    let catalog = Catalog::start().await;
    let first = catalog.apply(TWO_STEPS).await.unwrap().workflow.unwrap();
    let answer = roll_back(&catalog, &first.id, 1).await;
    refused(answer, Code::NotFound, "WORKFLOW_VERSION_NOT_FOUND");
    catalog.publish(&first.id).await.unwrap();
    let edited = catalog
        .apply(&TWO_STEPS.replace("isDefault: true", "isDefault: false"))
        .await
        .unwrap();
    let stale = pb::PublishWorkflowRequest {
        id: first.id.clone(),
        etag: first.etag,
        from_version: 1,
        ..pb::PublishWorkflowRequest::default()
    };
    let answer = catalog.workflows().publish_workflow(stale).await;
    refused(answer, Code::Aborted, "STALE_ETAG");
    assert_eq!(catalog.read(&first.id).await, edited.workflow.unwrap());
    let wrong = pb::PublishWorkflowRequest {
        id: first.id.clone(),
        from_version: -1,
        comment: "x".repeat(501),
        ..pb::PublishWorkflowRequest::default()
    };
    let answer = catalog.workflows().publish_workflow(wrong).await;
    assert_eq!(malformed(answer), ["from_version", "comment"]);
}
