//! A worker's stream: jobs go out, answers come in. Invariant: an answer has a result, whatever it says; only what
//! breaks the rules of the stream ends it.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use chassis::auth::Caller;
use chassis::input::Input;
use chassis::{Error, Result, db};
use model::wire;
use proto::execution::v1 as pb;
use proto::execution::v1::job_answer::Answer;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::StreamExt;
use tonic::{Code, Status, Streaming};
use uuid::Uuid;

use super::outgoing::{Outgoing, Reader, Ticket};
use super::{check_lease, check_types, complete, extension, fail, not_held, throw};
use crate::committer::{Command, Room};
use crate::dispatch::Place;
use crate::leasing::{self, Extension, Taker};
use crate::rpc::actor;
use crate::state::Service;
use crate::store;

/// Streams of one replica.
pub const STREAMS: usize = 500;
const MOST_CREDIT: i32 = 1000;
/// Answers of one message, and those of a stream whose results are missing or unread.
const MOST_ANSWERS: usize = 1000;
const IN_FLIGHT: usize = 2 * MOST_ANSWERS;
/// Until when a worker has to say what it wants.
const FIRST: Duration = Duration::from_secs(10);
/// How often is looked whether the worker reads.
const LOOK: Duration = Duration::from_secs(5);

/// Begins to serve a worker.
pub fn start(
    service: &Service,
    caller: Caller,
    permit: OwnedSemaphorePermit,
    incoming: Streaming<pb::StreamJobsRequest>,
) -> Reader {
    let outgoing = Outgoing::new(service.dispatch.look());
    let (retries, failed) = mpsc::unbounded_channel();
    let reader = outgoing.reader();
    let stream = Stream {
        service: service.clone(),
        caller,
        outgoing,
        retries,
    };
    service.shutdown.tasks.spawn(async move {
        stream.run(incoming, failed).await;
        drop(permit);
    });
    reader
}

/// A failure that is recorded: whether it is tried again is still to be told.
type Failed = (Ticket, Uuid);

struct Stream {
    service: Service,
    caller: Caller,
    outgoing: Outgoing,
    /// No more than answers in flight.
    retries: mpsc::UnboundedSender<Failed>,
}

/// A worker that has said what it wants.
struct Subscribed {
    worker: String,
    place: Place,
}

impl Stream {
    async fn run(
        self,
        mut incoming: Streaming<pb::StreamJobsRequest>,
        failed: mpsc::UnboundedReceiver<Failed>,
    ) {
        let soft = &self.service.shutdown.soft;
        let mut retries = pin!(self.tell_retries(failed));
        let ended = tokio::select! {
            ended = self.serve(&mut incoming) => ended,
            ended = self.watch() => ended,
            () = &mut retries => Ok(()),
            () = self.outgoing.gone() => return,
            () = soft.cancelled() => {
                Err(Error::unavailable("STOPPING", "the service is stopping; open another stream"))
            }
        };
        // What was committed is told; whoever reads no more waits for nothing.
        tokio::select! {
            () = self.outgoing.settled() => {}
            () = &mut retries => {}
            () = self.outgoing.gone() => {}
        }
        self.outgoing.end(ended.map_err(Status::from));
    }

    /// Until the worker closes its side and everything it said is told.
    async fn serve(&self, incoming: &mut Streaming<pb::StreamJobsRequest>) -> Result<()> {
        let first = tokio::time::timeout(FIRST, next(incoming)).await;
        let late = || Error::invalid("subscription", "did not come within 10 s");
        let Some(mut message) = first.map_err(|_| late())?? else {
            return Ok(());
        };
        let subscribed = self.subscribe(&mut message)?;
        loop {
            if let Some(credit) = message.credit {
                let is_allowed = (0..=MOST_CREDIT).contains(&credit);
                let credit = usize::try_from(credit).ok().filter(|_| is_allowed);
                let wrong = || Error::invalid("credit", "is not between 0 and 1000");
                subscribed.place.set_credit(credit.ok_or_else(wrong)?);
            }
            if message.answers.len() > MOST_ANSWERS {
                return Err(Error::invalid("answers", "are more than 1000"));
            }
            let room = self.service.committer.room(message.answers.len()).await;
            let extensions = self.take(&subscribed, message.answers, &room);
            self.extend(&subscribed, extensions).await;
            self.outgoing.at_most(IN_FLIGHT - MOST_ANSWERS).await;
            match next(incoming).await? {
                Some(more) if more.subscription.is_some() => {
                    let again = "comes with the first message only";
                    return Err(Error::invalid("subscription", again));
                }
                Some(more) => message = more,
                None => break,
            }
        }
        // No more jobs, but the results of what was answered.
        drop(subscribed);
        self.outgoing.settled().await;
        Ok(())
    }

    fn subscribe(&self, message: &mut pb::StreamJobsRequest) -> Result<Subscribed> {
        let missing = || Error::invalid("subscription", "is required in the first message");
        let asked = message.subscription.take().ok_or_else(missing)?;
        let mut input = Input::new();
        let worker = input.text(
            "subscription.worker",
            &asked.worker,
            1..=super::LONGEST_WORKER,
        );
        let job_types = check_types(&mut input, "subscription.", &asked.job_types);
        if !(1..=MOST_CREDIT).contains(&asked.credit) {
            let wrong = format!("is not between 1 and {MOST_CREDIT}");
            input.push("subscription.credit", wrong);
        }
        let field = "subscription.lease_duration";
        let lease = check_lease(&mut input, field, asked.lease_duration.as_ref());
        input.finish()?;
        let taker = Taker {
            job_types,
            holder: actor(&self.caller).holder(&worker).into(),
            limit: usize::try_from(asked.credit).unwrap_or_default(),
            lease,
        };
        let place = self.service.dispatch.join(taker, self.outgoing.clone());
        Ok(Subscribed { worker, place })
    }

    /// Hands answers to the committer, all at once; returns those that are none of its.
    fn take(
        &self,
        subscribed: &Subscribed,
        answers: Vec<pb::JobAnswer>,
        room: &Room,
    ) -> Vec<(Ticket, pb::ExtendJobRequest)> {
        let mut extensions = Vec::new();
        for pb::JobAnswer { number, answer } in answers {
            let ticket = self.outgoing.ticket(number);
            let own = |worker: &mut String| {
                if worker.is_empty() {
                    worker.clone_from(&subscribed.worker);
                }
            };
            let caller = || self.caller.clone();
            match answer {
                Some(Answer::Complete(mut body)) => {
                    own(&mut body.worker);
                    self.submit(subscribed, (ticket, room), complete(caller(), body));
                }
                Some(Answer::ThrowError(mut body)) => {
                    own(&mut body.worker);
                    self.submit(subscribed, (ticket, room), throw(caller(), body));
                }
                Some(Answer::Fail(mut body)) => {
                    own(&mut body.worker);
                    self.submit_failure(subscribed, (ticket, room), fail(caller(), body));
                }
                Some(Answer::Extend(mut body)) => {
                    own(&mut body.worker);
                    extensions.push((ticket, body));
                }
                None => ticket.settle(Err(Error::invalid("answer", "is required"))),
            }
        }
        extensions
    }

    fn submit(
        &self,
        subscribed: &Subscribed,
        (ticket, room): (Ticket, &Room),
        read: Result<(Uuid, Command)>,
    ) {
        let room = room.clone();
        match read {
            Ok((job, command)) => {
                subscribed.place.answered(job);
                let then = move |done: Result<_>| {
                    drop(room);
                    ticket.settle(done.map(|_| told()));
                };
                self.service.committer.submit_then(command, then);
            }
            Err(error) => ticket.settle(Err(error)),
        }
    }

    fn submit_failure(
        &self,
        subscribed: &Subscribed,
        (ticket, room): (Ticket, &Room),
        read: Result<(Uuid, Command)>,
    ) {
        let room = room.clone();
        let (job, command) = match read {
            Ok(read) => read,
            Err(error) => return ticket.settle(Err(error)),
        };
        subscribed.place.answered(job);
        let retries = self.retries.clone();
        let then = move |done: Result<_>| {
            drop(room);
            match done {
                // Not from the answer of the commit: a repetition has done nothing.
                Ok(_) => drop(retries.send((ticket, job))),
                Err(error) => ticket.settle(Err(error)),
            }
        };
        self.service.committer.submit_then(command, then);
    }

    /// Tells of failures that are recorded whether there is another attempt.
    async fn tell_retries(&self, mut failed: mpsc::UnboundedReceiver<Failed>) {
        let mut all = Vec::new();
        while failed.recv_many(&mut all, MOST_ANSWERS).await > 0 {
            let jobs: Vec<Uuid> = all.iter().map(|(_, job)| *job).collect();
            let known = self.known(&jobs).await;
            for (ticket, job) in all.drain(..) {
                ticket.settle(known.clone().map(|known| pb::JobResult {
                    will_retry: known.get(&job).copied().unwrap_or_default(),
                    ..told()
                }));
            }
        }
    }

    async fn known(&self, jobs: &[Uuid]) -> Result<HashMap<Uuid, bool>> {
        let known = async {
            let mut conn = db::acquire(&self.service.pool).await?;
            Ok(store::jobs::will_retry(&mut conn, jobs).await?)
        };
        Ok(db::patiently(known).await?.into_iter().collect())
    }

    /// Extends the leases of one message in one transaction.
    async fn extend(&self, subscribed: &Subscribed, asked: Vec<(Ticket, pb::ExtendJobRequest)>) {
        let mut tickets = Vec::new();
        let mut extensions = Vec::new();
        for (ticket, body) in asked {
            match extension(&self.caller, &body) {
                Ok(extension) => {
                    tickets.push(ticket);
                    extensions.push(extension);
                }
                Err(error) => ticket.settle(Err(error)),
            }
        }
        if tickets.is_empty() {
            return;
        }
        let extended = self.extended(&extensions).await;
        for (ticket, Extension { job, lease, .. }) in tickets.into_iter().zip(extensions) {
            let result = extended.clone().and_then(|(until, known)| {
                let until = until.get(&job).copied();
                let until = until.ok_or_else(|| not_held(job, known.contains_key(&job)))?;
                subscribed.place.extended(job, lease);
                Ok(pb::JobResult {
                    lease_expires_at: Some(wire::timestamp(until)),
                    ..told()
                })
            });
            ticket.settle(result);
        }
    }

    /// Until when each job is held now, and which of the others there are.
    async fn extended(
        &self,
        extensions: &[Extension],
    ) -> Result<(
        HashMap<Uuid, chrono::DateTime<chrono::Utc>>,
        HashMap<Uuid, bool>,
    )> {
        let until = leasing::extend_all(&self.service.pool, extensions.to_vec()).await?;
        let others = extensions.iter().map(|it| it.job);
        let others: Vec<Uuid> = others.filter(|job| !until.contains_key(job)).collect();
        let known = match others.is_empty() {
            true => HashMap::new(),
            false => self.known(&others).await?,
        };
        Ok((until, known))
    }

    /// Ends when the worker does not read.
    async fn watch(&self) -> Result<()> {
        loop {
            tokio::time::sleep(LOOK).await;
            if self.outgoing.is_stalled() {
                let message = "nothing was read for 30 s; open another stream";
                return Err(Error::unavailable("READER_STALLED", message));
            }
        }
    }
}

fn told() -> pb::JobResult {
    pb::JobResult::default()
}

/// The worker's next message; nothing after the last one.
async fn next(
    incoming: &mut Streaming<pb::StreamJobsRequest>,
) -> Result<Option<pb::StreamJobsRequest>> {
    match incoming.next().await {
        None => Ok(None),
        Some(Ok(message)) => Ok(Some(message)),
        Some(Err(status)) if matches!(status.code(), Code::Internal | Code::OutOfRange) => {
            let wrong = "is malformed, nested deeper than 32 levels or larger than 4 MiB";
            Err(Error::invalid("request", wrong))
        }
        Some(Err(_)) => Err(Error::unavailable("CALLER_GONE", "the stream broke")),
    }
}
