//! Reports as documents.

use proto::reporting::v1::report_service_server::ReportService;
use proto::reporting::v1::{ExportReportsRequest, ReportFormat};
use serde_json::Value;
use tokio_stream::StreamExt;
use tonic::{Code, Request, Status};

use super::Fixture;
use super::reading::{NOBODY, reports};
use super::samples::{simple, some};
use crate::export::METRICS;
use crate::rpc::reports::Reports;

async fn export(reports: &Reports, filter: &str, format: ReportFormat) -> Result<String, Status> {
    let request = ExportReportsRequest {
        filter: filter.to_owned(),
        format: format.into(),
    };
    let mut stream = reports
        .export_reports(Request::new(request))
        .await?
        .into_inner();
    let mut document = Vec::new();
    while let Some(message) = stream.next().await {
        let chunk = message?.chunk;
        assert!((1..=64 * 1024).contains(&chunk.len()));
        document.extend(chunk);
    }
    Ok(String::from_utf8(document).unwrap())
}

/// A table by lines and columns: nothing in it has to be quoted.
fn cells(document: &str) -> Vec<Vec<&str>> {
    assert!(!document.contains('"') && document.ends_with("\r\n"));
    let lines = document.split_terminator("\r\n");
    lines.map(|line| line.split(',').collect()).collect()
}

#[tokio::test]
async fn both_forms_tell_all_reports_in_the_order_of_time() {
    let fixture = Fixture::new().await;
    let histories = [some(), vec![simple(8, 30_000)]].concat();
    fixture.know(&histories).await;
    fixture.settle(&histories).await;
    fixture.materializer().step().await.unwrap();
    let service = reports(&fixture, NOBODY);
    let json = export(&service, "", ReportFormat::Json).await.unwrap();
    let json: Vec<Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json.len() as i64,
        fixture
            .count("select count(*) from reporting.workflow_reports")
            .await
    );
    assert!(json.is_sorted_by_key(|own| own["periodStart"].as_str().unwrap().to_owned()));

    let csv = export(&service, "", ReportFormat::Csv).await.unwrap();
    let lines = cells(&csv);
    let (header, rows) = lines.split_first().unwrap();
    assert_eq!(header[..3], ["id", "workflow_id", "execution_id"]);
    assert_eq!(header[7..], METRICS);
    assert_eq!(rows.len(), json.len());
    for (row, report) in rows.iter().zip(&json) {
        assert_eq!(row.len(), header.len());
        let text = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        assert_eq!(row[0], text(&report["id"]));
        assert_eq!(row[2], text(&report["executionId"]));
        assert_eq!(row[3], text(&report["reportType"]));
        assert_eq!(row[5], text(&report["periodEnd"]));
        for (name, cell) in METRICS.iter().zip(&row[7..]) {
            assert_eq!(*cell, text(&report["metrics"][name]), "{name}");
        }
    }
}

#[tokio::test]
async fn every_metric_that_is_one_value_has_a_column() {
    let fixture = Fixture::new().await;
    let histories = [some(), vec![simple(8, 30_000)]].concat();
    fixture.know(&histories).await;
    fixture.settle(&histories).await;
    fixture.materializer().step().await.unwrap();
    let select = "select distinct m.key from reporting.workflow_reports r, jsonb_each(r.metrics) m \
        where jsonb_typeof(m.value) not in ('object', 'array') order by 1";
    let told: Vec<String> = sqlx::query_scalar(select)
        .fetch_all(&fixture.owner)
        .await
        .unwrap();
    let mut columns = METRICS.to_vec();
    columns.sort_unstable();
    assert_eq!(told, columns);
}

#[tokio::test]
async fn a_document_of_many_pages_is_whole() {
    let fixture = Fixture::new().await;
    let histories: Vec<_> = (0..1001).map(|at| simple(1 + at, 30_000)).collect();
    fixture.know(&histories).await;
    for some in histories.chunks(500) {
        fixture.settle(some).await;
    }
    let service = reports(&fixture, NOBODY);
    let filter = "report_type = \"execution\"";
    let json = export(&service, filter, ReportFormat::Json).await.unwrap();
    let mut ids: Vec<String> = serde_json::from_str::<Vec<Value>>(&json)
        .unwrap()
        .iter()
        .map(|report| report["id"].as_str().unwrap().to_owned())
        .collect();
    assert!(json.len() > 2 * 65_535);
    assert_eq!(ids.len(), 1001);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 1001);
}

#[tokio::test]
async fn nothing_is_a_document_too() {
    let fixture = Fixture::new().await;
    let service = reports(&fixture, NOBODY);
    let json = export(&service, "", ReportFormat::Json).await.unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&json).unwrap(),
        Value::Array(Vec::new())
    );
    let csv = export(&service, "", ReportFormat::Csv).await.unwrap();
    assert_eq!(cells(&csv).len(), 1);
    for (filter, format) in [
        ("", ReportFormat::Unspecified),
        ("metrics = 1", ReportFormat::Csv),
    ] {
        let status = export(&service, filter, format).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{filter}");
    }
}
