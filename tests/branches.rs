//! Branches side by side: people, workers and messages from outside, and where they meet again.

use platform::client::request_id;
use proto::execution::v1::{
    ApproveTaskRequest, BroadcastSignalRequest, Execution, ExecutionStatus, GetExecutionRequest,
    RejectTaskRequest, SignalExecutionRequest, WaitKind,
};
use serde_json::json;
use tonic::Code;

use crate::story::{Acts, Outcome, Story, object, plain, refused};

/// A contract is reviewed by two departments while the customer confirms; the first department that
/// objects ends it.
const REVIEW: &str = r#"
client: { name: Initech }
workflow: { name: Contract review, status: ACTIVE }
steps:
  - { order: 0, name: Distribute, stepType: parallel }
  - { order: 1, name: Legal, stepType: approval, config: { approverRole: legal } }
  - { order: 2, name: Finance, stepType: check-figures }
  - { order: 3, name: Customer, stepType: signal, config: { name: confirmed, correlation: contract } }
  - { order: 4, name: All agree, stepType: join }
  - { order: 5, name: Sign, stepType: notification }
  - { order: 6, name: Objected, stepType: end, config: { status: FAILED, errorCode: OBJECTION, message: not agreed } }
transitions:
  - { from: Distribute, to: Legal, condition: { cel: "true" } }
  - { from: Distribute, to: Finance, condition: { cel: "true" } }
  - { from: Distribute, to: Customer, condition: { cel: "true" } }
  - { from: Legal, to: All agree, condition: { field: approved, operator: equals, value: true } }
  - { from: Legal, to: Objected, isDefault: true }
  - { from: Finance, to: All agree }
  - { from: Customer, to: All agree }
  - { from: All agree, to: Sign }
"#;

fn kinds(execution: &Execution) -> Vec<WaitKind> {
    let mut kinds: Vec<WaitKind> = execution.waits.iter().map(|wait| wait.kind()).collect();
    kinds.sort();
    kinds
}

fn confirm(id: &str) -> SignalExecutionRequest {
    SignalExecutionRequest {
        id: id.into(),
        name: "confirmed".into(),
        data: Some(object(json!({ "confirmedBy": "phone" }))),
        ttl: None,
        request_id: request_id(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn branches_of_people_workers_and_messages_meet_again() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story.publish(REVIEW).await?;
    let lawyer = story.user("lawyer", &["legal"]).await?;
    let mut executions = story.admin.executions.clone();
    let begun = story
        .admin
        .start(&workflow, json!({ "contract": "C-1" }))
        .await?;
    assert_eq!(
        kinds(&begun),
        [WaitKind::Job, WaitKind::Person, WaitKind::Signal]
    );
    let reason = |execution: &Execution, kind: WaitKind| {
        let wait = execution.waits.iter().find(|wait| wait.kind() == kind);
        wait.map(|wait| wait.reason.clone()).unwrap_or_default()
    };
    assert_eq!(
        reason(&begun, WaitKind::Signal),
        r#"signal "confirmed" for "C-1""#
    );

    let request = confirm(&begun.id);
    let told = executions
        .signal_execution(request.clone())
        .await?
        .into_inner();
    assert_eq!(
        kinds(&told),
        [WaitKind::Job, WaitKind::Person, WaitKind::Join]
    );
    assert_eq!(reason(&told, WaitKind::Join), "other branches to come");
    // A repetition of the call is no second signal.
    executions.signal_execution(request).await?;
    let job = story.admin.job("check-figures").await?;
    assert_eq!(plain(job.data.as_ref())["confirmedBy"], "phone");
    story
        .admin
        .complete(&job, json!({ "figures": "right" }))
        .await?;
    let task = lawyer.task(&begun).await?;
    let approval = ApproveTaskRequest {
        id: task.id,
        comment: "fine".into(),
        request_id: request_id(),
    };
    lawyer.tasks.clone().approve_task(approval).await?;
    let done = lawyer.finished(&begun.id).await?;
    assert_eq!(done.status(), ExecutionStatus::Completed);
    let told: Vec<String> = (lawyer.logs(&begun.id).await?.into_iter())
        .map(|log| log.step_name)
        .collect();
    assert_eq!(
        told,
        [
            "Distribute",
            "Legal",
            "Finance",
            "Customer",
            "All agree",
            "Sign"
        ]
    );
    refused(
        executions.signal_execution(confirm(&begun.id)).await,
        Code::FailedPrecondition,
        "EXECUTION_FINISHED",
    )?;
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_reaches_those_who_wait_for_it() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story.publish(REVIEW).await?;
    let mut executions = story.admin.executions.clone();
    let mut begun = Vec::new();
    for contract in ["C-1", "C-1", "C-2"] {
        begun.push(
            story
                .admin
                .start(&workflow, json!({ "contract": contract }))
                .await?
                .id,
        );
    }
    let request = |correlation: &str| BroadcastSignalRequest {
        name: "confirmed".into(),
        correlation: correlation.into(),
        workflow_id: workflow.id.clone(),
        ..Default::default()
    };
    let mut broadcast = async |correlation: &str| {
        let told = executions.broadcast_signal(request(correlation)).await?;
        anyhow::Ok(told.into_inner().delivered)
    };
    assert_eq!(broadcast("C-9").await?, 0);
    assert_eq!(broadcast("C-1").await?, 2);
    assert_eq!(broadcast("C-1").await?, 0);
    assert_eq!(broadcast("").await?, 1);
    let mut executions = story.admin.executions.clone();
    for id in begun {
        let execution = executions
            .get_execution(GetExecutionRequest { id })
            .await?
            .into_inner();
        assert_eq!(
            kinds(&execution),
            [WaitKind::Job, WaitKind::Person, WaitKind::Join]
        );
    }
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_step_withdraws_what_is_still_open() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story.publish(REVIEW).await?;
    let lawyer = story.user("lawyer", &["legal"]).await?;
    let begun = story
        .admin
        .start(&workflow, json!({ "contract": 7 }))
        .await?;
    let job = story.admin.job("check-figures").await?;
    let task = lawyer.task(&begun).await?;
    let rejection = RejectTaskRequest {
        id: task.id,
        comment: "no".into(),
        request_id: request_id(),
    };
    lawyer.tasks.clone().reject_task(rejection).await?;
    let done = lawyer.finished(&begun.id).await?;
    assert_eq!(
        (done.status(), done.error_code.as_str(), done.error.as_str()),
        (ExecutionStatus::Failed, "OBJECTION", "not agreed")
    );
    let late = story.admin.complete(&job, json!({})).await;
    assert_eq!(
        late.map_err(|status| status.code()),
        Err(Code::FailedPrecondition)
    );
    story.end().await
}
