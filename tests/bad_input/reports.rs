//! Reports.

use platform::client::Session;
use proto::reporting::v1::*;
use tonic::Code;

use super::{Answers, UNKNOWN};
use crate::story::{Outcome, Story};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports() -> Outcome {
    let story = Story::begin().await?;
    let Session { mut reports, .. } = story.admin.clone();
    let mut answers = Answers::default();
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let day = 86_400;
    for (period_start, period_end, field) in [
        (at(1), None, "period_start"),
        (None, at(day + 1), "period_end"),
        (at(2 * day), at(day), "period_end"),
        (at(i64::MAX), None, "period_start"),
    ] {
        let request = SummarizeReportsRequest {
            period_start,
            period_end,
            ..Default::default()
        };
        answers.invalid(reports.summarize_reports(request).await, field);
    }
    let request = SummarizeReportsRequest {
        workflow_id: "w".into(),
        ..Default::default()
    };
    answers.invalid(reports.summarize_reports(request).await, "workflow_id");
    for filter in [
        "report_type = \"yearly\"",
        "workflow_id = \"w\"",
        "metrics = \"a\"",
    ] {
        let request = ListReportsRequest {
            filter: filter.into(),
            ..Default::default()
        };
        answers.invalid(reports.list_reports(request).await, "filter");
    }
    answers.invalid(
        reports
            .get_report(GetReportRequest { id: "r".into() })
            .await,
        "id",
    );
    for (max_executions, started_from, started_before, field) in [
        (-1, None, None, "max_executions"),
        (100_001, None, None, "max_executions"),
        (0, at(2), at(1), "started_before"),
        (0, at(i64::MIN), None, "started_from"),
    ] {
        let request = AnalyzeWorkflowRequest {
            workflow_id: UNKNOWN.into(),
            started_from,
            started_before,
            max_executions,
        };
        answers.invalid(reports.analyze_workflow(request).await, field);
    }
    let nothing = AnalyzeWorkflowRequest::default();
    answers.invalid(reports.analyze_workflow(nothing).await, "workflow_id");
    let unknown = AnalyzeWorkflowRequest {
        workflow_id: UNKNOWN.into(),
        ..Default::default()
    };
    let unknown = reports.analyze_workflow(unknown).await;
    answers.expect(unknown, Code::NotFound, "WORKFLOW_NOT_FOUND");
    let bad = VerifyReportRequest { id: "r".into() };
    answers.invalid(reports.verify_report(bad).await, "id");
    let unknown = VerifyReportRequest { id: UNKNOWN.into() };
    let unknown = reports.verify_report(unknown).await;
    answers.expect(unknown, Code::NotFound, "REPORT_NOT_FOUND");
    for (workflow_id, period_start, period_end, field) in [
        ("w", None, None, "workflow_id"),
        ("", at(1), None, "period_start"),
        ("", at(2 * day), at(day), "period_end"),
    ] {
        let request = RebuildReportsRequest {
            workflow_id: workflow_id.into(),
            period_start,
            period_end,
        };
        answers.invalid(reports.rebuild_reports(request).await, field);
    }
    let unknown = reports
        .get_report(GetReportRequest { id: UNKNOWN.into() })
        .await;
    answers.expect(unknown, Code::NotFound, "REPORT_NOT_FOUND");
    questions(&story.admin, &mut answers).await;
    streams(&story.admin, &mut answers).await;
    answers.end();
    story.end().await
}

/// What no figures answer.
async fn questions(admin: &Session, answers: &mut Answers) {
    let mut reports = admin.reports.clone();
    let day = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let good = || QueryReportsRequest {
        period_start: day(0),
        period_end: day(86_400),
        ..Default::default()
    };
    let by = |group_by: &[Dimension]| QueryReportsRequest {
        group_by: group_by.iter().map(|own| (*own).into()).collect(),
        ..good()
    };
    let (step, hour) = (Dimension::Step, Dimension::Hour);
    let versions = Comparison {
        with: Some(comparison::With::Version(1)),
    };
    for (request, field) in [
        (QueryReportsRequest::default(), "period_start"),
        (by(&[step, hour]), "group_by"),
        (by(&[step, Dimension::Transition]), "group_by"),
        (by(&[Dimension::Unspecified]), "group_by[0]"),
        (
            QueryReportsRequest {
                period_end: day(86_400 * 3_660),
                ..good()
            },
            "period_end",
        ),
        (
            QueryReportsRequest {
                time_zone: "Nowhere".into(),
                ..by(&[hour])
            },
            "time_zone",
        ),
        (
            QueryReportsRequest {
                step_ids: vec![UNKNOWN.into()],
                ..good()
            },
            "step_ids",
        ),
        (
            QueryReportsRequest {
                compare_to: Some(versions),
                ..good()
            },
            "versions",
        ),
    ] {
        answers.invalid(reports.query_reports(request).await, field);
    }
}

async fn streams(admin: &Session, answers: &mut Answers) {
    let mut reports = admin.reports.clone();
    let filter = || "report_type = \"yearly\"".to_owned();
    let watch = WatchReportsRequest { filter: filter() };
    answers.invalid(reports.watch_reports(watch).await, "filter");
    let format = ReportFormat::Csv.into();
    let export = ExportReportsRequest {
        filter: filter(),
        format,
    };
    answers.invalid(reports.export_reports(export).await, "filter");
    let formless = ExportReportsRequest::default();
    answers.invalid(reports.export_reports(formless).await, "format");
}
