//! ScheduleService. Invariant: the expression of a schedule that is stored names instants, in a time zone that is
//! known; its end lay ahead when a caller set it.

use chassis::filter::{Filter, Kind};
use chassis::idempotency::RequestKey;
use chassis::input::Input;
use chassis::mask::Mask;
use chassis::order::Order;
use chassis::page::Page;
use chassis::{Error, Result, auth, db};
use chrono::{DateTime, Utc};
use proto::execution::v1 as pb;
use proto::execution::v1::schedule_service_server::ScheduleService;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::answer::{Filled, fill};
use super::submit::submit;
use super::{Change, actor};
use crate::committer::{Action, Target};
use crate::schedules::plan::Plan;
use crate::schedules::{self};
use crate::state::Service;
use crate::store::requests;
use crate::store::schedules::{self as store, Fields, New, Schedule};

mod fields;

use fields::{CHANGEABLE, filled, message, patch, plan};

/// Schedules that one workflow may have.
const MOST: i64 = 1000;
/// Instants that a schedule shows.
const SHOWN: usize = 5;

const FILTER: &[(&str, Kind)] = &[("workflow_id", Kind::Uuid), ("is_paused", Kind::Bool)];

pub struct Schedules {
    service: Service,
}

impl Schedules {
    pub fn new(service: Service) -> Self {
        Self { service }
    }

    async fn create(&self, request: Request<pb::CreateScheduleRequest>) -> Result<pb::Schedule> {
        let caller = auth::caller(&request)?.clone();
        let mut request = request.into_inner();
        let request_id = std::mem::take(&mut request.request_id);
        let key = RequestKey::from(&caller, "CreateSchedule", &request_id, &request)?;
        let wanted = present(request.schedule)?;
        let mut input = Input::new();
        let workflow_id = input.uuid("schedule.workflow_id", &wanted.workflow_id);
        let mut fields = Fields::default();
        let all = Mask::parse(None, CHANGEABLE, CHANGEABLE)?;
        patch(&mut fields, &wanted, &all, &mut input);
        let plan = plan(&fields, &mut input);
        input.finish()?;

        let targets = self.service.definitions.resolve_starts(vec![workflow_id]);
        let is_known = targets.await?.contains_key(&workflow_id);
        let id = Uuid::now_v7();
        let created_by = actor(&caller).id;
        let schedule = db::transaction(&self.service.pool, async move |conn| {
            if let Some(earlier) = requests::earlier(conn, key.as_ref()).await? {
                return found(store::get(conn, earlier).await?, earlier);
            }
            if !is_known {
                return Err(Error::not_found("workflow", workflow_id));
            }
            if store::count(conn, workflow_id).await? >= MOST {
                let message = format!("the workflow has {MOST} schedules");
                return Err(Error::precondition("TOO_MANY_SCHEDULES", message));
            }
            let now = db::now(conn).await?;
            check_end(&fields, None, now)?;
            let new = New {
                id,
                workflow_id,
                created_by: created_by.clone(),
                now,
            };
            let next_at = next(&fields, plan.as_ref(), now);
            store::insert(conn, &new, &fields, next_at).await?;
            requests::keep(conn, key.as_ref(), id).await?;
            found(store::get(conn, id).await?, id)
        })
        .await?;
        Ok(shown(schedule))
    }

    async fn update(&self, request: Request<pb::UpdateScheduleRequest>) -> Result<pb::Schedule> {
        let request = request.into_inner();
        let wanted = present(request.schedule)?;
        let mask = Mask::parse(request.update_mask.as_ref(), CHANGEABLE, &filled(&wanted))?;
        let mut input = Input::new();
        let id = input.uuid("schedule.id", &wanted.id);
        let workflow = input.optional_uuid("schedule.workflow_id", &wanted.workflow_id);
        patch(&mut Fields::default(), &wanted, &mask, &mut input);
        input.finish()?;
        let schedule = db::transaction(&self.service.pool, async move |conn| {
            store::lock(conn, id).await?;
            let before = found(store::get(conn, id).await?, id)?;
            check_etag(&wanted.etag, before.revision)?;
            if workflow.is_some_and(|workflow| workflow != before.workflow_id) {
                let description = format!("is fixed: it stays {}", before.workflow_id);
                return Err(Error::invalid("schedule.workflow_id", description));
            }
            let old = before.fields();
            let mut fields = old.clone();
            patch(&mut fields, &wanted, &mask, &mut Input::new());
            let mut input = Input::new();
            let plan = plan(&fields, &mut input);
            input.finish()?;
            if fields != old {
                let now = db::now(conn).await?;
                check_end(&fields, old.end_at, now)?;
                // What is due at this moment is not lost because something else is changed.
                let next_at = match fields.timing() == old.timing() {
                    true => before.next_at,
                    false => next(&fields, plan.as_ref(), now),
                };
                store::update(conn, id, &fields, (next_at, now)).await?;
            }
            found(store::get(conn, id).await?, id)
        })
        .await?;
        Ok(shown(schedule))
    }

    async fn delete(&self, body: pb::DeleteScheduleRequest) -> Result<()> {
        let mut input = Input::new();
        let id = input.uuid("id", &body.id);
        input.finish()?;
        db::transaction(&self.service.pool, async move |conn| {
            store::lock(conn, id).await?;
            let schedule = found(store::get(conn, id).await?, id)?;
            check_etag(&body.etag, schedule.revision)?;
            Ok(store::delete(conn, id).await?)
        })
        .await
    }

    async fn get(&self, id: Uuid) -> Result<Schedule> {
        let mut conn = db::acquire(&self.service.pool).await?;
        found(store::get(&mut conn, id).await?, id)
    }

    async fn list(&self, body: pb::ListSchedulesRequest) -> Result<pb::ListSchedulesResponse> {
        let order = Order::parse(&body.order_by, &["created_at"], Order::up("created_at"))?;
        let query = ["ListSchedules", &body.filter, &order.to_string()];
        let page = Page::parse(body.page_size, &body.page_token, &query)?;
        let run = order.run(page.after_instant()?);
        let filter = Filter::parse(&body.filter, FILTER)?;
        let filter = store::Filter {
            workflow_id: filter.uuid("workflow_id"),
            is_paused: filter.bool("is_paused"),
        };
        let mut listing = db::listing(&self.service.pool).await?;
        let rows = store::list(&mut listing, &filter, run, page.limit + 1);
        let Filled { items, last } = fill(rows, page.limit, |row| {
            let key = (row.created_at, row.id);
            (key, message(row, Vec::new()))
        })
        .await?;
        listing.commit().await?;
        Ok(pb::ListSchedulesResponse {
            schedules: items,
            next_page_token: last
                .map(|(created_at, id)| page.next_instant(created_at, id))
                .unwrap_or_default(),
        })
    }

    async fn trigger(&self, request: Request<pb::TriggerScheduleRequest>) -> Result<pb::Execution> {
        let mut call = Change::read(request, |body| &mut body.request_id)?;
        let id = call.input.uuid("id", &call.body.id);
        call.check()?;
        let mut conn = db::acquire(&self.service.pool).await?;
        let schedule = found(store::get(&mut conn, id).await?, id)?;
        let now = db::now(&mut conn).await?;
        drop(conn);
        let metadata = schedule.metadata.as_deref();
        let new = schedules::execution(id, schedule.workflow_id, metadata, now);
        let command = call.command("TriggerSchedule", Target::New(Box::new(new)), Action::Start)?;
        submit(&self.service, command).await
    }
}

/// Refuses an end that has passed, unless it was set before.
fn check_end(fields: &Fields, before: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<()> {
    match fields.end_at {
        Some(end) if end <= now && fields.end_at != before => {
            Err(Error::invalid("schedule.end_at", "has passed"))
        }
        _ => Ok(()),
    }
}

/// The first instant after `now`, unless it is paused.
fn next(fields: &Fields, plan: Option<&Plan>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    plan.filter(|_| !fields.is_paused)?.next(now)
}

/// A schedule with the instants that are next.
fn shown(schedule: Schedule) -> pb::Schedule {
    let plan = plan(&schedule.fields(), &mut Input::new());
    let later = |at: &DateTime<Utc>| plan.as_ref()?.next(*at);
    let next_times = std::iter::successors(schedule.next_at, later).take(SHOWN);
    let next_times = next_times.collect();
    message(schedule, next_times)
}

fn present(schedule: Option<pb::Schedule>) -> Result<pb::Schedule> {
    schedule.ok_or_else(|| Error::invalid("schedule", "is required"))
}

fn found(schedule: Option<Schedule>, id: Uuid) -> Result<Schedule> {
    schedule.ok_or_else(|| Error::not_found("schedule", id))
}

/// Refuses a change that was decided upon another state. Without an etag, any state will do.
fn check_etag(etag: &str, revision: i64) -> Result<()> {
    match etag.is_empty() || etag == revision.to_string() {
        true => Ok(()),
        false => Err(Error::stale_etag("schedule")),
    }
}

#[tonic::async_trait]
impl ScheduleService for Schedules {
    async fn create_schedule(
        &self,
        request: Request<pb::CreateScheduleRequest>,
    ) -> Result<Response<pb::Schedule>, Status> {
        Ok(Response::new(self.create(request).await?))
    }

    async fn get_schedule(
        &self,
        request: Request<pb::GetScheduleRequest>,
    ) -> Result<Response<pb::Schedule>, Status> {
        let mut input = Input::new();
        let id = input.uuid("id", &request.get_ref().id);
        input.finish()?;
        Ok(Response::new(shown(self.get(id).await?)))
    }

    async fn list_schedules(
        &self,
        request: Request<pb::ListSchedulesRequest>,
    ) -> Result<Response<pb::ListSchedulesResponse>, Status> {
        Ok(Response::new(self.list(request.into_inner()).await?))
    }

    async fn update_schedule(
        &self,
        request: Request<pb::UpdateScheduleRequest>,
    ) -> Result<Response<pb::Schedule>, Status> {
        Ok(Response::new(self.update(request).await?))
    }

    async fn delete_schedule(
        &self,
        request: Request<pb::DeleteScheduleRequest>,
    ) -> Result<Response<()>, Status> {
        Ok(Response::new(self.delete(request.into_inner()).await?))
    }

    async fn trigger_schedule(
        &self,
        request: Request<pb::TriggerScheduleRequest>,
    ) -> Result<Response<pb::Execution>, Status> {
        Ok(Response::new(self.trigger(request).await?))
    }
}
