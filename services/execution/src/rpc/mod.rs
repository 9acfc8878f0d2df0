//! What clients call: one file for each gRPC service. Invariant: a handler checks what it was given, all of
//! it at once, before it does anything.

pub mod answer;
mod broadcast;
mod bulk;
mod executions;
mod explain;
mod export;
mod history;
mod import;
mod incidents;
pub mod jobs;
mod preview;
mod restarts;
mod schedules;
pub mod search;
mod signal_or_start;
mod signals;
mod simulation;
mod starts;
mod steps;
mod stuck;
mod submit;
mod tasks;
#[cfg(test)]
mod tests;
mod view;
mod watch;

use chassis::Result;
use chassis::auth::{self, Caller};
use chassis::idempotency::RequestKey;
use chassis::input::Input;
use prost::Message;
use proto::execution::v1::bulk_operation_service_server::BulkOperationServiceServer;
use proto::execution::v1::execution_service_server::ExecutionServiceServer;
use proto::execution::v1::history_service_server::HistoryServiceServer;
use proto::execution::v1::job_service_server::JobServiceServer;
use proto::execution::v1::schedule_service_server::ScheduleServiceServer;
use proto::execution::v1::task_service_server::TaskServiceServer;
use tonic::Request;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::service::Routes;

use crate::committer::{Action, Command, Target};
use crate::engine::Actor;
use crate::state::Service;

/// Lets a generated server compress; they share no trait for it.
macro_rules! gzip {
    ($server:expr) => {
        $server.accept_compressed(Gzip).send_compressed(Gzip)
    };
}
/// The gRPC services of [`routes`].
pub const SERVING: [&str; 6] = [
    "workflow.execution.v1.ExecutionService",
    "workflow.execution.v1.TaskService",
    "workflow.execution.v1.JobService",
    "workflow.execution.v1.BulkOperationService",
    "workflow.execution.v1.ScheduleService",
    "workflow.execution.v1.HistoryService",
];

/// Everything that this service answers.
pub fn routes(service: &Service) -> Routes {
    let executions = executions::Executions::new(service.clone());
    let tasks = tasks::Tasks::new(service.clone());
    let jobs = jobs::Jobs::new(service.clone());
    let bulk = bulk::BulkOperations::new(service.clone());
    let schedules = schedules::Schedules::new(service.clone());
    let history = history::History::new(service.clone());
    Routes::new(gzip!(ExecutionServiceServer::new(executions)))
        .add_service(gzip!(TaskServiceServer::new(tasks)))
        .add_service(gzip!(JobServiceServer::new(jobs)))
        .add_service(gzip!(BulkOperationServiceServer::new(bulk)))
        .add_service(gzip!(ScheduleServiceServer::new(schedules)))
        .add_service(gzip!(HistoryServiceServer::new(history)))
}

/// A call that changes something, while its fields are being checked.
struct Change<B> {
    caller: Caller,
    request_id: String,
    /// Without its `request_id`, so that a repetition with another one has the same hash.
    body: B,
    input: Input,
}

impl<B: Message> Change<B> {
    fn read(request: Request<B>, request_id: fn(&mut B) -> &mut String) -> Result<Self> {
        let caller = auth::caller(&request)?.clone();
        Ok(Self::of(caller, request.into_inner(), request_id))
    }

    fn of(caller: Caller, mut body: B, request_id: fn(&mut B) -> &mut String) -> Self {
        let request_id = std::mem::take(request_id(&mut body));
        let mut input = Input::new();
        input.optional_uuid("request_id", &request_id);
        Self {
            caller,
            request_id,
            body,
            input,
        }
    }

    /// Stops here if anything was wrong.
    fn check(&mut self) -> Result<()> {
        std::mem::take(&mut self.input).finish()
    }

    fn command(mut self, method: &'static str, target: Target, action: Action) -> Result<Command> {
        self.check()?;
        Ok(Command {
            target,
            action,
            request: RequestKey::from(&self.caller, method, &self.request_id, &self.body)?,
            actor: actor(&self.caller),
        })
    }
}

/// Who makes a call, as the engine knows people and machines.
fn actor(caller: &Caller) -> Actor {
    match caller {
        Caller::User(user) => Actor {
            id: user.id.to_string(),
            email: user.email.clone(),
            groups: user.groups.clone(),
        },
        Caller::ApiKey(key) => Actor {
            id: key.id.to_string(),
            ..Actor::default()
        },
        Caller::Internal(name) => Actor {
            id: name.clone(),
            ..Actor::default()
        },
    }
}
