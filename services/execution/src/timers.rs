//! The loop that notices instants: timeouts, ends of leases, ends of waits, slices left over.
//! Invariant: the table is the truth and the database's clock decides; what is noticed twice, or by two
//! replicas, happens once, because the committer judges it again under the execution's lock.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use chassis::{Error, Result, Shutdown, db};
use sqlx::PgPool;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tonic::Code;
use uuid::Uuid;

use crate::committer::{Action, BUSY, Command, Committer, Done, Target};
use crate::engine::Actor;
use crate::store::{kept_signals, load, requests};

#[cfg(test)]
mod tests;

/// Waits on their way at once.
const AT_ONCE: usize = 1000;
/// How many times as many of the earliest are looked at, if there are as many.
const CHOICE: usize = 4;
/// The longest nap: new instants may have come, from any replica.
const NAP: Duration = Duration::from_secs(1);
/// How long a wait rests that could not be written, at first and at most: others get their turn meanwhile.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);
/// Waits that may rest; if there are more, something is wrong that resting does not help.
const MOST_RESTING: usize = 10_000;
/// How often old request ids, and signals that nobody has taken, are forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(600);

/// Wakes what is due until told to stop.
pub async fn run(pool: PgPool, committer: Committer, shutdown: Shutdown) {
    let mut tidied = Instant::now();
    let mut timers = Timers::new(pool, committer);
    while !shutdown.soft.is_cancelled() {
        let nap = match timers.wake().await {
            Ok(nap) => nap,
            Err(error) => {
                tracing::warn!(%error, "timers are late");
                NAP
            }
        };
        if tidied.elapsed() > HOUSEKEEPING {
            tidied = Instant::now();
            if let Err(error) = tidy(&timers.pool).await {
                tracing::warn!(%error, "old request ids and signals stay a little longer");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(nap) => {}
            () = shutdown.soft.cancelled() => {}
        }
    }
}

/// What is due, and what of it is on its way or left alone for a while.
struct Timers {
    pool: PgPool,
    committer: Committer,
    at_once: usize,
    /// Another one in every replica.
    taste: RandomState,
    waking: JoinSet<Result<Done>>,
    /// The waits that are being woken, by the task that waits for it.
    in_flight: HashMap<Id, Uuid>,
    resting: HashMap<Uuid, Rest>,
}

/// How long a wait rests, and until when.
#[derive(Debug, Clone, Copy)]
struct Rest {
    length: Duration,
    until: Instant,
}

impl Timers {
    fn new(pool: PgPool, committer: Committer) -> Self {
        Self {
            pool,
            committer,
            at_once: AT_ONCE,
            taste: RandomState::new(),
            waking: JoinSet::new(),
            in_flight: HashMap::new(),
            resting: HashMap::new(),
        }
    }

    /// Takes up everything that is due; returns how long nothing else will be. What cannot be written yet is still
    /// in flight then, or rests.
    async fn wake(&mut self) -> Result<Duration> {
        loop {
            while let Some(ended) = self.waking.try_join_next_with_id() {
                self.note(ended)?;
            }
            if self.in_flight.len() > self.at_once / 2 {
                if let Some(ended) = self.waking.join_next_with_id().await {
                    self.note(ended)?;
                }
                continue;
            }
            let others = self.others();
            let room = self.at_once.saturating_sub(self.in_flight.len());
            let mut conn = db::acquire(&self.pool).await?;
            let now = load::clock(&mut conn).await?;
            let limit = CHOICE * room + others.len();
            let due = load::due_waits(&mut conn, now, limit as i64).await?;
            let due = self.pick(due, &others, room);
            if due.is_empty() {
                let next = load::next_wake(&mut conn, now).await?;
                let next = next.map(|ms| Duration::from_secs_f64((ms / 1000.0).clamp(0.0, 1.0)));
                return Ok(next.unwrap_or(NAP).min(NAP));
            }
            drop(conn);
            for id in due {
                self.submit(id);
            }
        }
    }

    /// What is not taken up, though it is due.
    fn others(&mut self) -> HashSet<Uuid> {
        let now = Instant::now();
        // One that has not failed again for long is forgotten.
        self.resting
            .retain(|_, rest| now < rest.until + LONGEST_REST);
        let resting = self.resting.iter().filter(|(_, rest)| now < rest.until);
        let resting = resting.map(|(id, _)| *id);
        resting.chain(self.in_flight.values().copied()).collect()
    }

    /// Of what is due, as much as there is room for. If that is not all, every replica picks others.
    fn pick(&self, mut due: Vec<Uuid>, others: &HashSet<Uuid>, room: usize) -> Vec<Uuid> {
        due.retain(|id| !others.contains(id));
        if due.len() > room {
            due.sort_by_cached_key(|id| self.taste.hash_one(id));
            due.truncate(room);
        }
        due
    }

    fn submit(&mut self, id: Uuid) {
        let committer = self.committer.clone();
        let command = Command {
            target: Target::Wait(id),
            action: Action::Wake,
            request: None,
            actor: Actor::default(),
        };
        let task = async move { committer.submit(command).await };
        let task = self.waking.spawn(task);
        self.in_flight.insert(task.id(), id);
    }

    /// One that cannot be written does not keep the others waiting; all wait while the database is away.
    fn note(&mut self, ended: Result<(Id, Result<Done>), JoinError>) -> Result<()> {
        let (task, result) = match ended {
            Ok(ended) => ended,
            Err(crash) => (crash.id(), Err(Error::internal(crash))),
        };
        let Some(id) = self.in_flight.remove(&task) else {
            return Ok(());
        };
        match result {
            Ok(_) => {
                self.resting.remove(&id);
                Ok(())
            }
            Err(error) if error.code() == Code::Unavailable && error.reason() != BUSY => Err(error),
            Err(error) => {
                self.rest(id, &error);
                Ok(())
            }
        }
    }

    fn rest(&mut self, id: Uuid, error: &Error) {
        let before = self.resting.get(&id).map(|rest| rest.length);
        let length = before.map_or(FIRST_REST, |length| (length * 2).min(LONGEST_REST));
        tracing::warn!(%id, %error, rest = ?length, "a timer could not be written");
        if self.resting.len() < MOST_RESTING || before.is_some() {
            let until = Instant::now() + length;
            self.resting.insert(id, Rest { length, until });
        }
    }
}

async fn tidy(pool: &PgPool) -> Result<()> {
    let mut conn = db::acquire(pool).await?;
    while requests::forget_requests(&mut conn).await? > 0 {}
    while kept_signals::forget_expired(&mut conn).await? > 0 {}
    Ok(())
}
