//! The way in.
//! Invariant: what is queued is bounded in bytes over all streams; who sends more waits.

use std::sync::Arc;

use chassis::{Error, Result};
use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use uuid::Uuid;

use crate::wire::Part;

/// Twice what one batch takes, so that the next one gathers while one is written, and room for a row of
/// the greatest size that a message can have.
const MOST_KIB: u32 = 8 * 1024;
pub(super) const MOST_ITEMS: usize = 4096;

/// A row of a sender's outbox.
#[derive(Debug)]
pub struct Row {
    pub id: Uuid,
    pub parts: Vec<Part>,
    /// Its size on the wire.
    pub bytes: usize,
}

/// What the writer is given, in the order in which it came.
#[derive(Debug)]
pub(super) enum Item {
    Row {
        row: Row,
        settled: mpsc::Sender<Uuid>,
        room: OwnedSemaphorePermit,
    },
    /// The senders have been told that everything before this instant is settled.
    CompleteThrough(DateTime<Utc>),
}

#[derive(Debug, Clone)]
pub struct Intake {
    items: mpsc::Sender<Item>,
    room: Arc<Semaphore>,
}

impl Intake {
    pub(super) fn new(items: mpsc::Sender<Item>) -> Self {
        let room = Arc::new(Semaphore::new(MOST_KIB as usize));
        Self { items, room }
    }

    /// Waits for room. `settled` gets the row's id in the end; it must have a place free for it.
    pub async fn row(&self, row: Row, settled: mpsc::Sender<Uuid>) -> Result<()> {
        let kib = u32::try_from(row.bytes / 1024).unwrap_or(MOST_KIB);
        let room = Arc::clone(&self.room).acquire_many_owned(kib.clamp(1, MOST_KIB));
        let room = room.await.map_err(|_| stopping())?;
        self.send(Item::Row { row, settled, room }).await
    }

    /// Takes effect after everything that was given before.
    pub async fn complete_through(&self, instant: DateTime<Utc>) -> Result<()> {
        self.send(Item::CompleteThrough(instant)).await
    }

    async fn send(&self, item: Item) -> Result<()> {
        self.items.send(item).await.map_err(|_| stopping())
    }
}

fn stopping() -> Error {
    Error::unavailable("STOPPING", "the service is stopping")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn senders_wait_when_the_queue_is_full_of_bytes() {
        let (items, mut queued) = mpsc::channel(MOST_ITEMS);
        let intake = Intake::new(items);
        let (settled, _settled) = mpsc::channel(2);
        let half = || Row {
            id: Uuid::now_v7(),
            parts: Vec::new(),
            bytes: MOST_KIB as usize * 1024 / 2 + 1024,
        };
        intake.row(half(), settled.clone()).await.unwrap();
        let second = intake.row(half(), settled);
        tokio::pin!(second);
        tokio::select! {
            biased;
            _ = &mut second => panic!("there is no room"),
            () = tokio::task::yield_now() => {}
        }
        // Written and dropped.
        drop(queued.recv().await);
        second.await.unwrap();
    }
}
