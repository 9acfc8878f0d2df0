//! Executions, tasks and jobs.

use platform::client::{Session, request_id};
use proto::execution::v1::*;
use serde_json::{Value, json};
use tonic::{Code, Response};

use super::{Answers, UNKNOWN, nested};
use crate::story::{Acts, Outcome, Story, object};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn executions_tasks_and_jobs() -> Outcome {
    let story = Story::begin().await?;
    let Session {
        mut executions,
        mut tasks,
        mut jobs,
        ..
    } = story.admin.clone();
    let mut answers = Answers::default();
    let workflow = story.sequence(&[("Decide", "approval", json!({}))]).await?;
    let start = |workflow_id: &str, metadata: prost_types::Struct| StartExecutionRequest {
        workflow_id: workflow_id.into(),
        metadata: Some(metadata),
        request_id: request_id(),
        ..Default::default()
    };
    let number = |number: f64| prost_types::Struct {
        fields: [(
            "n".to_owned(),
            prost_types::Value {
                kind: Some(prost_types::value::Kind::NumberValue(number)),
            },
        )]
        .into(),
    };
    for (metadata, field) in [
        (object(json!({ "inputData": 1 })), "metadata.inputData"),
        (
            object(json!({ "simulation": "yes" })),
            "metadata.simulation",
        ),
        (object(json!({ "inputData": nested(31) })), "metadata"),
        (
            object(json!({ "inputData": { "text": "x".repeat(263_000) } })),
            "metadata",
        ),
        (object(json!({ "inputData": { "a\u{0}": 1 } })), "metadata"),
        (number(f64::NAN), "metadata"),
        (number(f64::INFINITY), "metadata"),
        // 870 characters a piece once the database has written them out.
        (
            object(json!({ "inputData": { "n": vec![1e308; 1000] } })),
            "metadata",
        ),
    ] {
        answers.invalid(
            executions
                .start_execution(start(&workflow.id, metadata))
                .await,
            field,
        );
    }
    let empty = || object(json!({}));
    answers.invalid(
        executions.start_execution(start("7", empty())).await,
        "workflow_id",
    );
    let unknown = executions.start_execution(start(UNKNOWN, empty())).await;
    answers.expect(unknown, Code::NotFound, "WORKFLOW_NOT_FOUND");
    let list = ListExecutionsRequest {
        filter: "started_at = \"yesterday\"".into(),
        ..Default::default()
    };
    answers.invalid(executions.list_executions(list).await, "filter");
    let list = ListExecutionsRequest {
        filter: "status = \"SLEEPING\"".into(),
        ..Default::default()
    };
    answers.invalid(executions.list_executions(list).await, "filter");
    let get = GetExecutionRequest { id: "?".into() };
    answers.invalid(executions.get_execution(get).await, "id");
    let watch = WatchExecutionRequest { id: UNKNOWN.into() };
    let watched = executions.watch_execution(watch).await;
    answers.expect(
        watched.map(|_| Response::new(())),
        Code::NotFound,
        "EXECUTION_NOT_FOUND",
    );
    assert_eq!(
        story
            .recount("select count(*) from execution.workflow_executions")
            .await?,
        0
    );

    let execution = story.admin.start(&workflow, json!({})).await?;
    let id = story.admin.task(&execution).await?.id;
    let submit = |data: Value| SubmitTaskRequest {
        id: id.clone(),
        data: Some(object(data)),
        request_id: request_id(),
    };
    answers.expect(
        tasks.submit_task(submit(json!({}))).await,
        Code::FailedPrecondition,
        "WRONG_ANSWER",
    );
    answers.invalid(tasks.submit_task(submit(nested(32))).await, "data");
    let approve = ApproveTaskRequest {
        id: id.clone(),
        comment: "x".repeat(10_001),
        request_id: request_id(),
    };
    answers.invalid(tasks.approve_task(approve).await, "comment");
    let complete = CompleteJobRequest {
        job_id: id,
        worker: "w".into(),
        output: None,
        request_id: request_id(),
    };
    answers.expect(
        jobs.complete_job(complete).await,
        Code::FailedPrecondition,
        "NOT_A_JOB",
    );
    let seconds = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    let activate = || ActivateJobsRequest {
        worker: "w".into(),
        job_types: vec!["t".into()],
        ..Default::default()
    };
    for (request, field) in [
        (
            ActivateJobsRequest {
                worker: String::new(),
                ..activate()
            },
            "worker",
        ),
        (
            ActivateJobsRequest {
                job_types: vec![],
                ..activate()
            },
            "job_types",
        ),
        (
            ActivateJobsRequest {
                max_jobs: 1001,
                ..activate()
            },
            "max_jobs",
        ),
        (
            ActivateJobsRequest {
                max_jobs: -1,
                ..activate()
            },
            "max_jobs",
        ),
        (
            ActivateJobsRequest {
                lease_duration: seconds(0, 1),
                ..activate()
            },
            "lease_duration",
        ),
        (
            ActivateJobsRequest {
                lease_duration: seconds(3601, 0),
                ..activate()
            },
            "lease_duration",
        ),
        (
            ActivateJobsRequest {
                wait_timeout: seconds(61, 0),
                ..activate()
            },
            "wait_timeout",
        ),
    ] {
        answers.invalid(jobs.activate_jobs(request).await, field);
    }
    answers.end();
    story.end().await
}
