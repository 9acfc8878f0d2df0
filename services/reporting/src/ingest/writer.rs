//! The one task of a replica that writes figures.
//! Invariant: only a part that can never be applied is set aside; while the database is away, everything
//! waits where it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::{Error, Result, db, fail_point};
use chrono::{DateTime, Utc};
use model::event::ExecutionEvents;
use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::apply;
use super::intake::{Item, Row};
use crate::meters;
use crate::store::{self, EVENTS_REFUSED};
use crate::wire::{Part, encode, merge};

/// What one transaction takes; a single row may be larger.
const BATCH_BYTES: usize = 2 * 1024 * 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Writer {
    items: mpsc::Receiver<Item>,
    complete: watch::Sender<Option<DateTime<Utc>>>,
}

/// What is written at once.
#[derive(Debug, Default)]
struct Batch {
    rows: Vec<Row>,
    settled: Vec<mpsc::Sender<Uuid>>,
    room: Vec<OwnedSemaphorePermit>,
    bytes: usize,
    complete_through: Option<DateTime<Utc>>,
}

impl Writer {
    pub(super) fn new(
        items: mpsc::Receiver<Item>,
        complete: watch::Sender<Option<DateTime<Utc>>>,
    ) -> Self {
        Self { items, complete }
    }

    /// Ends with `soft`: rows that are still queued stay with their senders.
    pub async fn run(mut self, pool: PgPool, soft: CancellationToken) {
        while let Some(Some(first)) = soft.run_until_cancelled(self.items.recv()).await {
            let batch = self.gather(first);
            if soft
                .run_until_cancelled(insist(&pool, &batch.rows))
                .await
                .is_none()
            {
                return;
            }
            fail_point!("counting.before_ack");
            self.acknowledge(batch);
            fail_point!("counting.after_ack");
        }
    }

    /// Whatever came during the last write is the next batch.
    fn gather(&mut self, first: Item) -> Batch {
        let mut batch = Batch::default();
        batch.add(first);
        while batch.bytes < BATCH_BYTES {
            match self.items.try_recv() {
                Ok(item) => batch.add(item),
                Err(_) => break,
            }
        }
        batch
    }

    fn acknowledge(&self, batch: Batch) {
        for (row, settled) in batch.rows.iter().zip(&batch.settled) {
            // A stream that is gone will send the row again; there is nobody to tell.
            let _ = settled.try_send(row.id);
        }
        if batch.complete_through.is_some() {
            self.complete
                .send_modify(|latest| *latest = (*latest).max(batch.complete_through));
        }
    }
}

impl Batch {
    fn add(&mut self, item: Item) {
        match item {
            Item::Row { row, settled, room } => {
                self.bytes += row.bytes;
                self.rows.push(row);
                self.settled.push(settled);
                self.room.push(room);
            }
            Item::CompleteThrough(instant) => {
                self.complete_through = self.complete_through.max(Some(instant));
            }
        }
    }
}

/// Tries until the database takes it.
async fn insist(pool: &PgPool, rows: &[Row]) {
    let mut pause = FIRST_PAUSE;
    while let Err(error) = settle(pool, rows).await {
        tracing::warn!(%error, rows = rows.len(), "step events wait for the database");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Counts or holds everything that can be, and parks the rest.
pub async fn settle(pool: &PgPool, rows: &[Row]) -> Result<()> {
    let mut readable = Vec::new();
    let mut aside: BTreeMap<usize, Aside> = BTreeMap::new();
    for (row, parts) in rows.iter().map(|row| &row.parts).enumerate() {
        for part in parts {
            match part {
                Part::Read(events) => readable.push((row, Arc::clone(events))),
                Part::Unread { bytes, error } => {
                    aside.entry(row).or_default().add(bytes.clone(), error);
                }
            }
        }
    }
    for (row, events, error) in count(pool, readable).await? {
        aside
            .entry(row)
            .or_default()
            .add(encode(&events), error.message());
    }
    for (row, aside) in aside {
        db::patiently(aside.park(pool, rows[row].id)).await?;
    }
    Ok(())
}

/// The events of one execution, and the number of their row in the batch.
type Numbered = (usize, Arc<ExecutionEvents>);

/// Applies all parts but those that can never be applied, which it finds by halving. Returns them.
async fn count(
    pool: &PgPool,
    parts: Vec<Numbered>,
) -> Result<Vec<(usize, Arc<ExecutionEvents>, Error)>> {
    let mut refused = Vec::new();
    let mut open = vec![parts.as_slice()];
    while let Some(parts) = open.pop() {
        let events = parts.iter().map(|(_, events)| Arc::clone(events)).collect();
        match (apply(pool, events).await, parts) {
            (Ok(()), _) | (Err(_), []) => {}
            (Err(error), _) if error.reason() != EVENTS_REFUSED => return Err(error),
            (Err(error), [(row, events)]) => refused.push((*row, Arc::clone(events), error)),
            (Err(_), parts) => {
                let (first, second) = parts.split_at(parts.len() / 2);
                // In the order of arrival: a predecessor is counted before its successors.
                open.extend([second, first]);
            }
        }
    }
    Ok(refused)
}

/// The parts of one row that are set aside, and why the first one is.
#[derive(Debug, Default)]
struct Aside {
    parts: Vec<Vec<u8>>,
    error: Option<String>,
}

impl Aside {
    fn add(&mut self, part: Vec<u8>, error: &str) {
        self.parts.push(part);
        self.error.get_or_insert_with(|| error.to_owned());
    }

    async fn park(self, pool: &PgPool, row_id: Uuid) -> Result<()> {
        let error = self.error.unwrap_or_default();
        let executions = self.parts.len();
        tracing::error!(%row_id, executions, error, "step events parked: they can never be counted");
        meters::parked(1);
        let payload = merge(row_id, self.parts);
        let mut conn = db::acquire(pool).await?;
        store::parked::park(&mut conn, row_id, &payload, &error).await
    }
}
