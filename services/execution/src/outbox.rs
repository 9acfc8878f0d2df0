//! Sends step events to reporting. Invariant: a row leaves the table only after its acknowledgement; rows
//! that are handed over directly only save time, what is still in the table a little later is sent from
//! there.

mod filling;
mod flight;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use chassis::client::Peer;
use chassis::{Result, Shutdown, db, fail_point};
use chrono::{DateTime, Utc};
use model::wire;
use opentelemetry::metrics::{Counter, Gauge};
use prost::Message;
use prost::bytes::Bytes;
use proto::reporting::v1::step_event_service_client::StepEventServiceClient;
use proto::reporting::v1::{StreamStepEventsRequest, StreamStepEventsResponse};
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::store;
pub use filling::Filling;
use flight::{Flight, MOST_ROWS};

/// A row of the outbox: an encoded StreamStepEventsRequest with `executions` and nothing else.
#[derive(Debug, Clone)]
pub struct OutboxRow {
    pub id: Uuid,
    pub payload: Bytes,
}

/// Rows that writers may hand over before one is sent; a writer that finds no room leaves it at that.
pub const HANDED: usize = MOST_ROWS;

/// Larger rows could not be received.
const LARGEST_ROW: usize = 3 * 1024 * 1024;
/// How often the table is looked at, and how old a row is that must have been handed over in vain.
const POLL: Duration = Duration::from_secs(1);
const AGE: Duration = Duration::from_secs(2);
/// Rows read from the table at once.
const READ: usize = 50;
/// Acknowledged rows are deleted together: so many, or at the latest after this time.
const DELETE: usize = 256;
const SETTLE: Duration = Duration::from_millis(100);
/// A stream on which nothing was acknowledged for so long is dead, whatever it says.
const SILENCE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Shorter outages are everyday: services start and restart in any order.
const PATIENCE: Duration = Duration::from_secs(1);

/// Sends until told to stop.
pub async fn run(
    pool: PgPool,
    reporting: Peer,
    handed: mpsc::Receiver<OutboxRow>,
    shutdown: Shutdown,
) {
    let meter = opentelemetry::global::meter("execution");
    let mut sender = Sender {
        pool,
        client: StepEventServiceClient::new(reporting),
        handed,
        shutdown: shutdown.clone(),
        flight: Flight::default(),
        backlog: VecDeque::new(),
        may_hold_more: false,
        progress: Instant::now(),
        heard: false,
        complete_through: DateTime::UNIX_EPOCH,
        parked: meter
            .u64_counter("execution.outbox.parked")
            .with_description("Rows that could not be sent and were left alone for a while")
            .build(),
        lag: meter
            .f64_gauge("execution.outbox.lag")
            .with_unit("s")
            .with_description("Age of the oldest event that reporting has not acknowledged")
            .build(),
    };
    let mut pause = FIRST_PAUSE;
    loop {
        sender.heard = false;
        let ended = sender.stream().await;
        sender.settle().await;
        let Some(ended) = ended else { return };
        if sender.heard {
            pause = FIRST_PAUSE;
        }
        sender.break_off(&ended, pause > PATIENCE);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.soft.cancelled() => return,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Why a stream came to an end.
#[derive(Debug)]
enum Ended {
    /// The connection is gone, or reporting said what is wrong.
    Broken(Box<Status>),
    Closed,
    Silent,
}

struct Sender {
    pool: PgPool,
    client: StepEventServiceClient<Peer>,
    handed: mpsc::Receiver<OutboxRow>,
    shutdown: Shutdown,
    flight: Flight,
    /// Rows found in the table that are to be sent, with their sizes.
    backlog: VecDeque<store::outbox::Waiting>,
    /// Whether the table may hold more than the last look at it returned.
    may_hold_more: bool,
    /// When a row was acknowledged last, or nothing was waiting for it.
    progress: Instant,
    /// Whether this stream has acknowledged anything.
    heard: bool,
    /// As reporting was told last.
    complete_through: DateTime<Utc>,
    parked: Counter<u64>,
    lag: Gauge<f64>,
}

type Wire = mpsc::Sender<StreamStepEventsRequest>;

impl Sender {
    /// One stream, until it breaks; nothing if it ended because the service stops.
    async fn stream(&mut self) -> Option<Ended> {
        // Never full: what is on its way is bounded, and so are the watermarks between.
        let (wire, requests) = mpsc::channel(2 * MOST_ROWS);
        let soft = self.shutdown.soft.clone();
        let opened = tokio::select! {
            opened = self.client.stream_step_events(ReceiverStream::new(requests)) => opened,
            () = soft.cancelled() => return None,
        };
        let mut acks = match opened {
            Ok(acks) => acks.into_inner(),
            Err(status) => return Some(Ended::Broken(Box::new(status))),
        };
        self.progress = Instant::now();
        self.backlog.clear();
        let mut poll = ticks(POLL);
        let mut settle = ticks(SETTLE);
        loop {
            let next = self.backlog.front().map(|row| row.id);
            let room = self.flight.has_room(next.as_ref());
            tokio::select! {
                biased;
                () = soft.cancelled() => return None,
                ack = acks.message() => match ack {
                    Ok(Some(ack)) => self.acknowledge(ack).await,
                    Ok(None) => return Some(Ended::Closed),
                    Err(status) => return Some(Ended::Broken(Box::new(status))),
                },
                _ = settle.tick(), if !self.flight.acknowledged().is_empty() => self.settle().await,
                _ = poll.tick() => {
                    if !self.flight.is_empty() && self.progress.elapsed() > SILENCE {
                        return Some(Ended::Silent);
                    }
                    self.look().await;
                    self.tell_complete_through(&wire).await;
                }
                () = std::future::ready(()), if room && next.is_some() => self.send_backlog(&wire).await,
                () = std::future::ready(()), if room && self.may_hold_more => self.look().await,
                Some(row) = self.handed.recv(), if room => {
                    fail_point!("outbox.before_send");
                    self.send(&wire, row);
                }
            }
        }
    }

    async fn acknowledge(&mut self, ack: StreamStepEventsResponse) {
        self.progress = Instant::now();
        self.heard = true;
        for id in ack.row_ids.iter().filter_map(|id| id.parse().ok()) {
            self.flight.acknowledge(id);
        }
        if self.flight.acknowledged().len() >= DELETE {
            self.settle().await;
        }
    }

    /// Deletes what is acknowledged. If that fails it is tried again; sending a row twice does no harm.
    async fn settle(&mut self) {
        if self.flight.acknowledged().is_empty() {
            return;
        }
        match db::patiently(self.delete()).await {
            Ok(()) => self.flight.forget_acknowledged(),
            Err(error) => tracing::warn!(%error, "acknowledged events stay a little longer"),
        }
    }

    async fn delete(&self) -> Result<()> {
        let mut conn = db::acquire(&self.pool).await?;
        fail_point!("outbox.before_delete");
        store::outbox::delete(&mut conn, self.flight.acknowledged()).await?;
        fail_point!("outbox.after_delete");
        Ok(())
    }

    /// Finds rows in the table that nobody handed over, or that were sent in vain.
    async fn look(&mut self) {
        self.flight.unpark(Instant::now());
        match db::patiently(self.waiting()).await {
            Ok((rows, may_hold_more)) => {
                self.backlog = rows;
                self.may_hold_more = may_hold_more;
            }
            Err(error) => {
                self.may_hold_more = false;
                tracing::warn!(%error, "the outbox cannot be read");
            }
        }
    }

    async fn waiting(&self) -> Result<(VecDeque<store::outbox::Waiting>, bool)> {
        let mut conn = db::acquire(&self.pool).await?;
        let limit = self.flight.known() + MOST_ROWS;
        let found = store::outbox::waiting(&mut conn, AGE, limit as i64).await?;
        let is_full = found.len() == limit;
        let unknown = found.into_iter().filter(|row| !self.flight.knows(&row.id));
        Ok((unknown.collect(), is_full))
    }

    /// Sends as much of the backlog as there is room for, a piece at a time.
    async fn send_backlog(&mut self, wire: &Wire) {
        let mut ids = Vec::new();
        while let Some(row) = self.backlog.front() {
            let is_suspect_next = !ids.is_empty() && self.flight.is_suspect(&row.id);
            if ids.len() == READ || is_suspect_next {
                break;
            }
            let row = self.backlog.pop_front().expect("it was looked at");
            if row.size as usize > LARGEST_ROW {
                self.park(row.id, "it is too large");
                continue;
            }
            let is_suspect = self.flight.is_suspect(&row.id);
            ids.push(row.id);
            if is_suspect {
                break;
            }
        }
        match db::patiently(self.payloads(&ids)).await {
            Ok(rows) => rows.into_iter().for_each(|row| self.send(wire, row)),
            Err(error) => tracing::warn!(%error, "the outbox cannot be read"),
        }
    }

    async fn payloads(&self, ids: &[Uuid]) -> Result<Vec<OutboxRow>> {
        let mut conn = db::acquire(&self.pool).await?;
        let rows = store::outbox::payloads(&mut conn, ids).await?;
        let rows = rows.into_iter().map(|(id, payload)| OutboxRow {
            id,
            payload: payload.into(),
        });
        Ok(rows.collect())
    }

    fn send(&mut self, wire: &Wire, row: OutboxRow) {
        if self.flight.knows(&row.id) {
            return;
        }
        let bytes = row.payload.len();
        match StreamStepEventsRequest::decode(row.payload) {
            Err(error) => self.park(row.id, &error.to_string()),
            Ok(mut request) => {
                if self.flight.is_empty() {
                    self.progress = Instant::now();
                }
                request.row_id = row.id.to_string();
                request.complete_through = None;
                if wire.try_send(request).is_ok() {
                    self.flight.sent(row.id, bytes);
                }
            }
        }
    }

    fn park(&mut self, id: Uuid, why: &str) {
        tracing::error!(row = %id, why, "an outbox row cannot be sent; the others go on");
        self.parked.add(1, &[]);
        self.flight.park(id, Instant::now());
    }

    /// Says up to when everything has been acknowledged, if that has moved.
    async fn tell_complete_through(&mut self, wire: &Wire) {
        let at = match db::patiently(self.horizon()).await {
            Ok(at) => at,
            Err(error) => {
                tracing::warn!(%error, "the outbox cannot be read");
                return;
            }
        };
        if at <= self.complete_through {
            return;
        }
        let told = StreamStepEventsRequest {
            complete_through: Some(wire::timestamp(at)),
            ..StreamStepEventsRequest::default()
        };
        if wire.try_send(told).is_ok() {
            self.complete_through = at;
        }
    }

    /// Before this instant nothing is under way: no transaction that is still open began earlier, and no
    /// row that was committed is older.
    async fn horizon(&self) -> Result<DateTime<Utc>> {
        let (now, writer) = db::transaction(&self.pool, async |conn| {
            Ok(store::outbox::oldest_writer(conn).await?)
        })
        .await?;
        let mut conn = db::acquire(&self.pool).await?;
        let row = store::outbox::oldest(&mut conn).await?;
        let lag = row.map_or(0.0, |row| (now - row).as_seconds_f64());
        self.lag.record(lag.max(0.0), &[]);
        Ok(row.map_or(writer, |row| row.min(writer)))
    }

    fn break_off(&mut self, ended: &Ended, lasting: bool) {
        let verdict = matches!(ended, Ended::Broken(status) if is_verdict(status));
        if verdict || lasting {
            tracing::warn!(?ended, "reporting does not take events");
        } else {
            tracing::debug!(?ended, "reporting does not take events");
        }
        if let Some(id) = self.flight.break_off(verdict, Instant::now()) {
            tracing::error!(row = %id, "reporting refuses an outbox row; the others go on");
            self.parked.add(1, &[]);
        }
    }
}

/// Whether reporting found fault with what it got, as opposed to being away or busy.
fn is_verdict(status: &Status) -> bool {
    let says_so = matches!(
        status.code(),
        Code::InvalidArgument
            | Code::OutOfRange
            | Code::FailedPrecondition
            | Code::Internal
            | Code::Unknown
            | Code::DataLoss
    );
    // A connection that broke has a cause on this side.
    says_so && std::error::Error::source(status).is_none()
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
