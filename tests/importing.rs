//! History from an older system: it is in logs, lists and reports as if it had run here, and goes out as an event log.

use platform::client::{Session, request_id};
use proto::execution::v1::{
    ExecutionStatus, ExplainExecutionRequest, ExportExecutionsRequest, ExportFormat,
    ImportExecutionsRequest, ImportedExecution, ImportedStep, ListExecutionLogsRequest,
    ListExecutionsRequest, RestartExecutionRequest,
};
use proto::reporting::v1::{
    ListReportsRequest, ListReportsResponse, RebuildReportsRequest, Report, ReportType,
    SummarizeReportsRequest, VerifyOutcome, VerifyReportRequest,
};
use serde_json::json;
use tonic::Code;

use crate::story::{Outcome, Story, until};

/// 2010-01-01T00:00:00Z and so many seconds.
fn at(second: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp {
        seconds: 1_262_304_000 + second,
        nanos: 0,
    })
}

/// One case a day: a review that took `n` seconds, then work that took as long.
fn case(n: i64) -> ImportedExecution {
    let start = n * 86_400;
    let step = |step: &str, from: i64| ImportedStep {
        step: step.into(),
        assigned_at: at(from),
        completed_at: at(from + n),
        resource: "clerk-7".into(),
        ..Default::default()
    };
    let status = match n % 4 {
        0 => ExecutionStatus::Failed,
        _ => ExecutionStatus::Completed,
    };
    ImportedExecution {
        case_id: format!("case {n}"),
        status: status.into(),
        steps: vec![step("Review", start), step("Work", start + n)],
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imported_history_is_reported_and_exported() -> Outcome {
    let story = Story::begin().await?;
    let work = json!({ "action": "work" });
    let steps = [("Review", "approval", json!({})), ("Work", "custom", work)];
    let workflow = story.sequence(&steps).await?;
    let admin = &story.admin;
    let requests = || {
        let request = |cases: Vec<ImportedExecution>, workflow_id: &str| ImportExecutionsRequest {
            workflow_id: workflow_id.into(),
            workflow_version: 0,
            executions: cases,
        };
        let first = request((1..=40).map(case).collect(), &workflow.id);
        let second = request((31..=60).map(case).collect(), "");
        tokio_stream::iter([first, second])
    };
    let user = story.user("somebody", &[]).await?;
    let refused = user.executions.clone().import_executions(requests()).await;
    assert_eq!(
        refused.map(drop).map_err(|it| it.code()),
        Err(Code::PermissionDenied)
    );
    let mut answers = admin
        .executions
        .clone()
        .import_executions(requests())
        .await?
        .into_inner();
    let mut told = Vec::new();
    while let Some(answer) = answers.message().await? {
        assert!(answer.failures.is_empty(), "{:?}", answer.failures);
        told.push((answer.imported, answer.unchanged, answer.total_imported));
    }
    assert_eq!(told, [(40, 0, 40), (20, 10, 60)]);

    // January: the first thirty-one days, of which seven failed.
    let january = SummarizeReportsRequest {
        period_start: at(0),
        period_end: at(31 * 86_400),
        workflow_id: workflow.id.clone(),
        ..Default::default()
    };
    until("reports tell of it", async || {
        let mut reports = admin.reports.clone();
        let summary = reports
            .summarize_reports(january.clone())
            .await?
            .into_inner();
        let total = summary.total.unwrap_or_default();
        let steps: Vec<i64> = summary.by_step.iter().map(|it| it.activations).collect();
        let counts = (
            total.total_executions,
            total.completed_executions,
            total.failed_executions,
        );
        // 2n seconds each, for n of 1 to 30 but the multiples of four.
        let mean = (1..=30).filter(|n| n % 4 != 0).sum::<i64>() as f64 * 2000.0 / 23.0;
        let is_mean = total
            .average_execution_time
            .is_some_and(|it| (it - mean).abs() < 1.0);
        Ok(counts == (30, 23, 7) && is_mean && steps == [30, 30])
    })
    .await?;

    prove(admin, &workflow.id).await?;

    let request = ListExecutionsRequest {
        filter: format!(
            "workflow_id = {} AND business_key = \"case 44\"",
            workflow.id
        ),
        ..Default::default()
    };
    let found = admin
        .executions
        .clone()
        .list_executions(request)
        .await?
        .into_inner();
    let [failed] = &found.executions[..] else {
        anyhow::bail!("{found:?}");
    };
    assert_eq!(
        (failed.status(), failed.started_at),
        (ExecutionStatus::Failed, at(44 * 86_400))
    );
    let explain = ExplainExecutionRequest {
        id: failed.id.clone(),
        ..Default::default()
    };
    admin.executions.clone().explain_execution(explain).await?;
    let restart = RestartExecutionRequest {
        id: failed.id.clone(),
        request_id: request_id(),
        ..Default::default()
    };
    let restarted = admin
        .executions
        .clone()
        .restart_execution(restart)
        .await?
        .into_inner();
    let logs = ListExecutionLogsRequest {
        execution_id: restarted.id,
        ..Default::default()
    };
    let logs = admin
        .executions
        .clone()
        .list_execution_logs(logs)
        .await?
        .into_inner()
        .logs;
    assert!(
        logs.len() == 1 && logs[0].completed_at.is_none(),
        "all is done afresh: {logs:?}"
    );

    let export = ExportExecutionsRequest {
        workflow_id: workflow.id.clone(),
        started_before: at(366 * 86_400),
        format: ExportFormat::Csv.into(),
        ..Default::default()
    };
    let mut chunks = user
        .executions
        .clone()
        .export_executions(export)
        .await?
        .into_inner();
    let mut document = Vec::new();
    while let Some(chunk) = chunks.message().await? {
        document.extend(chunk.chunk);
    }
    let document = String::from_utf8(document)?;
    assert_eq!(document.lines().count(), 1 + 60 * 2);
    assert!(document.contains(",Review,1,1,COMPLETED,2010-01-02T00:00:00.000000Z,"));
    story.end().await
}

/// Every report is what history says, and stays so when it is made anew.
async fn prove(admin: &Session, workflow_id: &str) -> Outcome {
    let mut reports = admin.reports.clone();
    let list = ListReportsRequest {
        page_size: 1000,
        filter: format!("workflow_id = {workflow_id}"),
        ..Default::default()
    };
    // Of each execution, of the day of each, and of their weeks and months.
    until("all reports are written", async || {
        let listed = admin.reports.clone().list_reports(list.clone()).await?;
        Ok(listed.into_inner().reports.len() > 125)
    })
    .await?;
    let before = reports.list_reports(list.clone()).await?.into_inner();
    let longer = |own: &&Report| own.report_type() != ReportType::Daily;
    for report in before.reports.iter().filter(longer).step_by(7) {
        let request = VerifyReportRequest {
            id: report.id.clone(),
        };
        let verified = reports.verify_report(request).await?.into_inner();
        assert_eq!(verified.outcome(), VerifyOutcome::Equal, "{verified:?}");
        assert!(verified.events >= 3 * verified.executions && verified.executions > 0);
    }
    let scope = RebuildReportsRequest {
        workflow_id: workflow_id.to_owned(),
        ..Default::default()
    };
    let mut progress = reports.rebuild_reports(scope).await?.into_inner();
    let mut last = None;
    while let Some(told) = progress.message().await? {
        last = Some(told);
    }
    let last = last.unwrap_or_default();
    assert!(last.done && last.executions == 60, "{last:?}");
    assert_eq!((last.changed_executions, last.changed_figures), (0, 0));
    let after = reports.list_reports(list).await?.into_inner();
    let metrics = |list: &ListReportsResponse| -> Vec<_> {
        let rows = list.reports.iter();
        rows.map(|own| (own.id.clone(), own.metrics.clone()))
            .collect()
    };
    assert_eq!(metrics(&after), metrics(&before));
    Ok(())
}
