//! What is counted: reports equal a recount of the rows, and simulations are in none.

use platform::client::{Session, request_id};
use proto::execution::v1::{
    ExecutionStatus, ListExecutionsRequest, SimulateWorkflowRequest, StartExecutionRequest,
};
use proto::reporting::v1::query_figures::Of;
use proto::reporting::v1::watch_reports_response::Change;
use proto::reporting::v1::*;
use serde_json::{Value, json};

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
    asked(&story, activations).await?;
    followed_and_exported(admin, &workflow.id).await?;
    story.end().await
}

/// The same by step, from the day before this one to the day after it.
async fn asked(story: &Story, activations: i64) -> anyhow::Result<()> {
    let midnight = "select extract(epoch from date_trunc('day', now(), 'UTC'))::bigint";
    let midnight = story.recount(midnight).await?;
    let at = |days: i64| {
        let seconds = midnight + days * 86_400;
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    };
    let request = QueryReportsRequest {
        period_start: at(-1),
        period_end: at(2),
        group_by: vec![Dimension::Step.into()],
        ..Default::default()
    };
    let mut reports = story.admin.reports.clone();
    let answer = reports.query_reports(request).await?.into_inner();
    let work = answer.rows.into_iter().find_map(|row| {
        let is_it = row.keys.is_some_and(|keys| keys.step_name == "Work");
        is_it.then_some(row.figures?.of?)
    });
    let Some(Of::Steps(work)) = work else {
        anyhow::bail!("no figures of steps: {work:?}");
    };
    assert_eq!(work.activations, activations);
    Ok(())
}

/// A watch begins with the reports that an export has, too.
async fn followed_and_exported(admin: &Session, workflow_id: &str) -> anyhow::Result<()> {
    let filter = format!("workflow_id = \"{workflow_id}\" AND report_type = \"execution\"");
    let mut reports = admin.reports.clone();
    let request = ExportReportsRequest {
        filter: filter.clone(),
        format: ReportFormat::Json.into(),
    };
    let mut chunks = reports.export_reports(request).await?.into_inner();
    let mut document = Vec::new();
    while let Some(message) = chunks.message().await? {
        document.extend(message.chunk);
    }
    let exported: Vec<Value> = serde_json::from_slice(&document)?;
    assert_eq!(exported.len(), 24);

    let request = WatchReportsRequest { filter };
    let mut changes = reports.watch_reports(request).await?.into_inner();
    for _ in 0..exported.len() {
        let change = changes.message().await?.and_then(|message| message.change);
        let Some(Change::Report(report)) = change else {
            anyhow::bail!("no report: {change:?}");
        };
        assert!(exported.iter().any(|own| own["id"] == *report.id));
    }
    let change = changes.message().await?.and_then(|message| message.change);
    assert!(matches!(change, Some(Change::CaughtUpAt(_))), "{change:?}");
    Ok(())
}
