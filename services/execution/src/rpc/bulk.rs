//! BulkOperationService: one thing for many executions. Invariant: what is accepted can be done as it is said,
//! so an operation does not fail for what could have been refused.

use chassis::auth::Caller;
use chassis::filter::{Filter, Kind};
use chassis::idempotency::RequestKey;
use chassis::input::Input;
use chassis::order::Order;
use chassis::page::Page;
use chassis::{Error, Result, db};
use model::json::INPUT;
use model::wire;
use proto::execution::v1 as pb;
use proto::execution::v1::bulk_operation::Action;
use proto::execution::v1::bulk_operation_service_server::BulkOperationService;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::answer::{Filled, fill};
use super::{Change, actor, search};
use crate::bulk::{Deed, MOST_OPEN};
use crate::engine::Actor;
use crate::state::Service;
use crate::store::bulk::{self, NewOperation, Operation};
use crate::store::requests;

const STATES: &[&str] = &["PENDING", "RUNNING", "COMPLETED", "CANCELLED", "FAILED"];
const FILTER: &[(&str, Kind)] = &[("state", Kind::Words(STATES))];
const RATE: std::ops::RangeInclusive<i32> = 1..=10_000;
const DEFAULT_RATE: i32 = 100;

pub struct BulkOperations {
    service: Service,
}

/// What was asked for, checked.
#[derive(Clone)]
struct Asked {
    deed: Deed,
    filter: String,
    max_per_second: i32,
    dry_run: bool,
    actor: Actor,
    created_by: String,
}

impl BulkOperations {
    pub fn new(service: Service) -> Self {
        Self { service }
    }

    async fn create(
        &self,
        request: Request<pb::CreateBulkOperationRequest>,
    ) -> Result<pb::BulkOperation> {
        let mut call = Change::read(request, |body| &mut body.request_id)?;
        let asked = check(&mut call.input, &call.body, &call.caller);
        call.check()?;
        let key = RequestKey::from(
            &call.caller,
            "CreateBulkOperation",
            &call.request_id,
            &call.body,
        )?;
        let id = Uuid::now_v7();
        let kept = db::transaction(&self.service.pool, async move |conn| {
            if let Some(earlier) = requests::earlier(conn, key.as_ref()).await? {
                return Ok(earlier);
            }
            requests::keep(conn, key.as_ref(), id).await?;
            if bulk::count_open(conn).await? >= MOST_OPEN {
                let message = format!("{MOST_OPEN} bulk operations are under way");
                return Err(Error::precondition("TOO_MANY_BULK_OPERATIONS", message));
            }
            let new = NewOperation {
                id,
                deed: &asked.deed,
                filter: &asked.filter,
                max_per_second: asked.max_per_second,
                dry_run: asked.dry_run,
                actor: &asked.actor,
                created_by: &asked.created_by,
            };
            bulk::insert(conn, &new).await?;
            Ok(id)
        })
        .await?;
        self.read(kept).await
    }

    async fn read(&self, id: Uuid) -> Result<pb::BulkOperation> {
        let mut conn = db::acquire(&self.service.pool).await?;
        let found = bulk::get(&mut conn, id).await?;
        let row = found.ok_or_else(|| Error::not_found("bulk operation", id))?;
        Ok(shown(row))
    }

    async fn cancel(&self, id: Uuid) -> Result<pb::BulkOperation> {
        let mut conn = db::acquire(&self.service.pool).await?;
        bulk::cancel(&mut conn, id).await?;
        drop(conn);
        let operation = self.read(id).await?;
        if operation.state() != pb::BulkOperationState::Cancelled {
            return Err(Error::precondition(
                "BULK_OPERATION_FINISHED",
                "the bulk operation is over",
            ));
        }
        Ok(operation)
    }

    async fn list(
        &self,
        body: pb::ListBulkOperationsRequest,
    ) -> Result<pb::ListBulkOperationsResponse> {
        let order = Order::parse(&body.order_by, &["created_at"], Order::down("created_at"))?;
        let query = ["ListBulkOperations", &body.filter, &order.to_string()];
        let page = Page::parse(body.page_size, &body.page_token, &query)?;
        let run = order.run(page.after_instant()?);
        let states = Filter::parse(&body.filter, FILTER)?.words("state");
        let mut conn = db::acquire(&self.service.pool).await?;
        let rows = bulk::list(&mut conn, states.as_deref(), run, page.limit + 1).await?;
        drop(conn);
        let rows = tokio_stream::iter(rows.into_iter().map(Ok));
        let Filled { items, last } = fill(rows, page.limit, |row| {
            ((row.created_at, row.id), shown(row))
        })
        .await?;
        Ok(pb::ListBulkOperationsResponse {
            bulk_operations: items,
            next_page_token: last
                .map(|(created_at, id)| page.next_instant(created_at, id))
                .unwrap_or_default(),
        })
    }
}

fn check(input: &mut Input, body: &pb::CreateBulkOperationRequest, caller: &Caller) -> Asked {
    let wanted = body.bulk_operation.clone().unwrap_or_default();
    if body.bulk_operation.is_none() {
        input.push("bulk_operation", "is required");
    }
    let deed = check_deed(input, wanted.action.as_ref());
    let parsed = search::parse(&wanted.filter);
    let parsed = parsed.map_err(|error| error.message().replacen("filter: ", "", 1));
    if let Some(filter) = input.keep("bulk_operation.filter", parsed)
        && deed.resolves_incidents()
        && filter.waiting.kind.is_some_and(|kind| kind != "incident")
    {
        let description = "wait_kind can only be INCIDENT if incidents are to be resolved";
        input.push("bulk_operation.filter", description);
    }
    let max_per_second = match wanted.max_per_second {
        0 => DEFAULT_RATE,
        rate => rate,
    };
    if !RATE.contains(&max_per_second) {
        input.push(
            "bulk_operation.max_per_second",
            "is not between 1 and 10000",
        );
    }
    let actor = actor(caller);
    let created_by = match actor.email.is_empty() {
        true => actor.id.clone(),
        false => actor.email.clone(),
    };
    Asked {
        deed,
        filter: wanted.filter,
        max_per_second,
        dry_run: wanted.dry_run,
        actor,
        created_by,
    }
}

fn check_deed(input: &mut Input, action: Option<&Action>) -> Deed {
    match action {
        Some(Action::Cancel(cancel)) => Deed::Cancel {
            reason: input.text("bulk_operation.cancel.reason", &cancel.reason, 0..=1000),
            compensate: cancel.compensate,
        },
        Some(Action::ResolveIncidents(resolve)) => match resolve.resolution() {
            pb::IncidentResolution::Retry => Deed::Retry,
            pb::IncidentResolution::GiveUp => Deed::GiveUp,
            pb::IncidentResolution::Complete | pb::IncidentResolution::Unspecified => {
                let field = "bulk_operation.resolve_incidents.resolution";
                input.push(field, "is required: RETRY or GIVE_UP");
                Deed::Retry
            }
        },
        Some(Action::Signal(signal)) => {
            let data = signal.data.as_ref();
            let data = input.json("bulk_operation.signal.data", data, INPUT);
            Deed::Signal {
                name: input.text("bulk_operation.signal.name", &signal.name, 1..=200),
                data: data.unwrap_or_default(),
            }
        }
        None => {
            let description = "or resolve_incidents, or signal is required";
            input.push("bulk_operation.cancel", description);
            Deed::Retry
        }
    }
}

fn shown(row: Operation) -> pb::BulkOperation {
    let state =
        pb::BulkOperationState::from_str_name(&format!("BULK_OPERATION_STATE_{}", row.state));
    let resolve = |resolution: pb::IncidentResolution| {
        let resolution = resolution.into();
        Action::ResolveIncidents(pb::BulkResolveIncidents { resolution })
    };
    let action = match row.action.0 {
        Deed::Cancel { reason, compensate } => {
            Action::Cancel(pb::BulkCancel { reason, compensate })
        }
        Deed::Retry => resolve(pb::IncidentResolution::Retry),
        Deed::GiveUp => resolve(pb::IncidentResolution::GiveUp),
        Deed::Signal { name, data } => Action::Signal(pb::BulkSignal {
            name,
            data: Some(wire::struct_from_json(&data)),
        }),
    };
    let errors = row
        .errors
        .0
        .into_iter()
        .map(|fault| pb::BulkOperationError {
            execution_id: fault.execution_id.to_string(),
            reason: fault.reason,
            message: fault.message,
        });
    pb::BulkOperation {
        id: row.id.to_string(),
        action: Some(action),
        filter: row.filter,
        max_per_second: row.max_per_second,
        dry_run: row.dry_run,
        state: state.unwrap_or_default().into(),
        processed: row.processed,
        succeeded: row.succeeded,
        skipped: row.skipped,
        failed: row.failed,
        errors: errors.collect(),
        error: row.error.unwrap_or_default(),
        created_by: row.created_by,
        created_at: Some(wire::timestamp(row.created_at)),
        started_at: row.started_at.map(wire::timestamp),
        completed_at: row.completed_at.map(wire::timestamp),
    }
}

fn id(text: &str) -> Result<Uuid> {
    let mut input = Input::new();
    let id = input.uuid("id", text);
    input.finish()?;
    Ok(id)
}

#[tonic::async_trait]
impl BulkOperationService for BulkOperations {
    async fn create_bulk_operation(
        &self,
        request: Request<pb::CreateBulkOperationRequest>,
    ) -> Result<Response<pb::BulkOperation>, Status> {
        Ok(Response::new(self.create(request).await?))
    }

    async fn get_bulk_operation(
        &self,
        request: Request<pb::GetBulkOperationRequest>,
    ) -> Result<Response<pb::BulkOperation>, Status> {
        let id = id(&request.get_ref().id)?;
        Ok(Response::new(self.read(id).await?))
    }

    async fn list_bulk_operations(
        &self,
        request: Request<pb::ListBulkOperationsRequest>,
    ) -> Result<Response<pb::ListBulkOperationsResponse>, Status> {
        Ok(Response::new(self.list(request.into_inner()).await?))
    }

    async fn cancel_bulk_operation(
        &self,
        request: Request<pb::CancelBulkOperationRequest>,
    ) -> Result<Response<pb::BulkOperation>, Status> {
        let id = id(&request.get_ref().id)?;
        Ok(Response::new(self.cancel(id).await?))
    }
}
