//! Looking without touching: why an execution is where it is, and what publishing would have changed.

use platform::client::request_id;
use proto::catalog::v1::ApplyWorkflowRequest;
use proto::execution::v1::{
    ApproveTaskRequest, ExplainExecutionRequest, PreviewPublishRequest, PreviewPublishResponse,
    PreviewResult, StepStatus, WaitKind,
};
use serde_json::json;
use tonic::Code;

use crate::story::{Acts, Outcome, Story, plain, refused};

/// Orders of more than a limit are approved.
fn document(limit: &str) -> String {
    format!(
        r#"
client: {{ name: Initech }}
workflow: {{ name: Orders }}
steps:
  - {{ key: check, name: Check, stepType: check-order, config: {{ retry: {{ maxAttempts: 2, initialInterval: 1ms }} }} }}
  - {{ key: approve, name: Approve, stepType: approval, config: {{ approverRole: chefs, timeout: 2h }} }}
  - {{ key: ship, name: Ship, stepType: notification }}
transitions:
  - {{ from: check, to: approve, condition: {{ field: amount, operator: greaterThan, value: {limit} }} }}
  - {{ from: check, to: ship, isDefault: true }}
  - {{ from: approve, to: ship, condition: {{ field: approved, operator: equals, value: true }} }}
"#
    )
}

async fn apply(story: &Story, document: String) -> Outcome {
    let request = ApplyWorkflowRequest {
        document,
        ..Default::default()
    };
    story
        .admin
        .workflows
        .clone()
        .apply_workflow(request)
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_execution_explains_why_it_is_where_it_is() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story.publish(&document("100")).await?;
    let begun = story
        .admin
        .start(&workflow, json!({ "amount": 250 }))
        .await?;
    let job = story.admin.job("check-order").await?;
    let failure = crate::running::fail(&job);
    story.admin.jobs.clone().fail_job(failure).await?;
    let job = story.admin.job("check-order").await?;
    story.admin.complete(&job, json!({})).await?;

    let mut executions = story.admin.executions.clone();
    let mut request = ExplainExecutionRequest {
        id: begun.id.clone(),
        page_size: 2,
        ..Default::default()
    };
    let first = executions
        .explain_execution(request.clone())
        .await?
        .into_inner();
    assert_eq!(
        first.summary,
        "Orders is RUNNING: Approve waits for a member of \"chefs\" to decide."
    );
    request.page_token = first.next_page_token;
    let second = executions
        .explain_execution(request.clone())
        .await?
        .into_inner();
    assert!(second.next_page_token.is_empty());
    let [failed, checked, approve] = &[first.explanations, second.explanations].concat()[..] else {
        anyhow::bail!("two attempts and a task were expected");
    };
    assert_eq!((failed.attempt, failed.status()), (1, StepStatus::Failed));
    assert!(failed.text.contains("attempt 2 follows"), "{}", failed.text);
    let [judged] = &checked.judged[..] else {
        anyhow::bail!("the first way held: {checked:?}");
    };
    assert!(judged.taken && judged.holds && !judged.is_default);
    assert_eq!(judged.condition, "amount greaterThan 100");
    assert_eq!(plain(judged.seen.as_ref()), json!({ "amount": 250 }));
    let wait = approve.wait.clone().unwrap_or_default();
    assert_eq!(wait.kind(), WaitKind::Person);
    let [decision, timeout] = &approve.ends_by[..] else {
        anyhow::bail!("people or the clock end it: {approve:?}");
    };
    assert!(decision.contains("ApproveTask") && timeout.contains("timeout"));

    request.id = job.id;
    request.page_token = String::new();
    let unknown = executions.explain_execution(request).await;
    refused(unknown, Code::NotFound, "EXECUTION_NOT_FOUND")?;
    crate::running::cancel(&story.admin, &begun.id).await?;
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_is_tried_on_what_really_happened() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story.publish(&document("100")).await?;
    let chef = story.user("chef", &["chefs"]).await?;
    let mut executions = story.admin.executions.clone();
    for amount in [50, 150, 250] {
        let begun = story
            .admin
            .start(&workflow, json!({ "amount": amount }))
            .await?;
        let job = story.admin.job("check-order").await?;
        story.admin.complete(&job, json!({})).await?;
        if amount > 100 {
            let approval = ApproveTaskRequest {
                id: chef.task(&begun).await?.id,
                comment: String::new(),
                request_id: request_id(),
            };
            chef.tasks.clone().approve_task(approval).await?;
        }
    }
    let cancelled = story.admin.start(&workflow, json!({ "amount": 1 })).await?;
    crate::running::cancel(&story.admin, &cancelled.id).await?;

    let mut request = PreviewPublishRequest {
        workflow_id: workflow.id.clone(),
        ..Default::default()
    };
    let counts = |told: &PreviewPublishResponse| {
        [
            told.same,
            told.diverged,
            told.undetermined,
            told.failed,
            told.not_compared,
        ]
    };
    let told = executions
        .preview_publish(request.clone())
        .await?
        .into_inner();
    assert_eq!(counts(&told), [3, 0, 0, 0, 0], "{told:#?}");

    // The one in the middle would not be asked about any more.
    apply(&story, document("200")).await?;
    let told = executions
        .preview_publish(request.clone())
        .await?
        .into_inner();
    assert_eq!(counts(&told), [2, 1, 0, 0, 0], "{told:#?}");
    let [example] = &told.examples[..] else {
        anyhow::bail!("one differs");
    };
    assert_eq!(example.result(), PreviewResult::Diverged);
    let difference = example.difference.clone().unwrap_or_default();
    assert_eq!(difference.step_name, "Check");
    assert_eq!(difference.was, "COMPLETED, to \"Approve\"");
    assert_eq!(difference.becomes, "COMPLETED, to \"Ship\"");

    // Nobody was asked about the small one.
    apply(&story, document("10")).await?;
    let told = executions
        .preview_publish(request.clone())
        .await?
        .into_inner();
    assert_eq!(counts(&told), [2, 0, 1, 0, 0], "{told:#?}");
    let missing = told.examples[0].missing.clone().unwrap_or_default();
    assert_eq!(missing.step_name, "Approve");
    request.last_executions = 2;
    let told = executions
        .preview_publish(request.clone())
        .await?
        .into_inner();
    assert_eq!(counts(&told), [2, 0, 0, 0, 0], "{told:#?}");
    request.filter = "started_at < \"2001-01-01T00:00:00Z\"".into();
    let told = executions
        .preview_publish(request.clone())
        .await?
        .into_inner();
    assert_eq!(counts(&told), [0; 5], "{told:#?}");

    let another = "isDefault: true }\n  - { from: check, to: approve, isDefault: true }";
    let two_defaults = document("10").replacen("isDefault: true }", another, 1);
    apply(&story, two_defaults).await?;
    let invalid = executions.preview_publish(request.clone()).await;
    refused(invalid, Code::FailedPrecondition, "DEFINITION_INVALID")?;
    request.last_executions = 1001;
    let many = executions.preview_publish(request).await;
    refused(many, Code::InvalidArgument, "INVALID_ARGUMENT")?;
    let versions = "select count(*) from catalog.workflow_versions";
    assert_eq!(story.recount(versions).await?, 1);
    story.end().await
}
