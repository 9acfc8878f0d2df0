//! ReportService: reads reports and sums, and hands to its neighbours what they answer.
//! Invariant: a report is shown as it is stored, and the watermark is read before it: what is
//! shown may then hold more than is promised, but never less.

use std::collections::HashMap;
use std::pin::pin;

use chassis::auth::caller;
use chassis::filter::{Filter, Kind};
use chassis::input::Input;
use chassis::order::{Order, Run};
use chassis::page::Page;
use chassis::{Error, Result, Shutdown, db};
use chrono::{DateTime, NaiveDate, Utc};
use model::wire::{struct_from_json, timestamp};
use prost::Message;
use prost_types::Timestamp;
use proto::reporting::v1::report_service_server::ReportService;
use proto::reporting::v1::{
    AnalyzeWorkflowRequest, AnalyzeWorkflowResponse, ExecutionFigures, ExportReportsRequest,
    ExportReportsResponse, GetReportRequest, ListReportsRequest, ListReportsResponse,
    QueryReportsRequest, QueryReportsResponse, RebuildReportsRequest, RebuildReportsResponse,
    Report, StepFigures, SummarizeReportsRequest, SummarizeReportsResponse, VerifyReportRequest,
    VerifyReportResponse, WatchReportsRequest, WatchReportsResponse,
};
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tokio_stream::StreamExt;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::export::{self, EXPORTS};
use super::proof::{self, REBUILDS};
use super::query;
use super::streams::{Room, Sent};
use super::watch::{self, WATCHES};
use crate::names::Names;
use crate::projection::figures::{Figures, Grain};
use crate::projection::metrics::Durations;
use crate::projection::number::{Millis, rate};
use crate::projection::period::{ReportType, cohort, midnight};
use crate::projection::summary::{Summary, greatest};
use crate::rpc::insight::Analyst;
use crate::store;
use crate::store::figures::Range;
use crate::verify::Verifier;

/// Clients accept messages of 4 MiB; a page stays well below, however large its reports are.
const PAGE_BYTES: usize = 3 * 1024 * 1024;

/// Entries of each list of a summary.
const MOST_ENTRIES: usize = 1000;

/// At the same time.
const QUERIES: usize = 4;

const REPORT_TYPE: Kind = Kind::Word(&["daily", "weekly", "monthly", "execution"]);
/// What a list, a watch and an export can be restricted to.
pub const FILTER: &[(&str, Kind)] = &[
    ("workflow_id", Kind::Uuid),
    ("execution_id", Kind::Uuid),
    ("report_type", REPORT_TYPE),
    ("period_start", Kind::Instant),
];

#[derive(Debug)]
pub struct Reports {
    pool: PgPool,
    names: Names,
    analyst: Analyst,
    verifier: Verifier,
    shutdown: Shutdown,
    /// Each may read for seconds, over a connection that counting needs, too: more of them wait for their turn.
    queries: Semaphore,
    watches: Room,
    exports: Room,
    rebuilds: Room,
}

impl Reports {
    pub fn new(
        pool: PgPool,
        names: Names,
        analyst: Analyst,
        verifier: Verifier,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            pool,
            names,
            analyst,
            verifier,
            shutdown,
            queries: Semaphore::new(QUERIES),
            watches: Room::new(WATCHES, "TOO_MANY_WATCHES"),
            exports: Room::new(EXPORTS, "TOO_MANY_EXPORTS"),
            rebuilds: Room::new(REBUILDS, "TOO_MANY_REBUILDS"),
        }
    }

    async fn get(&self, request: GetReportRequest) -> Result<Report> {
        let mut input = Input::new();
        let id = input.uuid("id", &request.id);
        input.finish()?;
        let mut conn = db::acquire(&self.pool).await?;
        let complete_through = store::watermark::read(&mut conn).await?;
        let report = store::reports::get(&mut conn, id).await?;
        let report = report.ok_or_else(|| Error::not_found("report", id))?;
        Ok(to_proto(report, complete_through))
    }

    async fn list(&self, request: ListReportsRequest) -> Result<ListReportsResponse> {
        let latest_first = Order::down("period_start");
        let order = Order::parse(&request.order_by, &["period_start"], latest_first)?;
        let query = ["ListReports", &request.filter, &order.to_string()];
        let page = Page::parse(request.page_size, &request.page_token, &query)?;
        let filter = Filter::parse(&request.filter, FILTER)?;
        let run = order.run(page.after_instant()?);
        let query = selected(&filter, run, page.limit + 1);
        let mut conn = db::listing(&self.pool).await?;
        let complete_through = store::watermark::read(&mut conn).await?;
        let mut rows = pin!(store::reports::list(&mut conn, query));
        let mut response = ListReportsResponse::default();
        let (mut bytes, mut next) = (0, String::new());
        while let Some(row) = rows.try_next().await? {
            let token = page.next_instant(row.period_start, row.id);
            let report = to_proto(row, complete_through);
            bytes += report.encoded_len();
            let shown = response.reports.len();
            if shown as i64 == page.limit || (shown > 0 && bytes > PAGE_BYTES) {
                response.next_page_token = next;
                break;
            }
            response.reports.push(report);
            next = token;
        }
        Ok(response)
    }

    async fn summarize(
        &self,
        request: SummarizeReportsRequest,
    ) -> Result<SummarizeReportsResponse> {
        let range = range(&request)?;
        let mut summary = Summary::default();
        let complete_through = {
            let _place = self.queries.acquire().await.map_err(Error::internal)?;
            let mut conn = db::acquire(&self.pool).await?;
            let complete_through = store::watermark::read(&mut conn).await?;
            store::figures::for_each(&mut conn, &range, |sum| {
                summary.add(&sum.key, &sum.figures);
            })
            .await?;
            complete_through
        };
        let by_workflow = greatest(summary.by_workflow, MOST_ENTRIES);
        let by_client = greatest(summary.by_client, MOST_ENTRIES);
        let by_step = greatest(summary.by_step, MOST_ENTRIES);
        let ids = by_workflow.iter().chain(&by_client).map(|(id, _)| *id);
        let names = self
            .names
            .of(ids.chain(by_step.iter().map(|((_, step), _)| *step)))
            .await;
        let named = |list: Vec<(Uuid, Figures)>| {
            list.iter()
                .map(|(id, figures)| executions(id.to_string(), &names, figures))
                .collect()
        };
        Ok(SummarizeReportsResponse {
            total: Some(executions(String::new(), &names, &summary.total)),
            by_workflow: named(by_workflow),
            by_client: named(by_client),
            by_step: by_step
                .iter()
                .map(|((workflow, step), figures)| steps(*workflow, *step, &names, figures))
                .collect(),
            complete_through: complete_through.map(timestamp),
        })
    }
}

#[tonic::async_trait]
impl ReportService for Reports {
    async fn get_report(
        &self,
        request: Request<GetReportRequest>,
    ) -> Result<Response<Report>, Status> {
        Ok(Response::new(self.get(request.into_inner()).await?))
    }

    async fn list_reports(
        &self,
        request: Request<ListReportsRequest>,
    ) -> Result<Response<ListReportsResponse>, Status> {
        Ok(Response::new(self.list(request.into_inner()).await?))
    }

    async fn summarize_reports(
        &self,
        request: Request<SummarizeReportsRequest>,
    ) -> Result<Response<SummarizeReportsResponse>, Status> {
        Ok(Response::new(self.summarize(request.into_inner()).await?))
    }

    async fn verify_report(
        &self,
        request: Request<VerifyReportRequest>,
    ) -> Result<Response<VerifyReportResponse>, Status> {
        let verified = proof::verify(&self.verifier, &request.into_inner()).await?;
        Ok(Response::new(verified))
    }

    type RebuildReportsStream = Sent<RebuildReportsResponse>;

    async fn rebuild_reports(
        &self,
        request: Request<RebuildReportsRequest>,
    ) -> Result<Response<Self::RebuildReportsStream>, Status> {
        let caller = caller(&request)?.key();
        let open = (&self.shutdown, &self.rebuilds);
        let progress = proof::rebuild(&self.pool, open, caller, request.get_ref());
        Ok(Response::new(progress.await?))
    }

    async fn analyze_workflow(
        &self,
        request: Request<AnalyzeWorkflowRequest>,
    ) -> Result<Response<AnalyzeWorkflowResponse>, Status> {
        let answer = self.analyst.analyze(request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn query_reports(
        &self,
        request: Request<QueryReportsRequest>,
    ) -> Result<Response<QueryReportsResponse>, Status> {
        let _place = self.queries.acquire().await.map_err(Error::internal)?;
        let answer = query::answer(&self.pool, &self.names, request.get_ref());
        Ok(Response::new(answer.await?))
    }

    type WatchReportsStream = Sent<WatchReportsResponse>;

    async fn watch_reports(
        &self,
        request: Request<WatchReportsRequest>,
    ) -> Result<Response<Self::WatchReportsStream>, Status> {
        let (pool, room) = (&self.pool, &self.watches);
        let stream = watch::start(pool, &self.shutdown, room, request.get_ref())?;
        Ok(Response::new(stream))
    }

    type ExportReportsStream = Sent<ExportReportsResponse>;

    async fn export_reports(
        &self,
        request: Request<ExportReportsRequest>,
    ) -> Result<Response<Self::ExportReportsStream>, Status> {
        let (pool, room) = (&self.pool, &self.exports);
        let stream = export::start(pool, &self.shutdown, room, request.get_ref())?;
        Ok(Response::new(stream))
    }
}

/// The reports that match a filter.
pub fn selected(filter: &Filter, run: Run<DateTime<Utc>>, limit: i64) -> store::reports::Query<'_> {
    store::reports::Query {
        workflow_id: filter.uuid("workflow_id"),
        execution_id: filter.uuid("execution_id"),
        report_type: filter.text("report_type"),
        at_least: filter.at_least("period_start"),
        before: filter.before("period_start"),
        run,
        limit,
    }
}

fn range(request: &SummarizeReportsRequest) -> Result<Range> {
    let mut input = Input::new();
    let range = Range {
        first: day(&mut input, "period_start", request.period_start.as_ref()),
        end: day(&mut input, "period_end", request.period_end.as_ref()),
        workflow_id: input.optional_uuid("workflow_id", &request.workflow_id),
        client_id: input.optional_uuid("client_id", &request.client_id),
        grains: vec![Grain::Execution, Grain::Step],
    };
    if range
        .first
        .zip(range.end)
        .is_some_and(|(first, end)| end <= first)
    {
        input.push("period_end", "must be later than period_start");
    }
    input.finish()?;
    Ok(range)
}

/// The UTC day that begins then.
pub fn day(input: &mut Input, field: &str, instant: Option<&Timestamp>) -> Option<NaiveDate> {
    let instant = input.instant(field, instant)?;
    if midnight(cohort(instant)) != instant {
        input.push(field, "must be a UTC midnight");
    }
    Some(cohort(instant))
}

pub fn to_proto(report: store::reports::Report, complete_through: Option<DateTime<Utc>>) -> Report {
    let report_type = match ReportType::parse(&report.report_type) {
        Some(ReportType::Daily) => proto::reporting::v1::ReportType::Daily,
        Some(ReportType::Weekly) => proto::reporting::v1::ReportType::Weekly,
        Some(ReportType::Monthly) => proto::reporting::v1::ReportType::Monthly,
        Some(ReportType::Execution) => proto::reporting::v1::ReportType::Execution,
        None => proto::reporting::v1::ReportType::Unspecified,
    };
    Report {
        id: report.id.to_string(),
        workflow_id: report.workflow_id.to_string(),
        execution_id: report
            .execution_id
            .map(|id| id.to_string())
            .unwrap_or_default(),
        report_type: report_type.into(),
        metrics: report.metrics.as_object().map(struct_from_json),
        period_start: Some(timestamp(report.period_start)),
        period_end: report.period_end.map(timestamp),
        created_at: Some(timestamp(report.created_at)),
        complete_through: complete_through.map(timestamp),
    }
}

fn executions(id: String, names: &HashMap<String, String>, figures: &Figures) -> ExecutionFigures {
    let times = Durations::of(&figures.times, figures.completed);
    ExecutionFigures {
        name: names.get(&id).cloned().unwrap_or_default(),
        id,
        total_executions: count(figures.total),
        completed_executions: count(figures.completed),
        failed_executions: count(figures.failed),
        cancelled_executions: count(figures.cancelled),
        running_executions: count(figures.running()),
        success_rate: rate(figures.completed, figures.completed + figures.failed),
        average_execution_time: times.average.map(Millis::as_f64),
        p50_execution_time: times.p50.map(Millis::as_f64),
        p95_execution_time: times.p95.map(Millis::as_f64),
        p99_execution_time: times.p99.map(Millis::as_f64),
    }
}

fn steps(
    workflow: Uuid,
    step: Uuid,
    names: &HashMap<String, String>,
    figures: &Figures,
) -> StepFigures {
    let times = Durations::of(&figures.times, figures.completed);
    let step_id = step.to_string();
    StepFigures {
        name: names.get(&step_id).cloned().unwrap_or_default(),
        step_id,
        workflow_id: workflow.to_string(),
        activations: count(figures.total),
        completed: count(figures.completed),
        failed: count(figures.failed),
        skipped: count(figures.skipped),
        retries: count(figures.retries),
        success_rate: rate(figures.completed, figures.total),
        average_time: times.average.map(Millis::as_f64),
        p50_time: times.p50.map(Millis::as_f64),
        p95_time: times.p95.map(Millis::as_f64),
        p99_time: times.p99.map(Millis::as_f64),
    }
}

pub fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
