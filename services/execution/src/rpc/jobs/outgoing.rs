//! What waits for one worker to read it. Invariant: nothing is added once the stream is closed, so what was not sent
//! by then never will be.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chassis::server::CallerGone;
use chassis::{Error, Result};
use prost::Message;
use proto::execution::v1 as pb;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_stream::Stream;
use tonic::Status;

use crate::rpc::answer::{Room, call_error};

/// Bytes of jobs with which a worker gets no more; the jobs of one lease may still come on top.
const FULL: usize = 4 * 1024 * 1024;
/// How long a worker may read nothing although something is there.
const STALLED: Duration = Duration::from_secs(30);

/// A cheap handle on the queue.
#[derive(Debug, Clone)]
pub struct Outgoing(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// A result was read.
    read: Notify,
    /// There is room for jobs again.
    room: Arc<Notify>,
    /// Nobody reads any more.
    gone: CallerGone,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<(pb::Job, usize)>,
    /// Of the jobs.
    bytes: usize,
    results: VecDeque<pb::JobResult>,
    /// Answers whose results are not known yet.
    unsettled: usize,
    /// No more jobs.
    is_closed: bool,
    /// How the stream ends after what is queued.
    end: Option<Result<(), Status>>,
    reader: Option<Waker>,
    /// Since when something waits and nothing was read.
    waits_since: Option<Instant>,
}

impl Outgoing {
    /// Tells `room` when jobs can be taken again after there were too many.
    pub fn new(room: Arc<Notify>) -> Self {
        Self(Arc::new(Shared {
            queue: Mutex::default(),
            read: Notify::new(),
            room,
            gone: CallerGone::default(),
        }))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn has_room(&self) -> bool {
        self.queue().bytes < FULL
    }

    /// Adds jobs; gives them back if the stream is closed.
    pub fn push(&self, jobs: Vec<pb::Job>) -> Result<(), Vec<pb::Job>> {
        let sized: Vec<_> = jobs
            .into_iter()
            .map(|job| {
                let bytes = job.encoded_len();
                (job, bytes)
            })
            .collect();
        let mut queue = self.queue();
        if queue.is_closed {
            return Err(sized.into_iter().map(|(job, _)| job).collect());
        }
        queue.bytes += sized.iter().map(|(_, bytes)| bytes).sum::<usize>();
        queue.jobs.extend(sized);
        queue.wake();
        Ok(())
    }

    /// Lets no more jobs come; returns those that were not sent.
    pub fn close(&self) -> Vec<pb::Job> {
        let mut queue = self.queue();
        queue.is_closed = true;
        queue.bytes = 0;
        queue.jobs.drain(..).map(|(job, _)| job).collect()
    }

    /// A place for the result of an answer.
    pub fn ticket(&self, number: u64) -> Ticket {
        self.queue().unsettled += 1;
        Ticket {
            number,
            to: Some(self.clone()),
        }
    }

    /// Waits until at most `most` results are missing or unread.
    pub async fn at_most(&self, most: usize) {
        self.until(|queue| queue.unsettled + queue.results.len() <= most)
            .await;
    }

    /// Waits until the result of every answer is known.
    pub async fn settled(&self) {
        self.until(|queue| queue.unsettled == 0).await;
    }

    async fn until(&self, holds: impl Fn(&Queue) -> bool) {
        loop {
            // One task waits, and what happens from here on is kept for it.
            let changed = self.0.read.notified();
            if holds(&self.queue()) {
                return;
            }
            changed.await;
        }
    }

    /// Ends the stream after what is queued.
    pub fn end(&self, end: Result<(), Status>) {
        let mut queue = self.queue();
        queue.end = Some(end);
        queue.wake();
    }

    /// Whether the worker reads nothing although there is something.
    pub fn is_stalled(&self) -> bool {
        let since = self.queue().waits_since;
        since.is_some_and(|since| since.elapsed() > STALLED)
    }

    /// Ends when nobody reads any more.
    pub async fn gone(&self) {
        self.0.gone.0.cancelled().await;
    }

    /// The stream that the worker reads.
    pub fn reader(&self) -> Reader {
        Reader(self.clone())
    }
}

impl Queue {
    fn wake(&mut self) {
        self.waits_since.get_or_insert_with(Instant::now);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// As much as fits into one message, results first: they are small, and give room for more answers.
    fn take(&mut self) -> Option<pb::StreamJobsResponse> {
        let mut room = Room::default();
        let mut message = pb::StreamJobsResponse::default();
        while let Some(result) = self.results.pop_front_if(|result| room.fits(result)) {
            message.results.push(result);
        }
        while let Some((job, bytes)) = self.jobs.pop_front_if(|(_, bytes)| room.has(*bytes)) {
            self.bytes -= bytes;
            message.jobs.push(job);
        }
        let is_empty = self.results.is_empty() && self.jobs.is_empty();
        self.waits_since = (!is_empty).then(Instant::now);
        (!message.results.is_empty() || !message.jobs.is_empty()).then_some(message)
    }
}

/// Where the result of one answer goes. Dropped without one, the service is stopping.
#[derive(Debug)]
pub struct Ticket {
    number: u64,
    to: Option<Outgoing>,
}

impl Ticket {
    /// Tells the result; what succeeded may have more to tell.
    pub fn settle(mut self, result: Result<pb::JobResult>) {
        self.put(result);
    }

    fn put(&mut self, result: Result<pb::JobResult>) {
        let Some(to) = self.to.take() else { return };
        let result = match result {
            Ok(told) => pb::JobResult {
                number: self.number,
                ..told
            },
            Err(error) => pb::JobResult {
                number: self.number,
                error: Some(call_error(&error)),
                ..pb::JobResult::default()
            },
        };
        let mut queue = to.queue();
        queue.unsettled -= 1;
        queue.results.push_back(result);
        queue.wake();
        let is_last = queue.unsettled == 0;
        drop(queue);
        if is_last {
            to.0.read.notify_one();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.put(Err(Error::unavailable(
            "STOPPING",
            "the service is stopping",
        )));
    }
}

/// The worker's end.
#[derive(Debug)]
pub struct Reader(Outgoing);

impl Stream for Reader {
    type Item = Result<pb::StreamJobsResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let outgoing = &self.0;
        let mut queue = outgoing.queue();
        let was_full = queue.bytes >= FULL;
        if let Some(message) = queue.take() {
            let has_room = queue.bytes < FULL;
            drop(queue);
            outgoing.0.read.notify_one();
            if was_full && has_room {
                outgoing.0.room.notify_one();
            }
            return Poll::Ready(Some(Ok(message)));
        }
        match &mut queue.end {
            Some(end) => match std::mem::replace(end, Ok(())) {
                Ok(()) => Poll::Ready(None),
                Err(status) => Poll::Ready(Some(Err(status))),
            },
            None => {
                queue.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.0.gone.0.cancel();
    }
}
