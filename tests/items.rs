//! Steps for each item of a list, steps that are withdrawn, and locks across executions.

use platform::client::request_id;
use proto::execution::v1::{
    CancelStepRequest, Execution, ExecutionStatus, GetExecutionRequest, ListExecutionLogsRequest,
    WaitKind,
};
use serde_json::json;
use tonic::Code;

use crate::story::{Acts, Outcome, Story, plain, refused, until};

const ORDERS: &str = r#"
client: { name: Initech }
workflow: { name: Orders of a day, status: ACTIVE }
steps:
  - { name: Check all, stepType: foreach, config: { items: orders, step: Check, concurrency: 2, tolerated: 1 } }
  - { name: Check, stepType: check-order, config: { retry: { maxAttempts: 1 } } }
  - { name: Book, stepType: book, config: { lock: { name: ledger } } }
transitions:
  - { from: Check all, to: Book }
"#;

async fn read(story: &Story, id: &str) -> anyhow::Result<Execution> {
    let mut executions = story.admin.executions.clone();
    let request = GetExecutionRequest { id: id.into() };
    Ok(executions.get_execution(request).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_do_a_step_for_each_item() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story.publish(ORDERS).await?;
    let input = json!({ "orders": ["bolts", "nuts", "nails"] });
    let begun = story.admin.start(&workflow, input).await?;
    let waiting = read(&story, &begun.id).await?;
    let mut kinds: Vec<WaitKind> = waiting.waits.iter().map(|wait| wait.kind()).collect();
    kinds.sort();
    assert_eq!(kinds, [WaitKind::Job, WaitKind::Job, WaitKind::Children]);
    for _ in 0..3 {
        let job = story.admin.job("check-order").await?;
        let data = plain(job.data.as_ref());
        let output = json!({ "checked": data["item"], "at": data["itemIndex"] });
        story.admin.complete(&job, output).await?;
    }
    let job = story.admin.job("book").await?;
    let results = json!([
        { "checked": "bolts", "at": 0 }, { "checked": "nuts", "at": 1 }, { "checked": "nails", "at": 2 },
    ]);
    assert_eq!(plain(job.data.as_ref())["results"], results);
    story.admin.complete(&job, json!({})).await?;
    let done = story.admin.finished(&begun.id).await?;
    assert_eq!(done.status(), ExecutionStatus::Completed);
    let mut executions = story.admin.executions.clone();
    let logs = executions.list_execution_logs(ListExecutionLogsRequest {
        execution_id: begun.id.clone(),
        ..Default::default()
    });
    let logs = logs.await?.into_inner().logs;
    let items: Vec<Option<i32>> = logs.iter().map(|log| log.item_index).collect();
    assert_eq!(items, [None, Some(0), Some(1), Some(2), None]);
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_ends_what_is_no_longer_needed_and_the_lock_goes_on() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story.publish(ORDERS).await?;
    let none = json!({ "orders": [] });
    let first = story.admin.start(&workflow, none.clone()).await?;
    until("the first one has the lock", async || {
        Ok(read(&story, &first.id).await?.waits[0].kind() == WaitKind::Job)
    })
    .await?;
    let second = story
        .admin
        .start(&workflow, json!({ "orders": ["bolts"] }))
        .await?;

    // The foreach is completed with what it has.
    let all = read(&story, &second.id).await?.waits;
    let foreach = all.iter().find(|wait| wait.kind() == WaitKind::Children);
    let mut request = CancelStepRequest {
        id: foreach.map(|wait| wait.id.clone()).unwrap_or_default(),
        reason: String::new(),
        goes_on: true,
        request_id: request_id(),
    };
    let mut executions = story.admin.executions.clone();
    let silent = executions.cancel_step(request.clone()).await;
    refused(silent, Code::InvalidArgument, "INVALID_ARGUMENT")?;
    request.reason = "the customer has called".into();
    let user = story.user("clerk", &[]).await?;
    let denied = user.executions.clone().cancel_step(request.clone()).await;
    refused(denied, Code::PermissionDenied, "ADMIN_REQUIRED")?;
    executions.cancel_step(request.clone()).await?;
    executions.cancel_step(request.clone()).await?;
    request.request_id = request_id();
    let late = executions.cancel_step(request.clone()).await;
    refused(late, Code::FailedPrecondition, "WAIT_OVER")?;

    let waiting = read(&story, &second.id).await?.waits;
    assert_eq!(waiting[0].kind(), WaitKind::Lock);
    assert_eq!(waiting[0].reason, "the lock \"ledger\"");
    // Whoever holds the lock is withdrawn; the next one has it then.
    let held = read(&story, &first.id).await?.waits;
    request.id = held[0].id.clone();
    request.goes_on = false;
    request.request_id = request_id();
    let ended = executions.cancel_step(request).await?.into_inner();
    assert_eq!(ended.status(), ExecutionStatus::Completed);
    let job = story.admin.job("book").await?;
    assert_eq!(job.execution_id, second.id);
    story.admin.complete(&job, json!({})).await?;
    let done = story.admin.finished(&second.id).await?;
    assert_eq!(done.status(), ExecutionStatus::Completed);
    story.end().await
}
