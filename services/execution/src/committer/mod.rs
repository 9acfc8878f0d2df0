//! The one way from commands to rows. Owns the queue and its writers.
//! Invariant: a caller is answered after the transaction that holds its effect has committed.

mod batch;
mod business_keys;
mod cache;
mod children;
mod command;
mod command_rows;
mod handing;
mod kept_signals;
mod load;
mod locks;
mod pace;
mod queue;
mod refusal;
mod rows;
mod starts;
#[cfg(test)]
mod tests;
mod waits;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chassis::server::CallerGone;
use chassis::{Error, Result, Shutdown};
use model::graph::Graph;
use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Instrument;
use uuid::Uuid;

use crate::definitions::Definitions;
use crate::dispatch::Dispatch;
use crate::engine::Actor;
use crate::outbox::OutboxRow;

use queue::{Inbox, Place, Queue};

pub use command::{
    Action, BusinessKey, Command, Done, KeyPolicy, NewExecution, Origin, Restart, Target,
};
pub use command_rows::{KEPT, START, read as read_command};
pub use pace::BURST;
pub use queue::{Gate, Room};
pub use rows::push_log;

/// Commands of one transaction.
pub const BATCH: usize = 512;
/// Writers: while one commits, the other gathers. More only compete for the database's processors.
const WRITERS: usize = 2;
/// With so many commands a writer does not wait for the other one: a transaction costs about as much as twenty
/// executions, so that smaller ones would be dear.
const CROWD: usize = 64;
/// How long the first command of a batch waits for the other writer: that one may itself wait for a lock.
const GATHER: Duration = Duration::from_millis(50);
/// How often a command is put off because somebody else holds its execution, and for how long.
const BUSY_TRIES: u32 = 1000;
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// The reason of a command that was put off too often.
pub const BUSY: &str = "EXECUTION_BUSY";

/// Where waiters learn that a look at the tables is worth while. Never the truth: other replicas commit,
/// too.
#[derive(Debug, Default)]
pub struct Hints {
    /// Moves with every commit.
    pub changes: watch::Sender<u64>,
    /// Moves with every commit that queued a job.
    pub jobs: watch::Sender<u64>,
    /// Moves with every commit that asked something of another execution.
    pub commands: watch::Sender<u64>,
    /// Workers who wait for jobs here.
    pub dispatch: Dispatch,
}

/// A cheap handle on the queue.
#[derive(Clone)]
pub struct Committer {
    queue: Queue,
}

/// A command and who waits for it.
struct Pending {
    command: Command,
    /// The row of `commands` that it is, if it is one.
    row: Option<Uuid>,
    /// For starts from outside: the id, fixed so that a repeated transaction makes the same execution.
    id: Uuid,
    /// For starts: what will run.
    graph: Option<Arc<Graph>>,
    /// For starts: why it may not start, unless it repeats an earlier one.
    barred: Option<Error>,
    busy: u32,
    /// For starts that are counted: given back when it is answered.
    place: Option<Place>,
    /// Whether its caller still waits for it.
    caller: CallerGone,
    /// The caller's span: a batch is traced with its first one.
    span: tracing::Span,
    reply: Option<Reply>,
}

/// Who is told what came of it. Dropped unused, the service is stopping.
type Reply = Box<dyn FnOnce(Result<Done>) + Send + Sync>;

/// What the writers share.
struct Shared {
    pool: PgPool,
    definitions: Definitions,
    queue: Queue,
    outbox: mpsc::Sender<OutboxRow>,
    hints: Hints,
    cache: Mutex<cache::Cache>,
    /// How many writers are committing.
    committing: watch::Sender<usize>,
}

impl Committer {
    /// Starts the writers. Committed events go to `outbox`.
    pub fn start(
        pool: PgPool,
        definitions: Definitions,
        outbox: mpsc::Sender<OutboxRow>,
        hints: Hints,
        shutdown: &Shutdown,
    ) -> Self {
        let (queue, inbox) = queue::queue();
        let shared = Arc::new(Shared {
            pool,
            definitions,
            queue: queue.clone(),
            outbox,
            hints,
            cache: Mutex::default(),
            committing: watch::Sender::default(),
        });
        let inbox = Arc::new(tokio::sync::Mutex::new(inbox));
        for _ in 0..WRITERS {
            let writer = write(shared.clone(), inbox.clone(), shutdown.clone());
            shutdown.spawn_loop("committer", writer);
        }
        Self { queue }
    }

    /// Where starts are refused while too many wait.
    pub fn gate(&self) -> &Gate {
        &self.queue.gate
    }

    /// Waits until so many answers of a stream may be submitted; hold it until they are told.
    pub async fn room(&self, answers: usize) -> Room {
        self.queue.room(answers).await
    }

    /// Does one thing; returns after it is durable, or was refused without a trace.
    pub async fn submit(&self, command: Command) -> Result<Done> {
        self.queue(command, None).await
    }

    /// Does what a row of `commands` asks for, and deletes the row with that; or only deletes it, if there is
    /// nothing to do any more. After an error it is still there.
    pub async fn take_up(&self, row: Uuid, command: Command) -> Result<Done> {
        self.queue(command, Some(row)).await
    }

    /// The same as [`submit`](Self::submit) for who does not wait: `then` is called with what came of it, or dropped if
    /// the service stops before.
    pub fn submit_then(
        &self,
        command: Command,
        then: impl FnOnce(Result<Done>) + Send + Sync + 'static,
    ) {
        self.put(command, None, Box::new(then));
    }

    async fn queue(&self, command: Command, row: Option<Uuid>) -> Result<Done> {
        let (reply, answer) = oneshot::channel();
        // Nobody listens any more: the effect stands all the same.
        let reply = |result| drop(reply.send(result));
        self.put(command, row, Box::new(reply));
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }

    fn put(&self, command: Command, row: Option<Uuid>, reply: Reply) {
        let pending = Pending {
            row,
            id: Uuid::now_v7(),
            caller: CallerGone::current(),
            reply: Some(reply),
            ..Pending::of(command)
        };
        self.queue.put(pending);
    }
}

fn stopping() -> Error {
    Error::unavailable("STOPPING", "the service is stopping")
}

/// A writer: what arrived during one transaction is the next one.
async fn write(shared: Arc<Shared>, inbox: Arc<tokio::sync::Mutex<Inbox>>, shutdown: Shutdown) {
    loop {
        let (batch, committing) = {
            let mut inbox = inbox.lock().await;
            let batch = gather(&shared, &mut inbox, &shutdown).await;
            (batch, Committing::begin(&shared))
        };
        let is_last = batch.is_empty();
        let batch = shared.queue.gate.without_abandoned(batch);
        if !batch.is_empty() {
            let starts = batch.iter().filter(|it| it.is_start()).count();
            let begun = Instant::now();
            let span = span(&batch);
            batch::commit(&shared, batch).instrument(span).await;
            shared.queue.gate.note(starts, begun.elapsed());
        }
        drop(committing);
        if is_last {
            return;
        }
    }
}

/// A writer that commits, until this is dropped.
struct Committing<'a>(&'a Shared);

impl<'a> Committing<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.committing.send_modify(|writers| *writers += 1);
        Self(shared)
    }
}

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        self.0.committing.send_modify(|writers| *writers -= 1);
    }
}

/// What is written next: all that is there, once the other writer has committed, or takes long, or the batch is worth
/// a transaction beside that one. Nothing if the service stops.
async fn gather(shared: &Shared, inbox: &mut Inbox, shutdown: &Shutdown) -> Vec<Pending> {
    let mut committing = shared.committing.subscribe();
    let mut batch = Vec::with_capacity(BATCH);
    let mut due = tokio::time::Instant::now();
    loop {
        let is_alone = *committing.borrow_and_update() == 0;
        if batch.len() >= CROWD || (is_alone && !batch.is_empty()) {
            return batch;
        }
        let is_empty = batch.is_empty();
        tokio::select! {
            biased;
            // What was accepted is written even while stopping; callers still wait for it.
            more = inbox.more(&mut batch) => if !more { return batch },
            () = shutdown.soft.cancelled(), if is_empty => return batch,
            () = tokio::time::sleep_until(due), if !is_empty => return batch,
            _ = committing.changed() => {}
        }
        if is_empty {
            due = tokio::time::Instant::now() + GATHER;
        }
    }
}

/// The span of a batch: a child of its first caller's, linked with the others'.
fn span(batch: &[Pending]) -> tracing::Span {
    let first = batch.first().map(|pending| pending.span.id());
    let span = tracing::info_span!(parent: first.flatten(), "commit", commands = batch.len());
    for pending in batch.iter().skip(1) {
        span.follows_from(&pending.span);
    }
    span
}

impl Pending {
    /// For which nobody waits.
    fn of(command: Command) -> Self {
        Self {
            command,
            row: None,
            id: Uuid::nil(),
            graph: None,
            barred: None,
            busy: 0,
            place: None,
            caller: CallerGone::default(),
            span: tracing::Span::current(),
            reply: None,
        }
    }

    /// Whether only the catalog knows what it would run.
    fn asks_the_catalog(&self) -> bool {
        self.runs().is_some() && self.graph.is_none() && self.barred.is_none()
    }

    /// The workflow that it starts an execution of, and the version if it is not the current one.
    fn runs(&self) -> Option<(Uuid, Option<i32>)> {
        match (&self.command.target, &self.command.action) {
            (Target::New(new), _) if new.simulated.is_none() => {
                Some((new.workflow_id, new.origin.version()))
            }
            (_, Action::Call(call)) => Some((call.workflow_id, None)),
            _ => None,
        }
    }

    fn answer(mut self, result: Result<Done>) {
        if let Some(reply) = self.reply.take() {
            reply(result);
        }
    }

    /// Tries again a little later.
    fn put_off(mut self, shared: &Arc<Shared>) {
        self.busy += 1;
        if self.busy > BUSY_TRIES {
            let busy = Error::unavailable(BUSY, "somebody else is changing it");
            return self.answer(Err(busy));
        }
        let queue = shared.queue.clone();
        tokio::spawn(async move {
            tokio::time::sleep(BUSY_PAUSE).await;
            queue.put_back(self).await;
        });
    }
}

impl Shared {
    /// Goes on with an execution that used up its slice. If the queue is full, the timer loop does.
    fn resume(&self, execution_id: Uuid) {
        self.queue.put(Pending::of(Command {
            target: Target::Execution(execution_id),
            action: Action::Resume,
            request: None,
            actor: Actor::default(),
        }));
    }
}
