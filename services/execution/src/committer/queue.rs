//! What waits to be written. Invariant: what was begun goes before what is to begin, and nothing but a start is
//! refused because others wait.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chassis::{Error, Result};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pace::{MOST, Pace, SHARE};
use super::{BATCH, Origin, Pending, Target, WRITERS, stopping};

/// Commands beside starts that may wait. The service's port, the timers and the pump let far fewer come, and streams wait
/// for [`room`](Queue::room).
const WORK: usize = 8192;
/// Answers that all streams together may have waiting.
const STREAMED: usize = WORK / 2;

/// Room for some answers of a stream, until the last of them is told what came of it.
pub type Room = Arc<OwnedSemaphorePermit>;
/// Starts by schedules, and those that come back, wait beside those that are counted.
const UNCOUNTED: usize = 1024;

/// Makes a queue.
pub(super) fn queue() -> (Queue, Inbox) {
    let (to_work, work) = mpsc::channel(WORK);
    let (to_starts, starts) = mpsc::channel(MOST + UNCOUNTED);
    let queue = Queue {
        work: to_work,
        starts: to_starts,
        streamed: Arc::new(Semaphore::new(STREAMED)),
        gate: Gate::default(),
    };
    let gate = queue.gate.clone();
    (queue, Inbox { work, starts, gate })
}

/// The end at which commands are put in; cheap to clone.
#[derive(Clone)]
pub(super) struct Queue {
    work: mpsc::Sender<Pending>,
    starts: mpsc::Sender<Pending>,
    streamed: Arc<Semaphore>,
    pub gate: Gate,
}

impl Queue {
    /// Waits until so many answers of a stream may come.
    pub async fn room(&self, answers: usize) -> Room {
        let answers = u32::try_from(answers.min(STREAMED)).unwrap_or(u32::MAX);
        let room = self.streamed.clone().acquire_many_owned(answers).await;
        Arc::new(room.expect("the semaphore is never closed"))
    }

    /// Puts a command in, or answers why not.
    pub fn put(&self, mut pending: Pending) {
        if pending.is_start() && !pending.is_due() {
            match self.gate.enter() {
                Ok(place) => pending.place = Some(place),
                Err(error) => return pending.answer(Err(error)),
            }
        }
        match self.of(&pending).try_send(pending) {
            Ok(()) => {}
            Err(TrySendError::Full(refused)) => refused.answer(Err(self.gate.refusal())),
            Err(TrySendError::Closed(refused)) => refused.answer(Err(stopping())),
        }
    }

    /// Puts a command in again, as soon as there is room.
    pub async fn put_back(&self, pending: Pending) {
        if let Err(refused) = self.of(&pending).send(pending).await {
            refused.0.answer(Err(stopping()));
        }
    }

    fn of(&self, pending: &Pending) -> &mpsc::Sender<Pending> {
        match pending.is_start() {
            true => &self.starts,
            false => &self.work,
        }
    }

    /// How many starts no writer has taken up yet.
    #[cfg(test)]
    pub fn waiting_starts(&self) -> usize {
        self.starts.max_capacity() - self.starts.capacity()
    }
}

/// The end at which writers take them out.
pub(super) struct Inbox {
    work: mpsc::Receiver<Pending>,
    starts: mpsc::Receiver<Pending>,
    gate: Gate,
}

impl Inbox {
    /// Adds what has gathered to a batch, as soon as there is something; false when nothing will come any more.
    /// Nothing is lost if nobody waits for it to the end.
    pub async fn more(&mut self, batch: &mut Vec<Pending>) -> bool {
        let turn = self.gate.0.turn.load(Ordering::Relaxed);
        let starts = batch.iter().filter(|it| it.is_start()).count();
        tokio::select! {
            biased;
            Some(first) = self.work.recv() => batch.push(first),
            Some(first) = self.starts.recv(), if starts < turn => batch.push(first),
            else => return false,
        }
        fill(batch, &mut self.work, BATCH - SHARE);
        let starts = batch.iter().filter(|it| it.is_start()).count();
        let room = turn.saturating_sub(starts).min(BATCH - batch.len());
        let up_to = batch.len() + room;
        fill(batch, &mut self.starts, up_to);
        fill(batch, &mut self.work, BATCH);
        true
    }
}

fn fill(batch: &mut Vec<Pending>, from: &mut mpsc::Receiver<Pending>, up_to: usize) {
    while batch.len() < up_to
        && let Ok(pending) = from.try_recv()
    {
        batch.push(pending);
    }
}

impl Pending {
    /// Whether it begins an execution that nobody has asked for inside of another one.
    pub(super) fn is_start(&self) -> bool {
        matches!(self.command.target, Target::New(_))
    }

    /// Whether the platform has promised to start it by now.
    fn is_due(&self) -> bool {
        match &self.command.target {
            Target::New(new) => matches!(new.origin, Origin::Schedule(_)),
            Target::Execution(_) | Target::Wait(_) => false,
        }
    }
}

/// Where starts are counted and, while too many wait, refused. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Doorkeeper>);

#[derive(Debug)]
struct Doorkeeper {
    waiting: AtomicUsize,
    may_wait: AtomicUsize,
    /// Starts of one batch.
    turn: AtomicUsize,
    pace: Mutex<Pace>,
    refusals: AtomicU64,
    refused: Counter<u64>,
    gauge: Gauge<u64>,
}

impl Default for Gate {
    fn default() -> Self {
        let meter = opentelemetry::global::meter("execution");
        let refused = meter
            .u64_counter("execution.starts.refused")
            .with_description(
                "Starts that were not begun: too many waited, or their caller had left.",
            );
        let gauge = meter
            .u64_gauge("execution.starts.waiting")
            .with_description("Starts that are being written or wait for it.");
        Self(Arc::new(Doorkeeper {
            waiting: AtomicUsize::new(0),
            may_wait: AtomicUsize::new(MOST),
            turn: AtomicUsize::new(BATCH),
            pace: Mutex::default(),
            refusals: AtomicU64::new(0),
            refused: refused.build(),
            gauge: gauge.build(),
        }))
    }
}

/// A start that waits; it does until this is dropped.
#[derive(Debug)]
pub(super) struct Place(Gate);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    /// Whether another start would be let in at this moment; says why not.
    pub fn check(&self) -> Result<()> {
        match self.0.waiting.load(Ordering::Relaxed) < self.0.may_wait.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(self.refusal()),
        }
    }

    fn enter(&self) -> Result<Place> {
        let may_wait = self.0.may_wait.load(Ordering::Relaxed);
        if self.0.waiting.fetch_add(1, Ordering::Relaxed) < may_wait {
            return Ok(Place(self.clone()));
        }
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        Err(self.refusal())
    }

    /// A batch with so many starts took so long.
    pub(super) fn note(&self, starts: usize, took: Duration) {
        let mut pace = self.0.pace.lock().expect("no holder of this lock panics");
        pace.note(starts, took);
        self.0
            .may_wait
            .store(pace.may_wait(WRITERS), Ordering::Relaxed);
        self.0.turn.store(pace.of_a_turn(), Ordering::Relaxed);
        drop(pace);
        let waiting = self.0.waiting.load(Ordering::Relaxed);
        self.0.gauge.record(waiting as u64, &[]);
    }

    /// Leaves out starts whose callers have left: nothing of them has begun, and nobody would hear of it.
    pub(super) fn without_abandoned(&self, batch: Vec<Pending>) -> Vec<Pending> {
        let (abandoned, batch): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .partition(|it| it.is_start() && it.caller.0.is_cancelled());
        for pending in abandoned {
            self.0.refused.add(1, &[KeyValue::new("why", "abandoned")]);
            let gone = Error::unavailable("CALLER_GONE", "nobody waits for it");
            pending.answer(Err(gone));
        }
        batch
    }

    fn refusal(&self) -> Error {
        let refusals = self.0.refusals.fetch_add(1, Ordering::Relaxed);
        self.0.refused.add(1, &[KeyValue::new("why", "busy")]);
        let message = "too many executions wait to be started";
        Error::exhausted("TOO_BUSY", message, pause(refusals))
    }
}

/// Those who are told to come back are not all told to come back at once.
fn pause(refusals: u64) -> Duration {
    Duration::from_millis(500 + refusals % 1000 * 617 % 1000)
}

#[cfg(test)]
mod tests;
