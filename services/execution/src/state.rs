//! What every call of this service works with. Invariant: all of it can be lost without losing anything.

use chassis::Shutdown;
use chassis::client::Peer;
use sqlx::PgPool;
use tokio::sync::watch;

use crate::asked::Asked;
use crate::committer::Committer;
use crate::definitions::Definitions;

/// Cheap to clone; no state that is not in PostgreSQL.
#[derive(Clone)]
pub struct Service {
    pub pool: PgPool,
    pub committer: Committer,
    pub definitions: Definitions,
    pub catalog: Peer,
    pub asked: Asked,
    /// Moves with every commit: a hint to look again, never the truth.
    pub changes: watch::Receiver<u64>,
    /// Moves with every commit that queued a job.
    pub jobs: watch::Receiver<u64>,
    pub shutdown: Shutdown,
}
