//! ExecutionService: starts, shows, lists, follows and cancels executions. Invariant: nothing here decides;
//! what changes an execution is a command.

use chassis::auth;
use chassis::filter::{Filter, Kind};
use chassis::input::Input;
use chassis::order::Order;
use chassis::page::Page;
use chassis::{Error, Result, db};
use model::status::StepStatus;
use proto::execution::v1 as pb;
use proto::execution::v1::execution_service_server::ExecutionService;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use super::answer::{Filled, fill};
use super::{
    Change, broadcast, explain, export, import, incidents, preview, restarts, search,
    signal_or_start, signals, simulation, starts, steps, stuck, submit, view, watch,
};
use crate::committer::{Action, Target};
use crate::state::Service;
use crate::store;

/// Executions that CheckExecutions names at most.
const MOST_CHECKED: i64 = 1000;

const LOG_FILTER: &[(&str, Kind)] = &[
    ("step_id", Kind::Uuid),
    ("status", Kind::Words(StepStatus::WORDS)),
];

pub struct Executions {
    service: Service,
    streams: watch::many::Streams,
    imports: import::Imports,
    exports: export::Exports,
}

impl Executions {
    pub fn new(service: Service) -> Self {
        Self {
            service,
            streams: watch::many::Streams::default(),
            imports: import::Imports::default(),
            exports: export::Exports::default(),
        }
    }

    async fn cancel(&self, request: Request<pb::CancelExecutionRequest>) -> Result<pb::Execution> {
        let mut call = Change::read(request, |body| &mut body.request_id)?;
        let target = Target::Execution(call.input.uuid("id", &call.body.id));
        let reason = call.input.text("reason", &call.body.reason, 0..=1000);
        let compensate = call.body.compensate;
        let action = Action::Cancel { reason, compensate };
        let command = call.command("CancelExecution", target, action)?;
        submit::submit(&self.service, command).await
    }

    async fn list(&self, body: pb::ListExecutionsRequest) -> Result<pb::ListExecutionsResponse> {
        let order = Order::parse(&body.order_by, &["started_at"], Order::down("started_at"))?;
        let query = ["ListExecutions", &body.filter, &order.to_string()];
        let page = Page::parse(body.page_size, &body.page_token, &query)?;
        let run = order.run(page.after_instant()?);
        let mut filter = search::parse(&body.filter)?;
        let limit = page.limit;
        let mut listing = db::listing(&self.service.pool).await?;
        filter.narrow(&mut listing, search::MOST_RARE).await?;
        let rows = store::executions::list(&mut listing, &filter, run, limit + 1);
        let Filled { items, last } = fill(rows, limit, |row| {
            let key = (row.started_at, row.id);
            (key, view::execution(row, Vec::new()))
        })
        .await?;
        listing.commit().await?;
        Ok(pb::ListExecutionsResponse {
            executions: items,
            next_page_token: last
                .map(|(started_at, id)| page.next_instant(started_at, id))
                .unwrap_or_default(),
        })
    }

    async fn list_logs(
        &self,
        body: pb::ListExecutionLogsRequest,
    ) -> Result<pb::ListExecutionLogsResponse> {
        let mut input = Input::new();
        let id = input.uuid("execution_id", &body.execution_id);
        input.finish()?;
        let order = Order::parse(&body.order_by, &["seq"], Order::up("seq"))?;
        let (id_asked, order_asked) = (id.to_string(), order.to_string());
        let query = ["ListExecutionLogs", &id_asked, &body.filter, &order_asked];
        let page = Page::parse(body.page_size, &body.page_token, &query)?;
        let filter = Filter::parse(&body.filter, LOG_FILTER)?;
        let filter = store::logs::Filter {
            step_id: filter.uuid("step_id"),
            statuses: filter.words("status"),
        };
        let after = page.after_number()?;
        let mut conn = db::acquire(&self.service.pool).await?;
        let runs = store::executions::runs(&mut conn, id).await?;
        let runs = runs.ok_or_else(|| Error::not_found("execution", id))?;
        let definitions = &self.service.definitions;
        let graph = definitions
            .pinned(&mut conn, runs.workflow_id, runs.workflow_version)
            .await?;
        let place = store::logs::Place { order, after };
        let rows = store::logs::list(&mut conn, id, &filter, place, page.limit + 1);
        let Filled { items, last } =
            fill(rows, page.limit, |row| (row.seq, view::log(row, &graph))).await?;
        Ok(pb::ListExecutionLogsResponse {
            logs: items,
            next_page_token: last.map(|seq| page.next_token(&[&seq])).unwrap_or_default(),
        })
    }

    async fn check(&self) -> Result<pb::CheckExecutionsResponse> {
        let mut conn = db::acquire(&self.service.pool).await?;
        let stuck = store::executions::without_reason(&mut conn, MOST_CHECKED).await?;
        let over = store::executions::waiting_though_over(&mut conn, MOST_CHECKED).await?;
        let open_executions = store::executions::count_open(&mut conn).await?;
        Ok(pb::CheckExecutionsResponse {
            execution_ids: stuck.iter().map(Uuid::to_string).collect(),
            open_executions,
            waiting_though_over_ids: over.iter().map(Uuid::to_string).collect(),
        })
    }
}

#[tonic::async_trait]
impl ExecutionService for Executions {
    async fn start_execution(
        &self,
        request: Request<pb::StartExecutionRequest>,
    ) -> Result<Response<pb::Execution>, Status> {
        let command = starts::one(&self.service, request).await?;
        Ok(Response::new(submit::submit(&self.service, command).await?))
    }

    async fn batch_start_executions(
        &self,
        request: Request<pb::BatchStartExecutionsRequest>,
    ) -> Result<Response<pb::BatchStartExecutionsResponse>, Status> {
        let started = starts::many(&self.service, request).await?;
        Ok(Response::new(started))
    }

    async fn restart_execution(
        &self,
        request: Request<pb::RestartExecutionRequest>,
    ) -> Result<Response<pb::Execution>, Status> {
        let command = restarts::restart(&self.service, request).await?;
        Ok(Response::new(submit::submit(&self.service, command).await?))
    }

    async fn get_execution(
        &self,
        request: Request<pb::GetExecutionRequest>,
    ) -> Result<Response<pb::Execution>, Status> {
        let mut input = Input::new();
        let id = input.uuid("id", &request.get_ref().id);
        input.finish()?;
        Ok(Response::new(submit::read(&self.service, id).await?))
    }

    async fn list_executions(
        &self,
        request: Request<pb::ListExecutionsRequest>,
    ) -> Result<Response<pb::ListExecutionsResponse>, Status> {
        Ok(Response::new(self.list(request.into_inner()).await?))
    }

    async fn list_execution_logs(
        &self,
        request: Request<pb::ListExecutionLogsRequest>,
    ) -> Result<Response<pb::ListExecutionLogsResponse>, Status> {
        Ok(Response::new(self.list_logs(request.into_inner()).await?))
    }

    type WatchExecutionStream = ReceiverStream<Result<pb::WatchExecutionResponse, Status>>;

    async fn watch_execution(
        &self,
        request: Request<pb::WatchExecutionRequest>,
    ) -> Result<Response<Self::WatchExecutionStream>, Status> {
        let mut input = Input::new();
        let id = input.uuid("id", &request.get_ref().id);
        input.finish()?;
        Ok(Response::new(watch::one::start(&self.service, id).await?))
    }

    async fn cancel_execution(
        &self,
        request: Request<pb::CancelExecutionRequest>,
    ) -> Result<Response<pb::Execution>, Status> {
        Ok(Response::new(self.cancel(request).await?))
    }

    async fn resolve_incident(
        &self,
        request: Request<pb::ResolveIncidentRequest>,
    ) -> Result<Response<pb::Execution>, Status> {
        let command = incidents::resolve(request)?;
        Ok(Response::new(submit::submit(&self.service, command).await?))
    }

    async fn cancel_step(
        &self,
        request: Request<pb::CancelStepRequest>,
    ) -> Result<Response<pb::Execution>, Status> {
        let command = steps::cancel(request)?;
        Ok(Response::new(submit::submit(&self.service, command).await?))
    }

    async fn signal_execution(
        &self,
        request: Request<pb::SignalExecutionRequest>,
    ) -> Result<Response<pb::Execution>, Status> {
        let command = signals::to_one(&self.service, request).await?;
        Ok(Response::new(submit::submit(&self.service, command).await?))
    }

    async fn signal_or_start_execution(
        &self,
        request: Request<pb::SignalOrStartExecutionRequest>,
    ) -> Result<Response<pb::Execution>, Status> {
        let told = signal_or_start::signal_or_start(&self.service, request).await?;
        Ok(Response::new(told))
    }

    async fn broadcast_signal(
        &self,
        request: Request<pb::BroadcastSignalRequest>,
    ) -> Result<Response<pb::BroadcastSignalResponse>, Status> {
        let told = broadcast::to_all(&self.service, request).await?;
        Ok(Response::new(told))
    }

    type WatchExecutionsStream = ReceiverStream<Result<pb::WatchExecutionsResponse, Status>>;

    async fn watch_executions(
        &self,
        request: Request<pb::WatchExecutionsRequest>,
    ) -> Result<Response<Self::WatchExecutionsStream>, Status> {
        let stream = watch::many::start(&self.service, &self.streams, request.get_ref()).await?;
        Ok(Response::new(stream))
    }

    async fn list_stuck(
        &self,
        request: Request<pb::ListStuckRequest>,
    ) -> Result<Response<pb::ListStuckResponse>, Status> {
        let told = stuck::list(&self.service, request.into_inner()).await?;
        Ok(Response::new(told))
    }

    async fn explain_execution(
        &self,
        request: Request<pb::ExplainExecutionRequest>,
    ) -> Result<Response<pb::ExplainExecutionResponse>, Status> {
        let told = explain::of_request(&self.service, request.into_inner()).await?;
        Ok(Response::new(told))
    }

    async fn check_executions(
        &self,
        _: Request<pb::CheckExecutionsRequest>,
    ) -> Result<Response<pb::CheckExecutionsResponse>, Status> {
        Ok(Response::new(self.check().await?))
    }

    async fn simulate_workflow(
        &self,
        request: Request<pb::SimulateWorkflowRequest>,
    ) -> Result<Response<pb::SimulateWorkflowResponse>, Status> {
        let simulated = simulation::of_request(&self.service, request.into_inner()).await?;
        Ok(Response::new(simulated))
    }

    async fn preview_publish(
        &self,
        request: Request<pb::PreviewPublishRequest>,
    ) -> Result<Response<pb::PreviewPublishResponse>, Status> {
        let told = preview::of_request(&self.service, request.into_inner()).await?;
        Ok(Response::new(told))
    }
    type ImportExecutionsStream = ReceiverStream<Result<pb::ImportExecutionsResponse, Status>>;

    async fn import_executions(
        &self,
        request: Request<Streaming<pb::ImportExecutionsRequest>>,
    ) -> Result<Response<Self::ImportExecutionsStream>, Status> {
        let caller = auth::caller(&request)?.clone();
        let incoming = request.into_inner();
        let stream = self.imports.start(&self.service, &caller, incoming)?;
        Ok(Response::new(stream))
    }

    type ExportExecutionsStream = ReceiverStream<Result<pb::ExportExecutionsResponse, Status>>;

    async fn export_executions(
        &self,
        request: Request<pb::ExportExecutionsRequest>,
    ) -> Result<Response<Self::ExportExecutionsStream>, Status> {
        let stream = self.exports.start(&self.service, request.get_ref())?;
        Ok(Response::new(stream))
    }
}
