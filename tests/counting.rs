//! What is counted: reports equal a recount of the rows, and simulations are in none.

use platform::client::request_id;
use proto::execution::v1::{
    ExecutionStatus, ListExecutionsRequest, SimulateWorkflowRequest, StartExecutionRequest,
};
use proto::reporting::v1::SummarizeReportsRequest;
use serde_json::json;

use crate::running::{cancel, fail};
use crate::story::{Acts, Outcome, Story, object, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simulations_have_no_effects() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story.publish(platform::demo::DOCUMENTS[0]).await?;
    let admin = &story.admin;
    let answer = |value| prost_types::ListValue {
        values: vec![prost_types::Value {
            kind: Some(prost_types::value::Kind::StructValue(object(
                json!({ "output": value }),
            ))),
        }],
    };
    let request = SimulateWorkflowRequest {
        workflow_id: workflow.id.clone(),
        version: 0,
        input_data: None,
        mocks: [(
            "Document Collection".to_owned(),
            answer(json!({ "documentsComplete": true })),
        )]
        .into(),
    };
    let simulated = admin
        .executions
        .clone()
        .simulate_workflow(request)
        .await?
        .into_inner();
    assert_eq!(
        simulated.execution.unwrap_or_default().status(),
        ExecutionStatus::Completed
    );
    assert_eq!(simulated.logs.len(), 5);
    assert!(simulated.unvisited_step_ids.is_empty());
    assert_eq!(
        story
            .recount("select count(*) from execution.workflow_executions")
            .await?,
        0
    );

    let request = StartExecutionRequest {
        workflow_id: workflow.id.clone(),
        metadata: Some(object(
            json!({ "simulation": true, "inputData": { "documentsComplete": true } }),
        )),
        request_id: request_id(),
        ..Default::default()
    };
    let stored = admin
        .executions
        .clone()
        .start_execution(request)
        .await?
        .into_inner();
    assert!(
        stored.completed_at.is_some(),
        "a stored simulation is over at once"
    );
    let request = ListExecutionsRequest {
        filter: "simulation = false".into(),
        ..Default::default()
    };
    let real = admin
        .executions
        .clone()
        .list_executions(request)
        .await?
        .into_inner();
    assert!(real.executions.is_empty());
    assert_eq!(
        story
            .recount("select count(*) from execution.outbox")
            .await?,
        0
    );
    assert_eq!(
        story
            .recount("select count(*) from execution.notifications")
            .await?,
        0
    );
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_equal_a_recount() -> Outcome {
    let story = Story::begin().await?;
    let admin = &story.admin;
    let retry = json!({ "action": "work", "retry": { "maxAttempts": 1 } });
    let workflow = story
        .sequence(&[
            (
                "Tell",
                "notification",
                json!({ "notificationType": "email" }),
            ),
            ("Work", "custom", retry),
        ])
        .await?;
    for n in 0..24 {
        let execution = admin.start(&workflow, json!({ "n": n })).await?;
        match n % 4 {
            0 => drop(cancel(admin, &execution.id).await?),
            1 => drop(
                admin
                    .jobs
                    .clone()
                    .fail_job(fail(&admin.job("work").await?))
                    .await?,
            ),
            // Left open at the end.
            2 if n > 20 => {}
            _ => admin.complete(&admin.job("work").await?, json!({})).await?,
        }
    }
    let recount = async |status: &str| {
        let sql = format!(
            "select count(*) from execution.workflow_executions where status = '{status}' and not simulation"
        );
        story.recount(&sql).await
    };
    let expected = (
        story
            .recount("select count(*) from execution.workflow_executions where not simulation")
            .await?,
        recount("COMPLETED").await?,
        recount("FAILED").await?,
        recount("CANCELLED").await?,
        recount("RUNNING").await?,
    );
    assert_eq!((expected.0, expected.2, expected.3), (24, 6, 6));
    let jobs = "select count(*) from execution.execution_logs l join catalog.workflow_steps s on s.id = l.step_id \
                where s.name = 'Work' and l.status in ('COMPLETED', 'FAILED', 'SKIPPED')";
    let activations = story.recount(jobs).await?;
    until("the summary equals the rows", async || {
        let summary = admin
            .reports
            .clone()
            .summarize_reports(SummarizeReportsRequest::default())
            .await?
            .into_inner();
        let total = summary.total.unwrap_or_default();
        let work = summary
            .by_step
            .into_iter()
            .find(|step| step.name == "Work")
            .unwrap_or_default();
        Ok(expected
            == (
                total.total_executions,
                total.completed_executions,
                total.failed_executions,
                total.cancelled_executions,
                total.running_executions,
            )
            && work.activations == activations)
    })
    .await?;
    story.end().await
}
