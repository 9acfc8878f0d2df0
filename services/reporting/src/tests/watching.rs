//! Reports as they change.

use std::time::Duration;

use proto::reporting::v1::report_service_server::ReportService;
use proto::reporting::v1::watch_reports_response::Change;
use proto::reporting::v1::{Report, WatchReportsRequest};
use tokio_stream::StreamExt;
use tonic::{Code, Request};

use super::Fixture;
use super::reading::{NOBODY, reports};
use super::samples::{history, instant, part, simple, some};
use crate::rpc::reports::Reports;

type Stream = <Reports as ReportService>::WatchReportsStream;

async fn watch(reports: &Reports, filter: &str) -> Stream {
    let filter = filter.to_owned();
    let request = Request::new(WatchReportsRequest { filter });
    reports.watch_reports(request).await.unwrap().into_inner()
}

async fn next(stream: &mut Stream) -> Change {
    let next = tokio::time::timeout(Duration::from_secs(20), stream.next());
    let message = next.await.expect("in time").expect("a message");
    message.unwrap().change.unwrap()
}

async fn report(stream: &mut Stream) -> Report {
    match next(stream).await {
        Change::Report(report) => report,
        Change::CaughtUpAt(at) => panic!("only caught up, at {at}"),
    }
}

/// What is there at the beginning.
async fn begin(stream: &mut Stream) -> Vec<Report> {
    let mut reports = Vec::new();
    loop {
        match next(stream).await {
            Change::Report(report) => reports.push(report),
            Change::CaughtUpAt(_) => return reports,
        }
    }
}

#[tokio::test]
async fn a_watch_sends_what_is_there_and_then_only_what_changes() {
    let fixture = Fixture::new().await;
    let histories = some();
    fixture.know(&histories).await;
    fixture.settle(&histories[..3]).await;
    fixture.materializer().step().await.unwrap();
    let service = reports(&fixture, NOBODY);
    let mut stream = watch(&service, "report_type = \"daily\"").await;
    let there = begin(&mut stream).await;
    let starts: Vec<_> = there
        .iter()
        .map(|own| own.period_start.unwrap().seconds)
        .collect();
    assert_eq!(starts.len(), 3);
    assert!(starts.is_sorted_by(|a, b| a > b));

    // Rewritten with what it held: nothing to tell.
    fixture
        .run(
            "update reporting.workflow_reports set metrics = metrics",
            &[],
        )
        .await;
    let late = history(9, 0, instant("2021-01-01T08:00:00Z"), &[], None);
    fixture.know_more(&late).await;
    fixture.settle(&[late]).await;
    fixture.materializer().step().await.unwrap();
    let changed = report(&mut stream).await;
    assert_eq!(changed.id, there[1].id);
    assert_ne!(changed.metrics, there[1].metrics);

    // A new one, of another workflow.
    fixture.settle(&histories[3..]).await;
    fixture.materializer().step().await.unwrap();
    let new = report(&mut stream).await;
    assert_eq!(new.workflow_id, histories[3].workflow_id.to_string());
    assert!(there.iter().all(|own| own.id != new.id));
}

#[tokio::test]
async fn a_watch_of_one_execution_follows_it_to_its_end() {
    let fixture = Fixture::new().await;
    let histories = [simple(8, 30_000), simple(9, 30_000)];
    fixture.know(&histories).await;
    let events = histories[0].events.len();
    fixture.settle(&[part(&histories[0], 0, 1)]).await;
    let service = reports(&fixture, NOBODY);
    let execution = histories[0].execution_id.to_string();
    let mut stream = watch(&service, &format!("execution_id = \"{execution}\"")).await;
    let there = begin(&mut stream).await;
    assert_eq!((there.len(), there[0].period_end), (1, None));
    fixture.settle(&histories[1..]).await;
    fixture.settle(&[part(&histories[0], 1, events)]).await;
    let last = report(&mut stream).await;
    assert_eq!(last.execution_id, execution);
    assert!(last.period_end.is_some());
}

#[tokio::test]
async fn the_hundred_latest_are_followed() {
    let fixture = Fixture::new().await;
    let histories: Vec<_> = (0..101).map(|at| simple(1 + at, 30_000)).collect();
    fixture.know(&histories).await;
    fixture.settle(&histories).await;
    let service = reports(&fixture, NOBODY);
    let mut stream = watch(&service, "report_type = \"execution\"").await;
    assert_eq!(begin(&mut stream).await.len(), 100);
}

#[tokio::test]
async fn a_watch_wants_a_filter_of_lists() {
    let fixture = Fixture::new().await;
    let service = reports(&fixture, NOBODY);
    let filter = "metrics = 1".to_owned();
    let request = Request::new(WatchReportsRequest { filter });
    let status = service.watch_reports(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}
