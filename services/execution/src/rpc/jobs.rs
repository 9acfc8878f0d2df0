//! JobService: workers' work. A worker that asks too early waits here; who holds a job is the database's
//! to say.

pub mod job;
mod outgoing;
mod stream;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use chassis::auth::Caller;
use chassis::input::Input;
use chassis::server::CallerGone;
use chassis::{Error, Result, auth, db};
use model::json::INPUT;
use model::text;
use prost::Message;
use proto::execution::v1 as pb;
use proto::execution::v1::job_service_server::JobService;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use super::{Change, actor};
use crate::committer::{Action, Command, Target};
use crate::engine::{Answer, Failure};
use crate::leasing::{self, Extension, Taker, Turns};
use crate::state::Service;
use crate::store;

pub use outgoing::{Outgoing, Reader};

const LEASE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
const DEFAULT_LEASE: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How often a waiting worker looks, whatever it was told: the table is the truth.
const POLL: Duration = Duration::from_secs(1);
/// How soon it looks again after jobs were queued; each look in vain doubles it, so that jobs for others
/// cost little.
const SOONEST: Duration = Duration::from_millis(1);
const LATEST: Duration = Duration::from_millis(200);
/// Characters.
const LONGEST_WORKER: usize = 200;
const LONGEST_CODE: usize = 100;
const LONGEST_MESSAGE: usize = 10_000;
const MOST_TYPES: usize = 100;
const MOST_JOBS: i32 = 1000;

pub struct Jobs {
    service: Service,
    turns: Arc<Turns>,
    streams: Arc<Semaphore>,
}

impl Jobs {
    pub fn new(service: Service) -> Self {
        Self {
            service,
            turns: Arc::default(),
            streams: Arc::new(Semaphore::new(stream::STREAMS)),
        }
    }

    /// A worker that has gone gets nothing: its jobs would be lost to everybody until their leases end.
    async fn activate(
        &self,
        taker: Taker,
        wait: Duration,
        gone: CallerGone,
    ) -> Result<Vec<pb::Job>> {
        let until = Instant::now() + wait;
        self.service
            .job_types
            .note(&self.service.pool, &taker.job_types)
            .await;
        let mut queued = self.service.jobs.clone();
        let mut pause = SOONEST;
        loop {
            queued.mark_unchanged();
            let Service {
                pool, definitions, ..
            } = &self.service;
            let takers = vec![taker.clone()];
            let leased = leasing::lease(pool, definitions, &self.turns, takers).await?;
            let jobs: Vec<pb::Job> = leased.jobs.into_iter().map(|(_, job)| job).collect();
            let left = until.saturating_duration_since(Instant::now());
            if !jobs.is_empty() || left.is_zero() {
                return Ok(jobs);
            }
            let poll = tokio::time::sleep(POLL.min(left));
            let hint = async {
                tokio::time::sleep(pause.min(left)).await;
                if queued.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = poll => {}
                () = hint => {}
                () = self.service.shutdown.soft.cancelled() => return Ok(jobs),
                () = gone.0.cancelled() => return Ok(jobs),
            }
            pause = (pause * 2).min(LATEST);
        }
    }

    async fn fail(&self, request: Request<pb::FailJobRequest>) -> Result<pb::FailJobResponse> {
        let caller = auth::caller(&request)?.clone();
        let (id, command) = fail(caller, request.into_inner())?;
        self.service.committer.submit(command).await?;
        // Not from the answer of the commit: a repetition of the call has done nothing.
        let mut conn = db::acquire(&self.service.pool).await?;
        let known = store::jobs::will_retry(&mut conn, &[id]).await?;
        Ok(pb::FailJobResponse {
            will_retry: known.iter().any(|(_, will_retry)| *will_retry),
        })
    }

    async fn extend(&self, request: Request<pb::ExtendJobRequest>) -> Result<pb::Job> {
        let extension = extension(auth::caller(&request)?, request.get_ref())?;
        let id = extension.job;
        let Service {
            pool, definitions, ..
        } = &self.service;
        if let Some(job) = leasing::extend(pool, definitions, extension).await? {
            return Ok(job);
        }
        let mut conn = db::acquire(pool).await?;
        let known = store::jobs::will_retry(&mut conn, &[id]).await?;
        Err(not_held(id, !known.is_empty()))
    }
}

/// Why a lease was not extended.
fn not_held(id: Uuid, is_known: bool) -> Error {
    match is_known {
        false => Error::not_found("job", id),
        true => Error::precondition(
            "JOB_NOT_HELD",
            "the job is not held by this worker (any more); nothing was changed",
        ),
    }
}

/// What completing a job asks of the committer.
fn complete(caller: Caller, body: pb::CompleteJobRequest) -> Result<(Uuid, Command)> {
    let mut call = Change::of(caller, body, |body| &mut body.request_id);
    let worker = check_worker(&mut call.input, &call.body.worker);
    let output = call.input.json("output", call.body.output.as_ref(), INPUT);
    let answer = Answer::Complete {
        worker,
        output: output.unwrap_or_default(),
    };
    let id = call.input.uuid("job_id", &call.body.job_id);
    Ok((id, answered(call, "CompleteJob", id, answer)?))
}

fn fail(caller: Caller, body: pb::FailJobRequest) -> Result<(Uuid, Command)> {
    let mut call = Change::of(caller, body, |body| &mut body.request_id);
    let worker = check_worker(&mut call.input, &call.body.worker);
    let code = match call.body.error_code.as_str() {
        "" => "JOB_FAILED",
        code => check_word(&mut call.input, code),
    };
    let answer = Answer::Fail {
        worker,
        failure: failure(code, &call.body.error_message),
        no_retry: call.body.no_retry,
    };
    let id = call.input.uuid("job_id", &call.body.job_id);
    Ok((id, answered(call, "FailJob", id, answer)?))
}

fn throw(caller: Caller, body: pb::ThrowJobErrorRequest) -> Result<(Uuid, Command)> {
    let mut call = Change::of(caller, body, |body| &mut body.request_id);
    let worker = check_worker(&mut call.input, &call.body.worker);
    let code = call
        .input
        .text("error_code", &call.body.error_code, 1..=LONGEST_CODE);
    let failure = failure(&code, &call.body.error_message);
    let answer = Answer::Throw { worker, failure };
    let id = call.input.uuid("job_id", &call.body.job_id);
    Ok((id, answered(call, "ThrowJobError", id, answer)?))
}

fn answered<B: Message>(
    call: Change<B>,
    method: &'static str,
    id: Uuid,
    answer: Answer,
) -> Result<Command> {
    call.command(method, Target::Wait(id), Action::Answer(answer))
}

fn extension(caller: &Caller, body: &pb::ExtendJobRequest) -> Result<Extension> {
    let mut input = Input::new();
    let job = input.uuid("job_id", &body.job_id);
    let worker = check_worker(&mut input, &body.worker);
    let lease = check_lease(&mut input, "lease_duration", body.lease_duration.as_ref());
    input.finish()?;
    let holder = actor(caller).holder(&worker);
    Ok(Extension { job, holder, lease })
}

fn failure(code: &str, message: &str) -> Failure {
    Failure::new(code, text::clean(message, LONGEST_MESSAGE))
}

fn check_worker(input: &mut Input, worker: &str) -> String {
    input.text("worker", worker, 1..=LONGEST_WORKER)
}

/// A failure's code is UPPER_SNAKE, so that reports and conditions can count on it.
fn check_word<'a>(input: &mut Input, code: &'a str) -> &'a str {
    let is_word = code.starts_with(|c: char| c.is_ascii_uppercase())
        && code
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if !is_word || code.len() > LONGEST_CODE {
        let description =
            format!("is not an UPPER_SNAKE word of at most {LONGEST_CODE} characters");
        input.push("error_code", description);
    }
    code
}

fn check_lease(input: &mut Input, field: &str, lease: Option<&prost_types::Duration>) -> Duration {
    let lease = input.duration(field, lease).unwrap_or(DEFAULT_LEASE);
    if !LEASE.contains(&lease) {
        input.push(field, "is not between 1 s and 1 h");
    }
    lease
}

/// Sorted, each once.
fn check_types(input: &mut Input, prefix: &str, job_types: &[String]) -> Arc<[String]> {
    let field = format!("{prefix}job_types");
    if !(1..=MOST_TYPES).contains(&job_types.len()) {
        input.push(&field, format!("wants 1 to {MOST_TYPES} job types"));
    }
    let types = job_types.iter().take(MOST_TYPES).enumerate();
    let mut job_types: Vec<String> = types
        .map(|(at, job_type)| input.text(&format!("{field}[{at}]"), job_type, 1..=100))
        .collect();
    job_types.sort_unstable();
    job_types.dedup();
    job_types.into()
}

fn check_ask(
    input: &mut Input,
    body: &pb::ActivateJobsRequest,
    worker: impl FnOnce(&str) -> String,
) -> (Taker, Duration) {
    let holder = worker(&check_worker(input, &body.worker));
    let job_types = check_types(input, "", &body.job_types);
    if !(0..=MOST_JOBS).contains(&body.max_jobs) {
        input.push(
            "max_jobs",
            format!("is not between 1 and {MOST_JOBS}; 0 means 1"),
        );
    }
    let wait = input
        .duration("wait_timeout", body.wait_timeout.as_ref())
        .unwrap_or_default();
    if wait > LONGEST_WAIT {
        input.push("wait_timeout", "is more than 60 s");
    }
    let taker = Taker {
        job_types,
        holder: holder.into(),
        limit: usize::try_from(body.max_jobs).unwrap_or_default().max(1),
        lease: check_lease(input, "lease_duration", body.lease_duration.as_ref()),
    };
    (taker, wait)
}

#[tonic::async_trait]
impl JobService for Jobs {
    async fn activate_jobs(
        &self,
        request: Request<pb::ActivateJobsRequest>,
    ) -> Result<Response<pb::ActivateJobsResponse>, Status> {
        let actor = actor(auth::caller(&request)?);
        let gone = CallerGone::from(&request);
        let mut input = Input::new();
        let (taker, wait) = check_ask(&mut input, request.get_ref(), |worker| actor.holder(worker));
        input.finish()?;
        let jobs = self.activate(taker, wait, gone).await?;
        Ok(Response::new(pb::ActivateJobsResponse { jobs }))
    }

    async fn complete_job(
        &self,
        request: Request<pb::CompleteJobRequest>,
    ) -> Result<Response<pb::CompleteJobResponse>, Status> {
        let caller = auth::caller(&request)?.clone();
        let (_, command) = complete(caller, request.into_inner())?;
        self.service.committer.submit(command).await?;
        Ok(Response::new(pb::CompleteJobResponse {}))
    }

    async fn fail_job(
        &self,
        request: Request<pb::FailJobRequest>,
    ) -> Result<Response<pb::FailJobResponse>, Status> {
        Ok(Response::new(self.fail(request).await?))
    }

    async fn throw_job_error(
        &self,
        request: Request<pb::ThrowJobErrorRequest>,
    ) -> Result<Response<pb::ThrowJobErrorResponse>, Status> {
        let caller = auth::caller(&request)?.clone();
        let (_, command) = throw(caller, request.into_inner())?;
        self.service.committer.submit(command).await?;
        Ok(Response::new(pb::ThrowJobErrorResponse {}))
    }

    async fn extend_job(
        &self,
        request: Request<pb::ExtendJobRequest>,
    ) -> Result<Response<pb::Job>, Status> {
        Ok(Response::new(self.extend(request).await?))
    }

    type StreamJobsStream = Reader;

    async fn stream_jobs(
        &self,
        request: Request<Streaming<pb::StreamJobsRequest>>,
    ) -> Result<Response<Self::StreamJobsStream>, Status> {
        let caller = auth::caller(&request)?.clone();
        let permit = self.streams.clone().try_acquire_owned().map_err(|_| {
            let message = format!(
                "{} streams are open; one that ends makes room",
                stream::STREAMS
            );
            Error::exhausted("TOO_MANY_STREAMS", message, Duration::from_secs(10))
        })?;
        let reader = stream::start(&self.service, caller, permit, request.into_inner());
        Ok(Response::new(reader))
    }
}
