//! What happens to executions: repeated calls, jobs that fail, cancelling, versions.

use platform::client::{Session, request_id};
use proto::catalog::v1::{ApplyWorkflowRequest, ArchiveWorkflowRequest, DeactivateWorkflowRequest};
use proto::execution::v1::{
    CancelExecutionRequest, ExecutionStatus, ExtendJobRequest, FailJobRequest, Job,
    StartExecutionRequest, StepStatus, WaitKind,
};
use serde_json::json;
use tonic::{Code, Status};

use crate::story::{Acts, Outcome, Story, object, refused};

/// What a worker says of a job that it could not do.
pub fn fail(job: &Job) -> FailJobRequest {
    FailJobRequest {
        job_id: job.id.clone(),
        worker: "story".into(),
        error_message: "the other side \u{0} said\r\n no".into(),
        error_code: String::new(),
        no_retry: false,
        request_id: request_id(),
    }
}

pub async fn cancel(session: &Session, id: &str) -> Result<ExecutionStatus, Status> {
    let request = CancelExecutionRequest {
        id: id.into(),
        reason: "not needed".into(),
        request_id: request_id(),
        compensate: false,
    };
    let cancelled = session.executions.clone().cancel_execution(request).await?;
    Ok(cancelled.get_ref().status())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_start_starts_once() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story
        .sequence(&[("Enter", "data_entry", json!({}))])
        .await?;
    let request = StartExecutionRequest {
        workflow_id: workflow.id.clone(),
        metadata: Some(object(json!({ "inputData": { "n": 1 } }))),
        request_id: request_id(),
        ..Default::default()
    };
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (mut executions, request) = (story.admin.executions.clone(), request.clone());
        calls.spawn(async move { executions.start_execution(request).await });
    }
    let mut ids = Vec::new();
    while let Some(answer) = calls.join_next().await {
        ids.push(answer??.into_inner().id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "twenty calls with one request_id");
    assert_eq!(
        story
            .recount("select count(*) from execution.workflow_executions")
            .await?,
        1
    );

    let other = StartExecutionRequest {
        metadata: None,
        ..request.clone()
    };
    let answer = story.admin.executions.clone().start_execution(other).await;
    refused(answer, Code::AlreadyExists, "REQUEST_ID_REUSED")?;
    // Another caller's request ids are their own.
    let clerk = story.user("clerk", &[]).await?;
    let theirs = clerk
        .executions
        .clone()
        .start_execution(request)
        .await?
        .into_inner();
    assert_ne!(theirs.id, ids[0]);
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_job_is_tried_again_and_at_last_fails_the_execution() -> Outcome {
    let story = Story::begin().await?;
    let retry =
        json!({ "action": "charge", "retry": { "maxAttempts": 3, "initialInterval": "10ms" } });
    let workflow = story.sequence(&[("Charge", "custom", retry)]).await?;
    let worker = &story.admin;
    let lucky = worker.start(&workflow, json!({})).await?;
    let first = worker.job("charge").await?;
    let answer = worker
        .jobs
        .clone()
        .fail_job(fail(&first))
        .await?
        .into_inner();
    assert!(answer.will_retry);
    let second = worker.job("charge").await?;
    assert_eq!((first.attempt, second.attempt), (1, 2));
    assert_ne!(first.id, second.id);
    let late = worker
        .complete(&first, json!({}))
        .await
        .map(tonic::Response::new);
    refused(late, Code::FailedPrecondition, "JOB_NOT_HELD")?;
    worker.complete(&second, json!({})).await?;
    assert_eq!(
        worker.finished(&lucky.id).await?.status(),
        ExecutionStatus::Completed
    );

    let unlucky = worker.start(&workflow, json!({})).await?;
    for attempt in 1..=3 {
        let job = worker.job("charge").await?;
        assert_eq!(job.attempt, attempt);
        let answer = worker.jobs.clone().fail_job(fail(&job)).await?.into_inner();
        assert_eq!(answer.will_retry, attempt < 3);
    }
    let failed = worker.finished(&unlucky.id).await?;
    assert_eq!(
        (failed.status(), failed.error_code.as_str()),
        (ExecutionStatus::Failed, "JOB_FAILED")
    );
    assert!(
        failed.error.contains("the other side  said"),
        "cleaned, not refused: {:?}",
        failed.error
    );
    let logs = worker.logs(&unlucky.id).await?;
    assert_eq!(
        logs.iter().map(|log| log.attempt).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert!(logs.iter().all(|log| log.status() == StepStatus::Failed));
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_execution_takes_no_answers() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story
        .sequence(&[("Work", "custom", json!({ "action": "work" }))])
        .await?;
    let admin = &story.admin;
    let execution = admin.start(&workflow, json!({})).await?;
    let job = admin.job("work").await?;
    assert_eq!(
        cancel(admin, &execution.id).await?,
        ExecutionStatus::Cancelled
    );
    let again = cancel(admin, &execution.id).await.map(tonic::Response::new);
    refused(again, Code::FailedPrecondition, "EXECUTION_FINISHED")?;
    let late = admin
        .complete(&job, json!({}))
        .await
        .map(tonic::Response::new);
    refused(late, Code::FailedPrecondition, "JOB_NOT_HELD")?;
    let extend = ExtendJobRequest {
        job_id: job.id,
        worker: "story".into(),
        lease_duration: None,
    };
    refused(
        admin.jobs.clone().extend_job(extend).await,
        Code::FailedPrecondition,
        "JOB_NOT_HELD",
    )?;
    let over = admin.finished(&execution.id).await?;
    assert_eq!(
        (over.status(), over.error.as_str()),
        (ExecutionStatus::Cancelled, "not needed")
    );
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_answers_in_time() -> Outcome {
    let story = Story::begin().await?;
    let hasty = json!({ "timeout": "200ms" });
    let workflow = story.sequence(&[("Decide", "approval", hasty)]).await?;
    let execution = story.admin.start(&workflow, json!({})).await?;
    assert_eq!(execution.waits[0].kind(), WaitKind::Person);
    assert!(execution.waits[0].wake_at.is_some());
    let over = story.admin.finished(&execution.id).await?;
    assert_eq!(
        (over.status(), over.error_code.as_str()),
        (ExecutionStatus::Failed, "TIMEOUT")
    );
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_execution_keeps_its_version() -> Outcome {
    let story = Story::begin().await?;
    let document = |last: &str| {
        json!({
            "client": { "name": "Versions" },
            "workflow": { "name": "Versioned" },
            "steps": [
                { "order": 0, "name": "Enter", "stepType": "data_entry" },
                { "order": 1, "name": last, "stepType": "notification", "config": { "notificationType": "email" } },
            ],
        })
        .to_string()
    };
    let first = story.publish(&document("Old end")).await?;
    let execution = story.admin.start(&first, json!({})).await?;
    let second = story.publish(&document("New end")).await?;
    assert_eq!(
        (first.id.as_str(), first.version, second.version),
        (second.id.as_str(), 1, 2)
    );
    story.admin.submit(&execution, json!({})).await?;
    let over = story.admin.finished(&execution.id).await?;
    assert_eq!(over.workflow_version, 1);
    assert_eq!(
        story.admin.logs(&execution.id).await?[1].step_name,
        "Old end"
    );
    let newer = story.admin.start(&second, json!({})).await?;
    assert_eq!(newer.workflow_version, 2);
    cancel(&story.admin, &newer.id).await?;
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_active_workflows_start() -> Outcome {
    let story = Story::begin().await?;
    let admin = &story.admin;
    let start = |id: &str| StartExecutionRequest {
        workflow_id: id.into(),
        metadata: None,
        request_id: request_id(),
        ..Default::default()
    };
    let draft = ApplyWorkflowRequest {
        document: platform::demo::DOCUMENTS[2].into(),
        validate_only: false,
        ..ApplyWorkflowRequest::default()
    };
    let draft = admin
        .workflows
        .clone()
        .apply_workflow(draft)
        .await?
        .into_inner()
        .workflow
        .unwrap_or_default();
    let answer = admin
        .executions
        .clone()
        .start_execution(start(&draft.id))
        .await;
    refused(answer, Code::FailedPrecondition, "WORKFLOW_NOT_ACTIVE")?;

    let active = story
        .sequence(&[("Enter", "data_entry", json!({}))])
        .await?;
    let running = admin.start(&active, json!({})).await?;
    let request = DeactivateWorkflowRequest {
        id: active.id.clone(),
    };
    admin.workflows.clone().deactivate_workflow(request).await?;
    let answer = admin
        .executions
        .clone()
        .start_execution(start(&active.id))
        .await;
    refused(answer, Code::FailedPrecondition, "WORKFLOW_NOT_ACTIVE")?;
    let request = ArchiveWorkflowRequest { id: active.id };
    admin.workflows.clone().archive_workflow(request).await?;
    // What runs goes on.
    admin.submit(&running, json!({})).await?;
    assert_eq!(
        admin.finished(&running.id).await?.status(),
        ExecutionStatus::Completed
    );
    story.end().await
}
