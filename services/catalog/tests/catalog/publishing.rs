//! From the working copy to versions, and what other services get to see of it.

use proto::catalog::v1 as pb;
use tonic::{Code, Status};

use crate::harness::{Catalog, malformed, refused, step, violations};

/// Two steps in a row.
async fn line(catalog: &Catalog) -> pb::Workflow {
    let client = catalog.client("Acme").await;
    let workflow = catalog.workflow(&client, "Line").await;
    catalog.create_step(step(&workflow, "A", 0)).await.unwrap();
    catalog.create_step(step(&workflow, "B", 1)).await.unwrap();
    catalog.read(&workflow.id).await
}

async fn snapshot(catalog: &Catalog, id: &str, version: i32) -> Result<serde_json::Value, Status> {
    let request = pb::GetSnapshotRequest {
        workflow_id: id.to_owned(),
        version,
    };
    let answer = catalog
        .definitions(&catalog.service_token())
        .get_snapshot(request)
        .await?;
    Ok(serde_json::from_str(&answer.into_inner().definition_json).unwrap())
}

#[tokio::test]
async fn a_version_is_made_only_by_a_change() {
    let catalog = Catalog::start().await;
    let draft = line(&catalog).await;
    let first = catalog.publish(&draft.id).await.unwrap();
    assert_eq!(
        (first.status(), first.version),
        (pb::WorkflowStatus::Active, 1)
    );
    assert!(!first.has_unpublished_changes);
    assert_eq!(first.steps, draft.steps, "publishing changes no step");
    let again = catalog.publish(&draft.id).await.unwrap();
    assert_eq!(again, first);

    let c = catalog.create_step(step(&draft, "C", 2)).await.unwrap();
    let edited = catalog.read(&draft.id).await;
    assert_eq!(
        (edited.status(), edited.version),
        (pb::WorkflowStatus::Active, 1)
    );
    assert!(edited.has_unpublished_changes);
    // An edit that is taken back leaves nothing to publish.
    catalog.delete_step(&c.id).await.unwrap();
    let same = catalog.publish(&draft.id).await.unwrap();
    assert_eq!((same.version, same.has_unpublished_changes), (1, false));
    catalog.create_step(step(&draft, "C", 2)).await.unwrap();
    let stale = pb::PublishWorkflowRequest {
        id: draft.id.clone(),
        etag: first.etag,
        ..pb::PublishWorkflowRequest::default()
    };
    refused(
        catalog.workflows().publish_workflow(stale).await,
        Code::Aborted,
        "STALE_ETAG",
    );
    assert_eq!(catalog.publish(&draft.id).await.unwrap().version, 2);
}

#[tokio::test]
async fn versions_are_listed_newest_first_and_read_whole() {
    let catalog = Catalog::start().await;
    let draft = line(&catalog).await;
    catalog.publish(&draft.id).await.unwrap();
    catalog.create_step(step(&draft, "C", 2)).await.unwrap();
    catalog.publish(&draft.id).await.unwrap();
    let list = pb::ListWorkflowVersionsRequest {
        workflow_id: draft.id.clone(),
        page_size: 1,
        ..pb::ListWorkflowVersionsRequest::default()
    };
    let page = catalog
        .workflows()
        .list_workflow_versions(list.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!((page.versions.len(), page.versions[0].version), (1, 2));
    let list = pb::ListWorkflowVersionsRequest {
        page_token: page.next_page_token,
        ..list
    };
    let page = catalog
        .workflows()
        .list_workflow_versions(list)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (page.versions[0].version, page.next_page_token.as_str()),
        (1, "")
    );
    let get = |version| {
        let request = pb::GetWorkflowVersionRequest {
            workflow_id: draft.id.clone(),
            version,
        };
        let mut workflows = catalog.workflows();
        async move { workflows.get_workflow_version(request).await }
    };
    assert_eq!(get(1).await.unwrap().into_inner().steps.len(), 2);
    assert_eq!(get(2).await.unwrap().into_inner().steps.len(), 3);
    refused(get(3).await, Code::NotFound, "WORKFLOW_VERSION_NOT_FOUND");
    assert_eq!(malformed(get(0).await), ["version"]);
}

#[tokio::test]
async fn two_publishers_make_one_version() {
    let catalog = Catalog::start().await;
    let draft = line(&catalog).await;
    let (one, other) = tokio::join!(catalog.publish(&draft.id), catalog.publish(&draft.id));
    assert_eq!((one.unwrap().version, other.unwrap().version), (1, 1));
}

#[tokio::test]
async fn a_published_step_is_marked_and_keeps_its_name_for_reports() {
    let catalog = Catalog::start().await;
    let draft = line(&catalog).await;
    catalog.publish(&draft.id).await.unwrap();
    let fresh = catalog.create_step(step(&draft, "C", 2)).await.unwrap();
    let b = draft.steps[1].clone();
    catalog.delete_step(&b.id).await.unwrap();
    catalog.delete_step(&fresh.id).await.unwrap();
    refused(
        catalog.delete_step(&b.id).await,
        Code::NotFound,
        "STEP_NOT_FOUND",
    );
    assert_eq!(catalog.read(&draft.id).await.steps.len(), 1);

    let names = pb::ResolveNamesRequest {
        ids: vec![
            b.id.clone(),
            fresh.id,
            draft.id.clone(),
            draft.client_id.clone(),
        ],
    };
    let service = catalog.service_token();
    let names = catalog
        .definitions(&service)
        .resolve_names(names)
        .await
        .unwrap();
    let mut names: Vec<_> = names.into_inner().names.into_values().collect();
    names.sort();
    assert_eq!(names, ["Acme", "B", "Line"]);
    // The name is free again; the key is not.
    let next = catalog.create_step(step(&draft, "B", 1)).await.unwrap();
    assert_eq!(next.key, "b-2");
    assert_ne!(next.id, b.id);
}

#[tokio::test]
async fn a_status_moves_only_where_it_may() {
    let catalog = Catalog::start().await;
    let draft = line(&catalog).await;
    let id = draft.id.clone();
    let activate = || {
        let (mut workflows, id) = (catalog.workflows(), id.clone());
        async move {
            workflows
                .activate_workflow(pb::ActivateWorkflowRequest { id })
                .await
        }
    };
    let deactivate = || {
        let (mut workflows, id) = (catalog.workflows(), id.clone());
        async move {
            workflows
                .deactivate_workflow(pb::DeactivateWorkflowRequest { id })
                .await
        }
    };
    let archive = || {
        let (mut workflows, id) = (catalog.workflows(), id.clone());
        async move {
            workflows
                .archive_workflow(pb::ArchiveWorkflowRequest { id })
                .await
        }
    };
    refused(activate().await, Code::FailedPrecondition, "NOT_PUBLISHED");
    refused(
        deactivate().await,
        Code::FailedPrecondition,
        "NOT_PUBLISHED",
    );
    let published = catalog.publish(&id).await.unwrap();
    assert_eq!(activate().await.unwrap().into_inner(), published);
    let inactive = deactivate().await.unwrap().into_inner();
    assert_eq!(inactive.status(), pb::WorkflowStatus::Inactive);
    let again = catalog.publish(&id).await.unwrap();
    assert_eq!(
        (again.status(), again.version),
        (pb::WorkflowStatus::Active, 1)
    );

    let archived = archive().await.unwrap().into_inner();
    assert_eq!(archived.status(), pb::WorkflowStatus::Archived);
    assert_eq!(archive().await.unwrap().into_inner(), archived);
    refused(
        activate().await,
        Code::FailedPrecondition,
        "WORKFLOW_ARCHIVED",
    );
    refused(
        catalog.publish(&id).await,
        Code::FailedPrecondition,
        "WORKFLOW_ARCHIVED",
    );
    let answer = catalog.create_step(step(&draft, "C", 2)).await;
    refused(answer, Code::FailedPrecondition, "WORKFLOW_ARCHIVED");
    let answer = catalog.delete_step(&draft.steps[0].id).await;
    refused(answer, Code::FailedPrecondition, "WORKFLOW_ARCHIVED");
    // A document of the same name makes a new workflow: the archived one is history.
    let document = format!("client: {}\nworkflow: {{ name: Line }}", draft.client_id);
    let applied = catalog.apply(&document).await.unwrap();
    assert_ne!(applied.workflow.unwrap().id, id);
}

#[tokio::test]
async fn the_client_is_fixed_by_the_first_publish() {
    let catalog = Catalog::start().await;
    let draft = line(&catalog).await;
    let (second, third) = (
        catalog.client("Second").await,
        catalog.client("Third").await,
    );
    let update = |client_id: &str| {
        let request = pb::UpdateWorkflowRequest {
            workflow: Some(pb::Workflow {
                id: draft.id.clone(),
                client_id: client_id.to_owned(),
                ..pb::Workflow::default()
            }),
            update_mask: None,
        };
        let mut workflows = catalog.workflows();
        async move { workflows.update_workflow(request).await }
    };
    assert_eq!(
        update(&second.id).await.unwrap().into_inner().client_id,
        second.id
    );
    refused(update(&draft.id).await, Code::NotFound, "CLIENT_NOT_FOUND");
    catalog.publish(&draft.id).await.unwrap();
    refused(
        update(&third.id).await,
        Code::FailedPrecondition,
        "CLIENT_FIXED",
    );
    assert!(update(&second.id).await.is_ok());
}

#[tokio::test]
async fn other_services_see_what_decides_a_start_and_what_will_run() {
    let catalog = Catalog::start().await;
    let draft = line(&catalog).await;
    let working_copy = snapshot(&catalog, &draft.id, 0).await.unwrap();
    assert_eq!(
        (&working_copy["version"], &working_copy["name"]),
        (&0.into(), &"Line".into())
    );
    let answer = snapshot(&catalog, &draft.id, 1).await;
    refused(answer, Code::NotFound, "WORKFLOW_VERSION_NOT_FOUND");
    catalog.publish(&draft.id).await.unwrap();
    let frozen = snapshot(&catalog, &draft.id, 1).await.unwrap();
    assert_eq!(frozen["steps"], working_copy["steps"]);
    assert_eq!(frozen["steps"][0]["stepType"], "custom");

    let request = pb::ResolveStartsRequest {
        workflow_ids: vec![draft.id.clone(), draft.client_id.clone(), draft.id.clone()],
    };
    let service = catalog.service_token();
    let answer = catalog
        .definitions(&service)
        .resolve_starts(request)
        .await
        .unwrap();
    let target = pb::StartTarget {
        workflow_id: draft.id.clone(),
        client_id: draft.client_id.clone(),
        version: 1,
        status: "ACTIVE".to_owned(),
        client_is_active: true,
    };
    assert_eq!(answer.into_inner().targets, [target]);

    for step in &draft.steps {
        catalog.delete_step(&step.id).await.unwrap();
    }
    let answer = snapshot(&catalog, &draft.id, 0).await;
    let status = refused(answer, Code::FailedPrecondition, "DEFINITION_INVALID");
    assert!(!violations(&status).is_empty());
    assert_eq!(snapshot(&catalog, &draft.id, 1).await.unwrap(), frozen);
}

#[tokio::test]
async fn a_workflow_that_ran_is_archived_and_one_that_did_not_is_deleted() {
    let catalog = Catalog::start().await;
    let draft = line(&catalog).await;
    catalog.publish(&draft.id).await.unwrap();
    let unused = catalog
        .apply("client: {name: Acme}\nworkflow: {name: Unused}")
        .await
        .unwrap();
    let pool = sqlx::PgPool::connect(&catalog.database.admin_url())
        .await
        .unwrap();
    let id = draft.id.parse::<uuid::Uuid>().unwrap();
    sqlx::query(
        "insert into execution.workflow_executions (id, workflow_id, client_id, workflow_version)
         select gen_random_uuid(), id, client_id, 1 from catalog.workflows where id = $1",
    )
    .bind(id)
    .execute(&pool)
    .await
    .unwrap();
    let delete = |id: String| {
        let mut workflows = catalog.workflows();
        let request = pb::DeleteWorkflowRequest {
            id,
            etag: String::new(),
        };
        async move { workflows.delete_workflow(request).await }
    };
    let status = refused(
        delete(draft.id.clone()).await,
        Code::FailedPrecondition,
        "WORKFLOW_IN_USE",
    );
    assert!(status.message().contains("executions"), "{status:?}");
    assert_eq!(catalog.read(&draft.id).await.steps.len(), 2);
    let unused = unused.workflow.unwrap().id;
    delete(unused.clone()).await.unwrap();
    refused(delete(unused).await, Code::NotFound, "WORKFLOW_NOT_FOUND");
}

#[tokio::test]
async fn a_workflow_does_not_grow_beyond_what_clients_can_read() {
    let catalog = Catalog::start().await;
    let client = catalog.client("Acme").await;
    // Short numbers grow most on their way: three bytes in the database, eleven in a message.
    let config = format!("[{}0]", "1,".repeat(5_399));
    let steps: String = (0..64)
        .map(|index| format!("- {{name: S{index}, stepType: x, config: {{a: {config}}}}}\n"))
        .collect();
    let document = format!(
        "client: {}\nworkflow: {{name: Big}}\nsteps:\n{steps}",
        client.id
    );
    let applied = catalog.apply(&document).await.unwrap();
    let workflow = applied.workflow.unwrap();
    let wanted = pb::WorkflowStep {
        config: workflow.steps[0].config.clone(),
        ..step(&workflow, "One more", 99)
    };
    let answer = catalog.create_step(wanted).await;
    refused(answer, Code::FailedPrecondition, "LIMIT_EXCEEDED");
    assert_eq!(catalog.read(&workflow.id).await.steps.len(), 64);
}
