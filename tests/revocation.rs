//! Access that ends or changes while it is in use: streams, long polls and tokens that are still good.

use anyhow::{Context, ensure};
use platform::client::request_id;
use proto::catalog::v1::{ApiKeyScope, RevokeApiKeyRequest};
use proto::execution::v1::job_service_client::JobServiceClient;
use proto::execution::v1::{
    ActivateJobsRequest, ApproveTaskRequest, ExecutionStatus, ListTasksRequest,
    WatchExecutionRequest,
};
use serde_json::json;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};

use crate::running::cancel;
use crate::story::{Acts, Outcome, Story, reason_of, refused, until};

/// Nothing takes this long; it only ends a test that would hang.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_ends_when_its_reader_is_deactivated_and_others_go_on() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story
        .sequence(&[("Enter", "data_entry", json!({}))])
        .await?;
    let execution = story.admin.start(&workflow, json!({})).await?;
    let (leaver, clerk) = (
        story.user("leaver", &[]).await?,
        story.user("clerk", &[]).await?,
    );
    let watch = || WatchExecutionRequest {
        id: execution.id.clone(),
    };
    let mut theirs = leaver
        .executions
        .clone()
        .watch_execution(watch())
        .await?
        .into_inner();
    let others = tokio::spawn({
        let id = execution.id.clone();
        async move { clerk.finished(&id).await }
    });
    ensure!(theirs.message().await?.is_some(), "the stream begins well");
    story
        .alter(
            "update catalog.users set is_active = false, access_changed_at = now()
             where email = 'leaver@example.com'",
        )
        .await?;
    let ended = tokio::time::timeout(LIMIT, async {
        loop {
            match theirs.message().await {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(status) => break Some(status),
            }
        }
    });
    let status = ended.await?.context("the stream ends with a reason")?;
    assert_eq!(
        (status.code(), reason_of(&status).as_str()),
        (Code::Unauthenticated, "TOKEN_REVOKED")
    );
    let again = leaver.executions.clone().watch_execution(watch()).await;
    refused(
        again.map(|_| tonic::Response::new(())),
        Code::Unauthenticated,
        "TOKEN_REVOKED",
    )?;

    assert_eq!(
        cancel(&story.admin, &execution.id).await?,
        ExecutionStatus::Cancelled
    );
    assert_eq!(others.await??.status(), ExecutionStatus::Cancelled);
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_whose_key_is_revoked_gets_no_more_jobs() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story
        .sequence(&[("Pack", "custom", json!({ "action": "pack" }))])
        .await?;
    let (key, worker) = story.machine(ApiKeyScope::Worker).await?;
    let first = story.admin.start(&workflow, json!({})).await?;
    let job = worker.job("pack").await?;
    worker.complete(&job, json!({})).await?;
    assert_eq!(
        story.admin.finished(&first.id).await?.status(),
        ExecutionStatus::Completed
    );

    // It waits for the next one, as long as a worker may.
    let address = story.running.addresses.execution;
    let channel = Endpoint::from_shared(format!("http://{address}"))?
        .connect()
        .await?;
    let mut request = Request::new(ActivateJobsRequest {
        worker: "story".into(),
        job_types: vec!["pack".into()],
        wait_timeout: Some(prost_types::Duration {
            seconds: 60,
            nanos: 0,
        }),
        ..Default::default()
    });
    let bearer = format!("Bearer {}", worker.token).parse()?;
    request.metadata_mut().insert("authorization", bearer);
    let waiting =
        tokio::spawn(async move { JobServiceClient::new(channel).activate_jobs(request).await });
    let revoke = RevokeApiKeyRequest {
        id: key.id,
        etag: String::new(),
    };
    story.admin.api_keys.clone().revoke_api_key(revoke).await?;
    let answer = tokio::time::timeout(LIMIT, waiting).await??;
    refused(answer, Code::Unauthenticated, "TOKEN_REVOKED")?;

    let second = story.admin.start(&workflow, json!({})).await?;
    let late = worker.complete(&job, json!({})).await;
    refused(
        late.map(tonic::Response::new),
        Code::Unauthenticated,
        "TOKEN_REVOKED",
    )?;
    let job = story.admin.job("pack").await?;
    assert_eq!(job.execution_id, second.id, "nobody took it");
    story.admin.complete(&job, json!({})).await?;
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machine_starts_and_reads_in_its_own_name_and_decides_nothing() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story
        .sequence(&[("Approve", "approval", json!({}))])
        .await?;
    let (key, machine) = story.machine(ApiKeyScope::Service).await?;
    let execution = machine.start(&workflow, json!({})).await?;
    let own = format!(
        "select count(*) from execution.workflow_executions where started_by = '{}'",
        key.id
    );
    assert_eq!(story.recount(&own).await?, 1);

    let list = |filter: &str| ListTasksRequest {
        filter: filter.into(),
        ..Default::default()
    };
    let mut tasks = machine.tasks.clone();
    let open = tasks.list_tasks(list("")).await?.into_inner().tasks;
    assert_eq!(open.len(), 1);
    let mine = tasks.list_tasks(list("mine = true")).await;
    refused(mine, Code::InvalidArgument, "INVALID_ARGUMENT")?;
    let approve = ApproveTaskRequest {
        id: open[0].id.clone(),
        comment: String::new(),
        request_id: request_id(),
    };
    refused(
        tasks.approve_task(approve).await,
        Code::PermissionDenied,
        "USER_REQUIRED",
    )?;
    assert_eq!(
        cancel(&machine, &execution.id).await?,
        ExecutionStatus::Cancelled
    );
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_groups_and_roles_hold_for_the_token_one_has() -> Outcome {
    let story = Story::begin().await?;
    let config = json!({ "approverRole": "board" });
    let workflow = story.sequence(&[("Approve", "approval", config)]).await?;
    let execution = story.admin.start(&workflow, json!({})).await?;
    let clerk = story.user("clerk", &[]).await?;
    ensure!(clerk.task(&execution).await.is_err(), "it is the board's");
    story
        .alter(
            "update catalog.users set groups = '{board}', role = 'ADMIN', access_changed_at = now()
             where email = 'clerk@example.com'",
        )
        .await?;
    until("the new member sees the board's task", async || {
        Ok(clerk.task(&execution).await.is_ok())
    })
    .await?;
    let approve = ApproveTaskRequest {
        id: clerk.task(&execution).await?.id,
        comment: String::new(),
        request_id: request_id(),
    };
    clerk.tasks.clone().approve_task(approve).await?;
    assert_eq!(
        clerk.finished(&execution.id).await?.status(),
        ExecutionStatus::Completed
    );
    let admin = async || -> Result<(), Status> {
        let request = proto::execution::v1::CheckExecutionsRequest {};
        clerk.executions.clone().check_executions(request).await?;
        Ok(())
    };
    admin().await?;
    story.end().await
}
