//! The reading calls, on rows of the test's making.

use std::sync::Arc;
use std::time::Duration;

use chassis::Shutdown;
use chassis::auth::{Caller, User};
use chassis::idempotency::RequestKey;
use chassis::server::CallerGone;
use model::status::Role;
use model::wire;
use prost::Message;
use proto::execution::v1::execution_service_server::ExecutionService;
use proto::execution::v1::history_service_server::HistoryService;
use proto::execution::v1::job_service_server::JobService;
use proto::execution::v1::task_service_server::TaskService;
use proto::execution::v1::watch_execution_response::Change as Changed;
use proto::execution::v1::{self as pb, step_event};
use serde_json::{Map, Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::StreamExt;
use tonic::{Code, Request, Response};
use tonic_types::StatusExt;
use uuid::Uuid;

use super::executions::Executions;
use super::history::History;
use super::jobs::Jobs;
use super::tasks::Tasks;
use crate::committer::{Committer, Hints};
use crate::fixtures::{World, nobody};
use crate::job_types::JobTypes;
use crate::state;
use crate::state::Service;

mod broadcasts;
mod bulk;
mod executions;
mod exporting;
mod history;
mod importing;
mod jobs;
mod searching;
mod streams;
mod watching;

fn service(world: &World) -> Service {
    let shutdown = Shutdown::new();
    let definitions = world.definitions();
    let (handed, _) = mpsc::channel(1);
    let hints = Hints::default();
    let (changes, jobs) = (hints.changes.subscribe(), hints.jobs.subscribe());
    let dispatch = hints.dispatch.clone();
    let pool = world.pool.clone();
    let committer = Committer::start(pool.clone(), definitions.clone(), handed, hints, &shutdown);
    Service {
        pool,
        committer,
        definitions,
        catalog: nobody(),
        job_types: JobTypes::default(),
        dispatch,
        computing: Arc::new(Semaphore::new(state::COMPUTING)),
        changes,
        jobs,
        shutdown,
    }
}

fn call<T>(body: T) -> Request<T> {
    let mut request = Request::new(body);
    request.extensions_mut().insert(Caller::User(User {
        id: Uuid::from_u128(5),
        email: "ann@x.org".to_owned(),
        name: "clerk-7".to_owned(),
        role: Role::User,
        groups: vec!["chefs".to_owned()],
        session_id: Uuid::from_u128(8),
        revision: 1,
    }));
    request
}

async fn only_execution(service: &Service) -> pb::Execution {
    let executions = Executions::new(service.clone());
    let list = executions
        .list_executions(call(pb::ListExecutionsRequest::default()))
        .await;
    let [execution] = <[_; 1]>::try_from(list.unwrap().into_inner().executions).unwrap();
    execution
}
