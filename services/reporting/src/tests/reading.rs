//! What the reports say, and how they are asked.

use std::collections::BTreeSet;

use chassis::Shutdown;
use chassis::auth::ServiceKey;
use chassis::client::Peer;
use model::wire::{json_from_struct, timestamp};
use prost::Message;
use prost_types::Timestamp;
use proto::catalog::v1 as catalog;
use proto::catalog::v1::definition_service_server::{DefinitionService, DefinitionServiceServer};
use proto::reporting::v1::report_service_server::ReportService;
use proto::reporting::v1::{
    GetReportRequest, ListReportsRequest, ListReportsResponse, ReportType, SummarizeReportsRequest,
    SummarizeReportsResponse,
};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use super::Fixture;
use super::archive::nobody;
use super::samples::{instant, simple, some};
use crate::definitions::Definitions;
use crate::history::History;
use crate::names::Names;
use crate::projection::period::execution_report_id;
use crate::rpc::insight::Analyst;
use crate::rpc::reports::Reports;
use crate::verify::Verifier;

pub fn reports(fixture: &Fixture, catalog: &str) -> Reports {
    let peer = Peer::connect_lazy(catalog, ServiceKey::from_seed(&[7; 32]), "reporting").unwrap();
    let analyst = Analyst::new(
        fixture.pool.clone(),
        History::new(peer.clone()),
        Definitions::new(peer.clone()),
        Names::new(peer.clone()),
    );
    Reports::new(
        fixture.pool.clone(),
        Names::new(peer),
        analyst,
        Verifier::new(fixture.pool.clone(), nobody()),
        Shutdown::new(),
    )
}

/// A peer that is not there.
pub const NOBODY: &str = "127.0.0.1:9";

/// Knows every name.
struct Registry;

#[tonic::async_trait]
impl DefinitionService for Registry {
    async fn resolve_starts(
        &self,
        _: Request<catalog::ResolveStartsRequest>,
    ) -> Result<Response<catalog::ResolveStartsResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn get_snapshot(
        &self,
        _: Request<catalog::GetSnapshotRequest>,
    ) -> Result<Response<catalog::GetSnapshotResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn resolve_names(
        &self,
        request: Request<catalog::ResolveNamesRequest>,
    ) -> Result<Response<catalog::ResolveNamesResponse>, Status> {
        let ids = request.into_inner().ids;
        let names = ids
            .into_iter()
            .map(|id| (id.clone(), format!("name of {id}")))
            .collect();
        Ok(Response::new(catalog::ResolveNamesResponse { names }))
    }
}

pub async fn registry() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server =
        tonic::transport::Server::builder().add_service(DefinitionServiceServer::new(Registry));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

async fn list(
    reports: &Reports,
    filter: &str,
    page_size: i32,
    page_token: &str,
) -> Result<ListReportsResponse, Status> {
    list_by(reports, (filter, ""), page_size, page_token).await
}

async fn list_by(
    reports: &Reports,
    (filter, order_by): (&str, &str),
    page_size: i32,
    page_token: &str,
) -> Result<ListReportsResponse, Status> {
    let (filter, page_token) = (filter.to_owned(), page_token.to_owned());
    let request = ListReportsRequest {
        page_size,
        page_token,
        filter,
        order_by: order_by.to_owned(),
    };
    reports
        .list_reports(Request::new(request))
        .await
        .map(Response::into_inner)
}

fn ids(page: &ListReportsResponse) -> Vec<String> {
    page.reports.iter().map(|own| own.id.clone()).collect()
}

#[tokio::test]
async fn lists_page_from_the_latest_period_on() {
    let fixture = Fixture::new().await;
    let histories = some();
    fixture.know(&histories).await;
    fixture.settle(&histories).await;
    fixture.materializer().step().await.unwrap();
    let reports = reports(&fixture, NOBODY);
    let all = list(&reports, "", 0, "").await.unwrap();
    // 4 executions, 4 + 2 + 3 periods of both workflows.
    assert_eq!((all.reports.len(), all.next_page_token.as_str()), (13, ""));
    let starts = all.reports.iter().map(|own| own.period_start.unwrap());
    assert!(
        starts
            .map(|at| (at.seconds, at.nanos))
            .is_sorted_by(|a, b| a >= b)
    );
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let page = list(&reports, "", 2, &token).await.unwrap();
        paged.extend(ids(&page));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, ids(&all));
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let earliest_first = ("", "period_start asc");
        let page = list_by(&reports, earliest_first, 3, &token).await.unwrap();
        paged.extend(ids(&page));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
        assert!(
            list(&reports, "", 3, &token).await.is_err(),
            "another order"
        );
    }
    paged.reverse();
    assert_eq!(paged, ids(&all));
    assert!(list_by(&reports, ("", "metrics"), 0, "").await.is_err());
}

#[tokio::test]
async fn lists_filter() {
    let fixture = Fixture::new().await;
    let histories = some();
    fixture.know(&histories).await;
    fixture.settle(&histories).await;
    fixture.materializer().step().await.unwrap();
    let reports = reports(&fixture, NOBODY);
    let execution = histories[0].execution_id;
    let page = list(&reports, &format!("execution_id = \"{execution}\""), 0, "")
        .await
        .unwrap();
    assert_eq!(ids(&page), [execution_report_id(execution).to_string()]);
    let report = &page.reports[0];
    assert_eq!(report.report_type(), ReportType::Execution);
    assert_eq!(
        report.period_end,
        Some(timestamp(instant("2021-01-01T00:00:00.009999Z")))
    );
    let metrics = json_from_struct(report.metrics.as_ref().unwrap()).unwrap();
    assert_eq!(
        serde_json::Value::Object(metrics),
        json!({
            "status": "COMPLETED", "workflowVersion": 1, "clientId": histories[0].client_id,
            "executionTime": 10, "targetMet": true, "steps": {}, "transitions": {},
        })
    );
    let one = GetReportRequest {
        id: report.id.clone(),
    };
    let one = reports.get_report(Request::new(one)).await.unwrap();
    assert_eq!(one.into_inner(), *report);

    let months = "report_type = \"monthly\" AND period_start >= \"2021-01-01T00:00:00Z\"";
    assert_eq!(
        list(&reports, months, 0, "").await.unwrap().reports.len(),
        2
    );
    let none = "period_start < \"2020-12-01T00:00:00Z\"";
    assert!(
        list(&reports, none, 0, "")
            .await
            .unwrap()
            .reports
            .is_empty()
    );
    for wrong in [
        "report_type = \"yearly\"",
        "metrics = 1",
        "workflow_id = \"x\"",
    ] {
        let status = list(&reports, wrong, 0, "").await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{wrong}");
    }
    let unknown = GetReportRequest {
        id: Uuid::nil().to_string(),
    };
    let status = reports.get_report(Request::new(unknown)).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

async fn summarize(
    reports: &Reports,
    days: [Option<&str>; 2],
    ids: [String; 2],
) -> Result<SummarizeReportsResponse, Status> {
    let at = |text: &str| -> Timestamp { timestamp(instant(text)) };
    let [workflow_id, client_id] = ids;
    let request = SummarizeReportsRequest {
        period_start: days[0].map(at),
        period_end: days[1].map(at),
        workflow_id,
        client_id,
    };
    reports
        .summarize_reports(Request::new(request))
        .await
        .map(Response::into_inner)
}

#[tokio::test]
async fn summaries_add_up_by_workflow_client_and_step() {
    let fixture = Fixture::new().await;
    let histories = [some(), vec![simple(8, 30_000)]].concat();
    fixture.know(&histories).await;
    fixture.settle(&histories).await;
    let reports = reports(&fixture, &registry().await);
    let any = || [String::new(), String::new()];
    let all = summarize(&reports, [None, None], any()).await.unwrap();
    let total = all.total.unwrap();
    assert_eq!(
        (
            total.total_executions,
            total.completed_executions,
            total.failed_executions
        ),
        (5, 3, 1)
    );
    assert_eq!(
        (total.running_executions, total.success_rate),
        (1, Some(0.75))
    );
    assert_eq!(
        (total.average_execution_time, total.name.as_str()),
        (Some(20.0), "")
    );
    let totals = |list: &[proto::reporting::v1::ExecutionFigures]| {
        Vec::from_iter(
            list.iter()
                .map(|own| (own.id.clone(), own.total_executions)),
        )
    };
    let (busy, idle) = (histories[0].workflow_id, histories[3].workflow_id);
    assert_eq!(
        totals(&all.by_workflow),
        [(busy.to_string(), 4), (idle.to_string(), 1)]
    );
    let (client, other) = (histories[0].client_id, histories[3].client_id);
    assert_eq!(
        totals(&all.by_client),
        [(client.to_string(), 4), (other.to_string(), 1)]
    );
    assert_eq!(all.by_client[0].name, format!("name of {client}"));
    let step = &all.by_step[0];
    assert_eq!(
        (step.activations, step.completed, step.p50_time),
        (1, 1, Some(30.0))
    );
    assert_eq!(
        (step.workflow_id.clone(), step.success_rate),
        (busy.to_string(), Some(1.0))
    );

    let january = [Some("2021-01-01T00:00:00Z"), Some("2021-02-01T00:00:00Z")];
    let of = async |workflow: &str, client: &str| {
        let ids = [workflow.to_owned(), client.to_owned()];
        summarize(&reports, january, ids)
            .await
            .unwrap()
            .total
            .unwrap()
            .total_executions
    };
    assert_eq!(of("", "").await, 4);
    assert_eq!(of(&busy.to_string(), "").await, 3);
    assert_eq!(of("", &other.to_string()).await, 1);
    assert_eq!(of(&busy.to_string(), &other.to_string()).await, 0);
}

#[tokio::test]
async fn summaries_without_a_catalog_have_no_names() {
    let fixture = Fixture::new().await;
    let histories = [simple(1, 5)];
    fixture.know(&histories).await;
    fixture.settle(&histories).await;
    let reports = reports(&fixture, NOBODY);
    let all = summarize(&reports, [None, None], Default::default())
        .await
        .unwrap();
    assert_eq!(
        (all.by_workflow.len(), all.by_workflow[0].name.as_str()),
        (1, "")
    );
}

#[tokio::test]
async fn ranges_are_whole_days() {
    let fixture = Fixture::new().await;
    let reports = reports(&fixture, NOBODY);
    let (day, next) = ("2021-01-03T00:00:00Z", "2021-01-04T00:00:00Z");
    for days in [
        [Some("2021-01-03T00:00:01Z"), None],
        [None, Some("2021-01-03T23:59:59.999999Z")],
        [Some(day), Some(day)],
        [Some(next), Some(day)],
    ] {
        let status = summarize(&reports, days, Default::default())
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{days:?}");
    }
    let none = summarize(&reports, [Some(day), Some(next)], Default::default())
        .await
        .unwrap();
    assert_eq!(none.total.unwrap().success_rate, None);
}

#[tokio::test]
async fn large_reports_make_short_pages_and_none_is_lost() {
    let fixture = Fixture::new().await;
    fixture.know(&some()).await;
    sqlx::query(
        "insert into reporting.workflow_reports (id, workflow_id, report_type, metrics, period_start)
         select gen_random_uuid(), (select min(id::text)::uuid from catalog.workflows), 'daily',
                jsonb_build_object('steps', repeat('x', 300000)), now() - n * interval '1 day'
           from generate_series(1, 30) n",
    )
    .execute(&fixture.owner)
    .await
    .unwrap();
    let reports = reports(&fixture, NOBODY);
    let (mut shown, mut token) = (BTreeSet::new(), String::new());
    loop {
        let page = list(&reports, "report_type = \"daily\"", 0, &token)
            .await
            .unwrap();
        assert!(page.encoded_len() < 4 * 1024 * 1024);
        shown.extend(ids(&page));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(shown.len(), 30);
}
