//! Takes up what executions ask of each other. Invariant: the table is the truth, and a row that is seen twice, or
//! by two replicas, is done once: it goes in the transaction that holds its effect.

mod kept;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use chassis::{Result, Shutdown, db, fail_point};
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use uuid::Uuid;

use crate::committer::{self, Committer};
use crate::store::commands::{self, CommandRow};

/// Rows in flight at most; a payload may have 256 KiB.
const AT_ONCE: usize = 256;
/// Of those, starts: they wait for the catalog, and nothing else may wait with them.
const STARTS: usize = 64;
/// The longest nap: other replicas write rows, too.
const NAP: Duration = Duration::from_secs(1);

/// Rows on their way through the committer.
pub struct Pump {
    pool: PgPool,
    committer: Committer,
    working: JoinSet<()>,
    /// The rows that are in flight, by the task that waits for them.
    in_flight: HashMap<Id, (Uuid, bool)>,
}

impl Pump {
    pub fn new(pool: PgPool, committer: Committer) -> Self {
        Self {
            pool,
            committer,
            working: JoinSet::new(),
            in_flight: HashMap::new(),
        }
    }

    /// Takes rows up until told to stop. `hint` moves when this replica has written some.
    pub async fn run(mut self, mut hint: watch::Receiver<u64>, shutdown: Shutdown) {
        while !shutdown.soft.is_cancelled() {
            hint.mark_unchanged();
            if let Err(error) = self.take_up().await {
                tracing::warn!(%error, "commands between executions are late");
            }
            let is_full = self.in_flight.len() >= AT_ONCE;
            let room = async {
                while self.in_flight.len() > AT_ONCE / 2 {
                    self.settle().await;
                }
            };
            tokio::select! {
                () = room, if is_full => {}
                Ok(()) = hint.changed(), if !is_full => {}
                () = tokio::time::sleep(NAP) => {}
                () = shutdown.soft.cancelled() => {}
            }
            while let Some(done) = self.working.try_join_next_with_id() {
                self.note(done);
            }
        }
    }

    /// Hands what is due to the committer, as much as there is room for; returns how many rows that were.
    async fn take_up(&mut self) -> Result<usize> {
        let in_flight: Vec<Uuid> = self.in_flight.values().map(|(id, _)| *id).collect();
        let starts = self
            .in_flight
            .values()
            .filter(|(_, starts)| *starts)
            .count();
        let room = AT_ONCE.saturating_sub(in_flight.len()) as i64;
        let due = db::patiently(async {
            let mut conn = db::acquire(&self.pool).await?;
            let mut due = commands::due_commands(&mut conn, &in_flight, false, room).await?;
            let left = room - due.len() as i64;
            let starting = left.min(STARTS.saturating_sub(starts) as i64);
            due.extend(commands::due_commands(&mut conn, &in_flight, true, starting).await?);
            Ok(due)
        });
        let due = due.await?;
        let count = due.len();
        for row in due {
            let entry = (row.id, row.kind == committer::START);
            let task = submit(self.pool.clone(), self.committer.clone(), row);
            let task = self.working.spawn(task);
            self.in_flight.insert(task.id(), entry);
        }
        Ok(count)
    }

    /// Waits for one row; returns false if none is in flight.
    async fn settle(&mut self) -> bool {
        let Some(done) = self.working.join_next_with_id().await else {
            return false;
        };
        self.note(done);
        true
    }

    fn note(&mut self, done: Result<(Id, ()), JoinError>) {
        let task = match done {
            Ok((task, ())) => task,
            Err(error) => error.id(),
        };
        self.in_flight.remove(&task);
    }

    /// Takes up everything that is due, until nothing is; returns how many rows that were.
    #[cfg(test)]
    pub async fn drain(&mut self) -> usize {
        let mut all = 0;
        loop {
            let count = self.take_up().await.expect("the database answers");
            if count == 0 {
                return all;
            }
            all += count;
            while self.settle().await {}
        }
    }
}

/// Does what a row asks for. One that cannot be done now stays, and is not seen for a while.
async fn submit(pool: PgPool, committer: Committer, row: CommandRow) {
    let id = row.id;
    fail_point!("pump.before_take_up");
    let done = if row.kind == committer::KEPT {
        kept::announce(&pool, &committer, id, row.execution_id).await
    } else {
        match committer::read_command(row) {
            Ok(command) => committer.take_up(id, command).await.map(drop),
            Err(error) => Err(error),
        }
    };
    fail_point!("pump.after_take_up");
    let Err(error) = done else { return };
    tracing::warn!(%id, %error, "a command between executions is tried again later");
    let put_off = async {
        let mut conn = db::acquire(&pool).await?;
        commands::put_off_command(&mut conn, id).await?;
        Ok::<_, chassis::Error>(())
    };
    if let Err(error) = db::patiently(put_off).await {
        tracing::warn!(%id, %error, "it could not be put off");
    }
}
