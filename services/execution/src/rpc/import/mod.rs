//! ImportExecutions: finished executions of an older system, request by request. Invariant: a response tells what is
//! durable, and what has begun to be written does not depend on who still listens.

mod case;
mod said;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use chassis::auth::Caller;
use chassis::input::Input;
use chassis::{Error, Result};
use model::text;
use proto::execution::v1 as pb;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Status};

use self::steps::Steps;
use super::actor;
use super::answer::call_error;
use crate::import::{self, Outcome, Target};
use crate::state::Service;

type Sent = Result<pb::ImportExecutionsResponse, Status>;

/// Streams of one replica: each may hold a request of 4 MiB, and what becomes of it.
const STREAMS: usize = 4;
const MOST_CASES: usize = 500;
/// Fields that a failure names.
const MOST_FIELDS: usize = 20;
const LONGEST_CASE_ID: usize = 200;

/// The streams that are open at this replica.
pub struct Imports(Arc<Semaphore>);

impl Default for Imports {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(STREAMS)))
    }
}

impl Imports {
    /// Begins to import.
    pub fn start(
        &self,
        service: &Service,
        caller: &Caller,
        incoming: impl Stream<Item = Result<pb::ImportExecutionsRequest, Status>> + Send + 'static,
    ) -> Result<ReceiverStream<Sent>> {
        let permit = self.0.clone().try_acquire_owned().map_err(|_| {
            let message = format!("{STREAMS} imports are under way at this replica");
            Error::exhausted("TOO_MANY_IMPORTS", message, Duration::from_secs(10))
        })?;
        let import = Import {
            service: service.clone(),
            started_by: actor(caller).id,
            onto: None,
            totals: Totals::default(),
            _permit: permit,
        };
        let (sender, receiver) = mpsc::channel(1);
        service.shutdown.tasks.spawn(import.run(incoming, sender));
        Ok(ReceiverStream::new(receiver))
    }
}

#[derive(Default)]
struct Totals {
    imported: i64,
    unchanged: i64,
    failed: i64,
}

struct Import {
    service: Service,
    started_by: String,
    /// What requests go on with that do not name a workflow.
    onto: Option<Target>,
    totals: Totals,
    _permit: OwnedSemaphorePermit,
}

impl Import {
    async fn run(
        mut self,
        incoming: impl Stream<Item = Result<pb::ImportExecutionsRequest, Status>> + Send,
        sender: mpsc::Sender<Sent>,
    ) {
        if let Err(error) = self.serve(incoming, &sender).await {
            // A caller that is gone needs no reason.
            let _ = sender.send(Err(error.into())).await;
        }
    }

    async fn serve(
        &mut self,
        incoming: impl Stream<Item = Result<pb::ImportExecutionsRequest, Status>> + Send,
        sender: &mpsc::Sender<Sent>,
    ) -> Result<()> {
        let soft = self.service.shutdown.soft.clone();
        let stopping = || Error::unavailable("STOPPING", "the service is stopping; send it again");
        let mut incoming = std::pin::pin!(incoming);
        loop {
            let request = tokio::select! {
                request = incoming.next() => request,
                () = sender.closed() => return Ok(()),
                () = soft.cancelled() => return Err(stopping()),
            };
            let Some(request) = request else {
                return Ok(());
            };
            // Nothing cuts this short: what it says is what is there.
            let response = self.settle(request.map_err(unreadable)?).await?;
            tokio::select! {
                sent = sender.send(Ok(response)) => if sent.is_err() {
                    return Ok(());
                },
                () = soft.cancelled() => return Err(stopping()),
            }
        }
    }

    async fn settle(
        &mut self,
        request: pb::ImportExecutionsRequest,
    ) -> Result<pb::ImportExecutionsResponse> {
        let target = self.onto(&request).await?;
        let count = request.executions.len();
        if count > MOST_CASES {
            let description = format!("has {count} elements; at most {MOST_CASES} are accepted");
            return Err(Error::invalid("executions", description));
        }
        let mut response = pb::ImportExecutionsResponse {
            workflow_version: target.version,
            ..pb::ImportExecutionsResponse::default()
        };
        let case_ids: Vec<String> = (request.executions.iter())
            .map(|sent| text::clean(&sent.case_id, LONGEST_CASE_ID))
            .collect();
        let graph = Arc::clone(&target.graph);
        let steps = Steps::of(&graph);
        let mut cases = Vec::with_capacity(count);
        let mut refused = Vec::new();
        for (at, sent) in request.executions.into_iter().enumerate() {
            match case::read(&steps, &target, at, sent) {
                Ok(case) => cases.push((at, case)),
                Err(error) => refused.push((at, error)),
            }
        }
        for (at, outcome) in import::settle(&self.service.pool, target, cases).await? {
            match outcome {
                Outcome::Imported => response.imported += 1,
                Outcome::Unchanged => response.unchanged += 1,
                Outcome::Refused(error) => refused.push((at, error)),
            }
        }
        refused.sort_unstable_by_key(|(at, _)| *at);
        let failures = refused.iter();
        response.failures = failures
            .map(|(at, error)| failure(*at, &case_ids[*at], error))
            .collect();
        self.totals.imported += i64::from(response.imported);
        self.totals.unchanged += i64::from(response.unchanged);
        self.totals.failed += i64::try_from(refused.len()).unwrap_or_default();
        response.total_imported = self.totals.imported;
        response.total_unchanged = self.totals.unchanged;
        response.total_failed = self.totals.failed;
        Ok(response)
    }

    /// The version that a request's executions belong to.
    async fn onto(&mut self, request: &pb::ImportExecutionsRequest) -> Result<Target> {
        let mut input = Input::new();
        let workflow_id = input.optional_uuid("workflow_id", &request.workflow_id);
        let version = request.workflow_version;
        if version < 0 {
            input.push(
                "workflow_version",
                "is not a version: 1 and more, or 0 for the latest",
            );
        }
        if request.workflow_id.is_empty() {
            if self.onto.is_none() {
                input.push("workflow_id", "is required in the first request");
            }
            if version > 0 {
                input.push("workflow_version", "must be 0 if `workflow_id` is empty");
            }
        }
        input.finish()?;
        let Some(workflow_id) = workflow_id else {
            return (self.onto.clone()).ok_or_else(|| Error::internal("no workflow was named"));
        };
        let definitions = &self.service.definitions;
        let is_named = version > 0;
        let version = match is_named {
            true => version,
            false => {
                let targets = definitions.resolve_starts(vec![workflow_id]).await?;
                let found = targets.get(&workflow_id);
                found
                    .ok_or_else(|| Error::not_found("workflow", workflow_id))?
                    .version
            }
        };
        let graph = definitions.graph(workflow_id, version).await?;
        let target = Target {
            workflow_id,
            client_id: graph.definition.client_id,
            graph,
            version,
            is_named,
            started_by: self.started_by.clone(),
        };
        Ok(self.onto.insert(target).clone())
    }
}

fn failure(at: usize, case_id: &str, error: &Error) -> pb::ImportFailure {
    let mut told = call_error(error);
    told.fields.truncate(MOST_FIELDS);
    pb::ImportFailure {
        position: i32::try_from(at).unwrap_or_default(),
        case_id: case_id.to_owned(),
        error: Some(told),
    }
}

/// Why a request could not be read.
fn unreadable(status: Status) -> Error {
    match status.code() {
        Code::Internal | Code::OutOfRange => {
            let wrong = "is malformed, nested deeper than 32 levels or larger than 4 MiB";
            Error::invalid("request", wrong)
        }
        _ => Error::unavailable("CALLER_GONE", "the stream broke"),
    }
}
