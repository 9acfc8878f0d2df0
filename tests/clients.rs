//! A client that is deactivated: nothing new starts for it, what runs goes on.

use platform::client::{Session, request_id};
use prost_types::FieldMask;
use proto::catalog::v1::{Client, DeleteClientRequest, UpdateClientRequest};
use proto::execution::v1::{ExecutionStatus, StartExecutionRequest};
use serde_json::json;
use tonic::{Code, Status};

use crate::story::{Acts, Outcome, Story, refused};

async fn set_active(admin: &Session, id: &str, is_active: bool) -> Result<Client, Status> {
    let request = UpdateClientRequest {
        client: Some(Client {
            id: id.into(),
            is_active: Some(is_active),
            ..Default::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["is_active".into()],
        }),
    };
    let updated = admin.clients.clone().update_client(request).await?;
    Ok(updated.into_inner())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deactivated_client_starts_nothing_and_finishes_what_runs() -> Outcome {
    let story = Story::begin().await?;
    let admin = &story.admin;
    let workflow = story
        .sequence(&[
            ("Enter", "data_entry", json!({})),
            ("Work", "custom", json!({ "action": "work" })),
        ])
        .await?;
    let start = || StartExecutionRequest {
        workflow_id: workflow.id.clone(),
        metadata: None,
        request_id: request_id(),
        ..Default::default()
    };
    let running = admin.start(&workflow, json!({})).await?;
    let inactive = set_active(admin, &workflow.client_id, false).await?;
    assert_eq!(inactive.is_active, Some(false));
    let answer = admin.executions.clone().start_execution(start()).await;
    refused(answer, Code::FailedPrecondition, "CLIENT_INACTIVE")?;

    // A person's step, then a worker's: both are begun after the client was deactivated.
    admin.submit(&running, json!({})).await?;
    let job = admin.job("work").await?;
    admin.complete(&job, json!({})).await?;
    let over = admin.finished(&running.id).await?;
    assert_eq!(over.status(), ExecutionStatus::Completed);

    let delete = DeleteClientRequest {
        id: workflow.client_id.clone(),
        etag: String::new(),
    };
    let answer = admin.clients.clone().delete_client(delete).await;
    refused(answer, Code::FailedPrecondition, "CLIENT_IN_USE")?;

    set_active(admin, &workflow.client_id, true).await?;
    let again = admin.executions.clone().start_execution(start()).await?;
    let again = again.into_inner();
    admin.submit(&again, json!({})).await?;
    let job = admin.job("work").await?;
    admin.complete(&job, json!({})).await?;
    admin.finished(&again.id).await?;
    story.end().await
}
