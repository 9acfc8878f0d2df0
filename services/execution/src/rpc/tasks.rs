//! TaskService: people's work. Who may do what is the engine's to say.

use chassis::auth::{self, Caller};
use chassis::filter::{Filter, Kind};
use chassis::input::Input;
use chassis::order::Order;
use chassis::page::Page;
use chassis::{Error, Result, db};
use model::json::INPUT;
use model::wire;
use prost::Message;
use proto::execution::v1 as pb;
use proto::execution::v1::task_service_server::TaskService;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::answer::Room;
use super::{Change, view};
use crate::committer::{Action, Target};
use crate::context;
use crate::engine::{Answer, Decision};
use crate::state::Service;
use crate::store;
use crate::store::tasks::{Mine, TaskFilter, TaskOrder};

const FILTER: &[(&str, Kind)] = &[
    ("mine", Kind::Bool),
    ("execution_id", Kind::Uuid),
    ("workflow_id", Kind::Uuid),
    ("client_id", Kind::Uuid),
    ("group", Kind::Text),
];

const ORDER: &[&str] = &["created_at", "due_at"];

/// Characters of a comment.
const LONGEST_COMMENT: usize = 10_000;

pub struct Tasks {
    service: Service,
}

impl Tasks {
    pub fn new(service: Service) -> Self {
        Self { service }
    }

    async fn list(
        &self,
        caller: &Caller,
        body: pb::ListTasksRequest,
    ) -> Result<pb::ListTasksResponse> {
        // Whose tasks are listed is part of the question.
        let asked_by = caller.key();
        let order = Order::parse(&body.order_by, ORDER, Order::up("created_at"))?;
        let query = ["ListTasks", &body.filter, &order.to_string(), &asked_by];
        let page = Page::parse(body.page_size, &body.page_token, &query)?;
        let run = order.run(page.after_instant()?);
        let by = match order.key {
            "due_at" => TaskOrder::Due(run),
            _ => TaskOrder::Created(run),
        };
        let filter = restriction(&Filter::parse(&body.filter, FILTER)?, caller)?;
        let mut conn = db::listing(&self.service.pool).await?;
        let rows = store::tasks::list(&mut conn, &filter, by, page.limit + 1).await?;
        let mut room = Room::default();
        let mut tasks = Vec::with_capacity(rows.len());
        let (mut last, mut next) = (None, String::new());
        for row in rows {
            let key = match order.key {
                "due_at" => (row.due_key(), row.id),
                _ => (row.created_at, row.id),
            };
            let definitions = &self.service.definitions;
            let graph = definitions
                .pinned(&mut conn, row.workflow_id, row.workflow_version)
                .await?;
            let Some(task) = view::task(row, &graph) else {
                continue;
            };
            if tasks.len() as i64 == page.limit || !room.fits(&task) {
                next = last
                    .map(|(at, id)| page.next_instant(at, id))
                    .unwrap_or_default();
                break;
            }
            tasks.push(task);
            last = Some(key);
        }
        conn.commit().await?;
        Ok(pb::ListTasksResponse {
            tasks,
            next_page_token: next,
        })
    }

    async fn read(&self, id: Uuid) -> Result<pb::Task> {
        let mut conn = db::acquire(&self.service.pool).await?;
        let row = store::tasks::get(&mut conn, id).await?;
        let row = row.ok_or_else(|| Error::not_found("task", id))?;
        let execution_id = row.execution_id;
        let item = row.item.as_ref().map(|item| wire::struct_from_json(item));
        let definitions = &self.service.definitions;
        let graph = definitions
            .pinned(&mut conn, row.workflow_id, row.workflow_version)
            .await?;
        let mut task = view::task(row, &graph).ok_or_else(|| Error::not_found("task", id))?;
        let mut data = context::of(&mut conn, execution_id).await?.data;
        data.fields.extend(item.unwrap_or_default().fields);
        task.data = Some(data);
        Ok(task)
    }

    /// Does it and shows what the task is then.
    async fn change<B: Message>(
        &self,
        mut call: Change<B>,
        method: &'static str,
        id: &str,
        answer: Answer,
    ) -> Result<pb::Task> {
        let id = call.input.uuid("id", id);
        let command = call.command(method, Target::Wait(id), Action::Answer(answer))?;
        self.service.committer.submit(command).await?;
        self.read(id).await
    }
}

fn restriction(filter: &Filter, caller: &Caller) -> Result<TaskFilter> {
    let mine = match (filter.bool("mine"), caller) {
        (None, _) => None,
        (Some(true), Caller::User(user)) => Some(Mine {
            email: user.email.clone(),
            groups: user.groups.clone(),
        }),
        (Some(true), Caller::ApiKey(_) | Caller::Internal(_)) => {
            return Err(Error::invalid("filter", "mine: only people have tasks"));
        }
        (Some(false), _) => {
            return Err(Error::invalid(
                "filter",
                "mine wants true, or to be left out",
            ));
        }
    };
    Ok(TaskFilter {
        mine,
        execution_id: filter.uuid("execution_id"),
        workflow_id: filter.uuid("workflow_id"),
        client_id: filter.uuid("client_id"),
        group: filter.text("group").map(str::to_owned),
    })
}

#[tonic::async_trait]
impl TaskService for Tasks {
    async fn list_tasks(
        &self,
        request: Request<pb::ListTasksRequest>,
    ) -> Result<Response<pb::ListTasksResponse>, Status> {
        let caller = auth::caller(&request)?.clone();
        Ok(Response::new(
            self.list(&caller, request.into_inner()).await?,
        ))
    }

    async fn get_task(
        &self,
        request: Request<pb::GetTaskRequest>,
    ) -> Result<Response<pb::Task>, Status> {
        let mut input = Input::new();
        let id = input.uuid("id", &request.get_ref().id);
        input.finish()?;
        Ok(Response::new(self.read(id).await?))
    }

    async fn claim_task(
        &self,
        request: Request<pb::ClaimTaskRequest>,
    ) -> Result<Response<pb::Task>, Status> {
        let call = Change::read(request, |body| &mut body.request_id)?;
        let id = call.body.id.clone();
        let answer = Answer::Claim;
        Ok(Response::new(
            self.change(call, "ClaimTask", &id, answer).await?,
        ))
    }

    async fn release_task(
        &self,
        request: Request<pb::ReleaseTaskRequest>,
    ) -> Result<Response<pb::Task>, Status> {
        let call = Change::read(request, |body| &mut body.request_id)?;
        let id = call.body.id.clone();
        let answer = Answer::Release;
        Ok(Response::new(
            self.change(call, "ReleaseTask", &id, answer).await?,
        ))
    }

    async fn approve_task(
        &self,
        request: Request<pb::ApproveTaskRequest>,
    ) -> Result<Response<pb::Task>, Status> {
        let mut call = Change::read(request, |body| &mut body.request_id)?;
        let id = call.body.id.clone();
        let comment = call
            .input
            .text("comment", &call.body.comment, 0..=LONGEST_COMMENT);
        let answer = Answer::Decide(Decision::Approve { comment });
        Ok(Response::new(
            self.change(call, "ApproveTask", &id, answer).await?,
        ))
    }

    async fn reject_task(
        &self,
        request: Request<pb::RejectTaskRequest>,
    ) -> Result<Response<pb::Task>, Status> {
        let mut call = Change::read(request, |body| &mut body.request_id)?;
        let id = call.body.id.clone();
        let comment = call
            .input
            .text("comment", &call.body.comment, 0..=LONGEST_COMMENT);
        let answer = Answer::Decide(Decision::Reject { comment });
        Ok(Response::new(
            self.change(call, "RejectTask", &id, answer).await?,
        ))
    }

    async fn submit_task(
        &self,
        request: Request<pb::SubmitTaskRequest>,
    ) -> Result<Response<pb::Task>, Status> {
        let mut call = Change::read(request, |body| &mut body.request_id)?;
        let id = call.body.id.clone();
        let data = call.input.json("data", call.body.data.as_ref(), INPUT);
        let data = data.unwrap_or_default();
        let answer = Answer::Decide(Decision::Submit { data });
        Ok(Response::new(
            self.change(call, "SubmitTask", &id, answer).await?,
        ))
    }
}
