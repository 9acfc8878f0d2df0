//! What every call of this service works with. Invariant: all of it can be lost without losing anything.

use std::sync::Arc;
use std::time::Duration;

use chassis::client::Peer;
use chassis::{Error, Result, Shutdown};
use sqlx::PgPool;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use crate::committer::Committer;
use crate::definitions::Definitions;
use crate::dispatch::Dispatch;
use crate::job_types::JobTypes;

/// Cheap to clone; no state that is not in PostgreSQL.
#[derive(Clone)]
pub struct Service {
    pub pool: PgPool,
    pub committer: Committer,
    pub definitions: Definitions,
    pub catalog: Peer,
    pub job_types: JobTypes,
    pub dispatch: Dispatch,
    /// For what computes for long without waiting: simulations and replays.
    pub computing: Arc<Semaphore>,
    /// Moves with every commit: a hint to look again, never the truth.
    pub changes: watch::Receiver<u64>,
    /// Moves with every commit that queued a job.
    pub jobs: watch::Receiver<u64>,
    pub shutdown: Shutdown,
}

/// Simulations and replays at once, and how long others wait for their turn.
pub const COMPUTING: usize = 2;
const TURN: Duration = Duration::from_secs(2);

impl Service {
    /// Leave to compute for long: those who cannot have it soon are told to come back, so that they cost the engine
    /// neither processors nor memory.
    pub async fn turn(&self) -> Result<SemaphorePermit<'_>> {
        let busy = || Error::exhausted("TOO_BUSY", "other simulations are under way", TURN);
        let turn = tokio::time::timeout(TURN, self.computing.acquire()).await;
        turn.map_err(|_| busy())?.map_err(Error::internal)
    }
}
