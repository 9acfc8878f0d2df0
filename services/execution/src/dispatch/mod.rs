//! The workers whose streams are open at this replica, and what each may still take. Invariant: a job counts against its
//! worker's credit from before it is leased until it is answered or its lease has ended, so no credit is given
//! twice; and a job goes past the queue only while the last look found nobody waiting there.

mod board;
mod leaser;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use uuid::Uuid;

use crate::leasing::Taker;
use crate::rpc::jobs::Outgoing;
use crate::rpc::jobs::job::Job;
use board::Board;

pub use leaser::Leaser;

/// A cheap handle, shared by streams, committer and leaser.
#[derive(Debug, Clone, Default)]
pub struct Dispatch(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    board: Mutex<Board>,
    /// Jobs that are being leased by transactions under way.
    reserved: AtomicUsize,
    /// A look into the queue is worth while.
    look: Arc<Notify>,
}

/// A worker's place at the board, until it is dropped.
#[derive(Debug)]
pub struct Place {
    dispatch: Dispatch,
    id: u64,
}

/// Credit for one job that is about to be leased; given back when it is dropped unused.
#[derive(Debug)]
pub struct Reserved {
    dispatch: Dispatch,
    id: u64,
    pub holder: Arc<str>,
    pub lease: Duration,
    is_used: bool,
}

impl Dispatch {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether jobs may still have to be given back.
    fn is_in_use(&self) -> bool {
        self.board().has_streams() || self.0.reserved.load(Ordering::Acquire) > 0
    }

    /// For what makes room for jobs elsewhere.
    pub fn look(&self) -> Arc<Notify> {
        self.0.look.clone()
    }

    /// A worker comes; `taker.limit` is its credit.
    pub fn join(&self, taker: Taker, outgoing: Outgoing) -> Place {
        let id = self.board().join(taker, outgoing);
        self.0.look.notify_one();
        Place {
            dispatch: self.clone(),
            id,
        }
    }

    /// Credit for a job that is queued by the transaction under way, unless others wait or nobody can take it.
    pub fn reserve(&self, job_type: &str) -> Option<Reserved> {
        let (id, holder, lease) = self.board().reserve(job_type)?;
        self.0.reserved.fetch_add(1, Ordering::Relaxed);
        Some(Reserved {
            dispatch: self.clone(),
            id,
            holder,
            lease,
            is_used: false,
        })
    }

    /// Hands over what was leased with the credit.
    pub fn hand_over(&self, jobs: Vec<(Reserved, Job)>) {
        if jobs.is_empty() {
            return;
        }
        let mut board = self.board();
        for (mut reserved, job) in jobs {
            reserved.is_used = true;
            board.hold(reserved.id, &reserved.holder, job);
        }
        let unseen = board.send();
        drop(board);
        if unseen {
            self.0.look.notify_one();
        }
    }

    /// A job that was leased with the credit is not to be handed over.
    pub fn take_back(&self, mut reserved: Reserved, job: Uuid) {
        reserved.is_used = true;
        let mut board = self.board();
        board.release(reserved.id);
        board.unseen.push((job, reserved.holder.clone()));
        drop(board);
        self.0.look.notify_one();
    }

    /// A commit has queued jobs of these types.
    pub fn queued<'a>(&self, job_types: impl Iterator<Item = &'a str>) {
        if self.board().queued(job_types) {
            self.0.look.notify_one();
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if !self.is_used {
            self.dispatch.board().release(self.id);
        }
        self.dispatch.0.reserved.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Place {
    pub fn set_credit(&self, credit: usize) {
        self.dispatch.board().set_credit(self.id, credit);
        self.dispatch.0.look.notify_one();
    }

    /// An answer to a job has come in.
    pub fn answered(&self, job: Uuid) {
        if self.dispatch.board().answered(self.id, job) {
            self.dispatch.0.look.notify_one();
        }
    }

    /// A job is held for so much longer.
    pub fn extended(&self, job: Uuid, lease: Duration) {
        self.dispatch.board().extended(self.id, job, lease);
    }
}

impl Drop for Place {
    /// What was not sent is given back.
    fn drop(&mut self) {
        self.dispatch.board().leave(self.id);
        self.dispatch.0.look.notify_one();
    }
}
