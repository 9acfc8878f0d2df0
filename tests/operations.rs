//! What operators do: they see what is stuck, what changes, and do one thing to many executions.

use platform::client::{Session, request_id};
use proto::execution::v1::bulk_operation::Action;
use proto::execution::v1::watch_executions_response::Change;
use proto::execution::v1::{
    BulkCancel, BulkOperation, BulkOperationState, CreateBulkOperationRequest, ExecutionStatus,
    GetBulkOperationRequest, ListExecutionsRequest, ListStuckRequest, ListStuckResponse, StuckCode,
    WatchExecutionsRequest,
};
use serde_json::json;
use tonic::Code;

use crate::story::{Acts, Outcome, Story, refused, until};

async fn stuck(session: &Session) -> anyhow::Result<ListStuckResponse> {
    let mut executions = session.executions.clone();
    let answer = executions.list_stuck(ListStuckRequest::default()).await?;
    Ok(answer.into_inner())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_of_an_empty_group_are_told_until_somebody_joins_it() -> Outcome {
    let story = Story::begin().await?;
    let config = json!({ "approverRole": "cooks" });
    let workflow = story.sequence(&[("Taste", "approval", config)]).await?;
    let execution = story.admin.start(&workflow, json!({})).await?;
    let told = stuck(&story.admin).await?;
    assert!(told.groups_known);
    let [wait] = told.waits.as_slice() else {
        anyhow::bail!("one wait was expected: {told:?}");
    };
    assert_eq!(wait.code(), StuckCode::GroupEmpty);
    assert_eq!(wait.execution_id, execution.id);
    let shown = wait.wait.as_ref().map(|wait| wait.reason.as_str());
    assert_eq!(shown, Some("a member of \"cooks\" to decide"));
    story.user("cook", &["cooks"]).await?;
    assert!(stuck(&story.admin).await?.waits.is_empty());
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_cancels_what_waits_at_a_step_and_watches_it_end() -> Outcome {
    let story = Story::begin().await?;
    let steps = [
        ("Enter", "data_entry", json!({})),
        ("Check", "data_entry", json!({})),
    ];
    let workflow = story.sequence(&steps).await?;
    let mut begun = Vec::new();
    for n in 0..4 {
        begun.push(story.admin.start(&workflow, json!({ "n": n })).await?);
    }
    story.admin.submit(&begun[0], json!({})).await?;
    let mut executions = story.admin.executions.clone();
    let watch = WatchExecutionsRequest {
        workflow_id: workflow.id.clone(),
        ..Default::default()
    };
    let mut changes = executions.watch_executions(watch).await?.into_inner();
    let mut open = Vec::new();
    while let Some(Change::Execution(execution)) =
        changes.message().await?.and_then(|message| message.change)
    {
        open.push(execution.id);
    }
    assert_eq!(open.len(), 4);

    let at_first = format!("waiting_step_id = {:?}", workflow.steps[0].id);
    let request = CreateBulkOperationRequest {
        bulk_operation: Some(BulkOperation {
            action: Some(Action::Cancel(BulkCancel {
                reason: "recalled".into(),
                compensate: false,
            })),
            filter: at_first.clone(),
            ..Default::default()
        }),
        request_id: request_id(),
    };
    let clerk = story.user("clerk", &[]).await?;
    let mut theirs = clerk.bulk_operations.clone();
    let answer = theirs.create_bulk_operation(request.clone()).await;
    refused(answer, Code::PermissionDenied, "ADMIN_REQUIRED")?;
    let mut operations = story.admin.bulk_operations.clone();
    let made = operations
        .create_bulk_operation(request)
        .await?
        .into_inner();
    assert_eq!(made.created_by, story.admin.email);

    let mut cancelled = Vec::new();
    while cancelled.len() < 3 {
        let message = changes.message().await?;
        if let Some(Change::Execution(execution)) = message.and_then(|message| message.change) {
            assert_eq!(execution.status(), ExecutionStatus::Cancelled);
            assert_eq!(execution.error, "recalled");
            cancelled.push(execution.id);
        }
    }
    assert!(!cancelled.contains(&begun[0].id));
    until("the operation is over", async || {
        let request = GetBulkOperationRequest {
            id: made.id.clone(),
        };
        let now = operations.clone().get_bulk_operation(request).await?;
        let now = now.into_inner();
        Ok(now.state() == BulkOperationState::Completed && now.succeeded == 3)
    })
    .await?;
    let left = ListExecutionsRequest {
        filter: format!("{at_first} AND wait_kind = PERSON"),
        ..Default::default()
    };
    let left = executions.list_executions(left).await?.into_inner();
    assert!(left.executions.is_empty());
    drop(changes);
    story.end().await
}
