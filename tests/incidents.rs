//! A step that parks instead of failing its execution, and the operator who resolves it.

use platform::client::request_id;
use proto::execution::v1::{
    ExecutionStatus, FailJobRequest, IncidentResolution, ResolveIncidentRequest, WaitKind,
};
use serde_json::json;
use tonic::Code;

use crate::story::{Acts, Outcome, Story, object, plain, refused};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_corrects_the_data_and_the_execution_goes_on() -> Outcome {
    let story = Story::begin().await?;
    let config = json!({ "onFailure": "park", "retry": { "maxAttempts": 1 } });
    let workflow = story.sequence(&[("Charge", "charge", config)]).await?;
    let begun = story
        .admin
        .start(&workflow, json!({ "card": "old" }))
        .await?;
    let job = story.admin.job("charge").await?;
    let failure = FailJobRequest {
        job_id: job.id.clone(),
        worker: "story".into(),
        error_message: "the card has expired".into(),
        error_code: "DECLINED".into(),
        no_retry: false,
        request_id: request_id(),
    };
    story.admin.jobs.clone().fail_job(failure).await?;

    let mut executions = story.admin.executions.clone();
    let parked = executions.get_execution(proto::execution::v1::GetExecutionRequest {
        id: begun.id.clone(),
    });
    let parked = parked.await?.into_inner();
    assert_eq!(parked.status(), ExecutionStatus::Running);
    let [incident] = parked.waits.as_slice() else {
        anyhow::bail!("one incident was expected: {parked:?}");
    };
    assert_eq!(incident.kind(), WaitKind::Incident);
    assert_eq!(
        incident.reason,
        "an operator, after DECLINED: the card has expired"
    );

    let mut request = ResolveIncidentRequest {
        id: incident.id.clone(),
        resolution: IncidentResolution::Unspecified.into(),
        data: Some(object(json!({ "card": "new" }))),
        request_id: request_id(),
    };
    let unclear = executions.resolve_incident(request.clone()).await;
    refused(unclear, Code::InvalidArgument, "INVALID_ARGUMENT")?;
    request.resolution = IncidentResolution::Retry.into();
    executions.resolve_incident(request.clone()).await?;
    // The same call again finds what it did; another one finds nothing to resolve.
    executions.resolve_incident(request.clone()).await?;
    request.request_id = request_id();
    let late = executions.resolve_incident(request).await;
    refused(late, Code::FailedPrecondition, "INCIDENT_RESOLVED")?;

    let job = story.admin.job("charge").await?;
    assert_eq!(plain(job.data.as_ref())["card"], "new");
    story.admin.complete(&job, json!({})).await?;
    let done = story.admin.finished(&begun.id).await?;
    assert_eq!(done.status(), ExecutionStatus::Completed);
    story.end().await
}
