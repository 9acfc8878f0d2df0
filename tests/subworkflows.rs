//! Workflows that run others: what comes back, what goes down, and what is caught.

use platform::client::request_id;
use proto::execution::v1::{
    CancelExecutionRequest, Execution, ExecutionStatus, GetExecutionRequest, Job,
    ListExecutionsRequest, ThrowJobErrorRequest, WaitKind,
};
use serde_json::json;

use crate::story::{Acts, Outcome, Story, plain, until};

const CHECK: &str = r#"
client: { name: Initech }
workflow: { name: Credit check, status: ACTIVE }
steps:
  - { order: 0, name: Look, stepType: look-at-credit }
  - { order: 1, name: Note, stepType: notification }
"#;

fn order(check: &str) -> String {
    format!(
        r#"
client: {{ name: Initech }}
workflow: {{ name: Order, status: ACTIVE }}
steps:
  - order: 0
    name: Credit
    stepType: subworkflow
    config: {{ workflowId: {check}, input: {{ who: data.customer }}, timeout: 2d }}
  - {{ order: 1, name: Deliver, stepType: notification }}
  - {{ order: 2, name: Remind later, stepType: subworkflow, config: {{ workflowId: {check}, mode: START }} }}
  - {{ order: 3, name: Decline, stepType: notification }}
transitions:
  - {{ from: Credit, to: Deliver, condition: {{ field: result.granted, operator: equals, value: true }} }}
  - {{ from: Credit, to: Decline, isDefault: true }}
  - {{ from: Credit, to: Decline, condition: {{ field: step.error.code, operator: equals, value: BANKRUPT }} }}
  - {{ from: Deliver, to: Remind later }}
"#
    )
}

async fn children(story: &Story, of: &Execution) -> anyhow::Result<Vec<Execution>> {
    let request = ListExecutionsRequest {
        filter: format!("parent_execution_id = {:?}", of.id),
        order_by: "started_at".into(),
        ..Default::default()
    };
    let mut executions = story.admin.executions.clone();
    Ok(executions
        .list_executions(request)
        .await?
        .into_inner()
        .executions)
}

async fn steps(story: &Story, of: &Execution) -> anyhow::Result<Vec<String>> {
    let logs = story.admin.logs(&of.id).await?.into_iter();
    Ok(logs.map(|log| log.step_name).collect())
}

fn bankrupt(job: Job) -> ThrowJobErrorRequest {
    ThrowJobErrorRequest {
        job_id: job.id,
        worker: "story".into(),
        error_code: "BANKRUPT".into(),
        error_message: "there is nothing left".into(),
        request_id: request_id(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workflow_runs_others_and_hears_what_came_of_them() -> Outcome {
    let story = Story::begin().await?;
    let check = story.publish(CHECK).await?;
    let workflow = story.publish(&order(&check.id)).await?;
    let begun = story
        .admin
        .start(&workflow, json!({ "customer": "c-1" }))
        .await?;
    assert_eq!(begun.waits[0].kind(), WaitKind::Children);

    let job = story.admin.job("look-at-credit").await?;
    assert_eq!(plain(job.data.as_ref()), json!({ "who": "c-1" }));
    assert_eq!(
        begun.waits[0].reason,
        format!("execution {}", job.execution_id)
    );
    let [child] = &children(&story, &begun).await?[..] else {
        panic!("there is one child");
    };
    // Its id is that of the wait, and of the log.
    assert_eq!(
        (&child.id, &child.parent_execution_id),
        (&begun.waits[0].id, &begun.id)
    );
    story
        .admin
        .complete(&job, json!({ "granted": true }))
        .await?;
    let done = story.admin.finished(&begun.id).await?;
    assert_eq!(done.status(), ExecutionStatus::Completed);
    assert_eq!(
        steps(&story, &done).await?,
        ["Credit", "Deliver", "Remind later"]
    );
    let logs = story.admin.logs(&begun.id).await?;
    let result = json!({ "executionId": child.id, "result": { "granted": true } });
    assert_eq!(plain(logs[0].data.as_ref()), result);
    // The one that was only started goes on.
    let all = children(&story, &begun).await?;
    assert_eq!(
        plain(logs[2].data.as_ref()),
        json!({ "executionId": all[1].id })
    );
    assert_eq!(all[1].status(), ExecutionStatus::Running);
    let job = story.admin.job("look-at-credit").await?;
    story.admin.complete(&job, json!({})).await?;
    let done = story.admin.finished(&all[1].id).await?;
    assert_eq!(done.status(), ExecutionStatus::Completed);
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_come_up_and_cancellations_go_down() -> Outcome {
    let story = Story::begin().await?;
    let check = story.publish(CHECK).await?;
    let workflow = story.publish(&order(&check.id)).await?;
    // A business error of the one is caught in the other.
    let refused = story
        .admin
        .start(&workflow, json!({ "customer": "c-2" }))
        .await?;
    let job = story.admin.job("look-at-credit").await?;
    story
        .admin
        .jobs
        .clone()
        .throw_job_error(bankrupt(job))
        .await?;
    let done = story.admin.finished(&refused.id).await?;
    assert_eq!(done.status(), ExecutionStatus::Completed);
    assert_eq!(steps(&story, &done).await?, ["Credit", "Decline"]);
    let logs = story.admin.logs(&refused.id).await?;
    assert_eq!(logs[0].error_code, "BANKRUPT");

    // Whoever is cancelled cancels what it waits for.
    let cancelled = story
        .admin
        .start(&workflow, json!({ "customer": "c-3" }))
        .await?;
    let job = story.admin.job("look-at-credit").await?;
    let request = CancelExecutionRequest {
        id: cancelled.id.clone(),
        reason: "the order was withdrawn".into(),
        request_id: request_id(),
        ..Default::default()
    };
    let mut executions = story.admin.executions.clone();
    executions.cancel_execution(request).await?;
    until("the child is cancelled", async || {
        let id = job.execution_id.clone();
        let request = GetExecutionRequest { id };
        let child = story
            .admin
            .executions
            .clone()
            .get_execution(request)
            .await?;
        Ok(child.into_inner().status() == ExecutionStatus::Cancelled)
    })
    .await?;
    story.end().await
}
