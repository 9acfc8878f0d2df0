//! The loop that notices instants: timeouts, ends of leases, ends of waits, slices left over.
//! Invariant: the table is the truth and the database's clock decides; what is noticed twice, or by two
//! replicas, happens once, because the committer judges it again under the execution's lock.

use std::time::Duration;

use chassis::{Result, Shutdown, db, fail_point};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use crate::committer::{Action, Command, Committer, Target};
use crate::engine::Actor;
use crate::store::{kept_signals, load, requests};

/// Waits taken up at once.
const AT_ONCE: i64 = 1000;
/// The longest nap: new instants may have come, from any replica.
const NAP: Duration = Duration::from_secs(1);
/// How often old request ids, and signals that nobody has taken, are forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(600);

/// Wakes what is due until told to stop.
pub async fn run(pool: PgPool, committer: Committer, shutdown: Shutdown) {
    let mut tidied = Instant::now();
    while !shutdown.soft.is_cancelled() {
        let nap = match wake(&pool, &committer).await {
            Ok(nap) => nap,
            Err(error) => {
                tracing::warn!(%error, "timers are late");
                NAP
            }
        };
        if tidied.elapsed() > HOUSEKEEPING {
            tidied = Instant::now();
            if let Err(error) = db::patiently(tidy(&pool)).await {
                tracing::warn!(%error, "old request ids and signals stay a little longer");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(nap) => {}
            () = shutdown.soft.cancelled() => {}
        }
    }
}

/// Wakes everything that is due; returns how long nothing will be.
pub async fn wake(pool: &PgPool, committer: &Committer) -> Result<Duration> {
    loop {
        let due = match db::patiently(look(pool)).await? {
            Ok(due) => due,
            Err(nap) => return Ok(nap),
        };
        fail_point!("timers.due");
        let mut waking = JoinSet::new();
        for id in due {
            let committer = committer.clone();
            let command = Command {
                target: Target::Wait(id),
                action: Action::Wake,
                request: None,
                actor: Actor::default(),
            };
            waking.spawn(async move { committer.submit(command).await });
        }
        for result in waking.join_all().await {
            // One that cannot be written must not keep the others waiting; it is due again next time.
            if let Err(error) = result {
                tracing::warn!(%error, "a timer could not be written");
                return Ok(NAP);
            }
        }
    }
}

/// What is due now, or how long nothing will be.
async fn look(pool: &PgPool) -> Result<Result<Vec<Uuid>, Duration>> {
    let mut conn = db::acquire(pool).await?;
    let due = load::due_waits(&mut conn, AT_ONCE).await?;
    if !due.is_empty() {
        return Ok(Ok(due));
    }
    let next = load::next_wake(&mut conn).await?;
    let next = next.map(|ms| Duration::from_secs_f64((ms / 1000.0).clamp(0.0, 1.0)));
    Ok(Err(next.unwrap_or(NAP).min(NAP)))
}

async fn tidy(pool: &PgPool) -> Result<()> {
    let mut conn = db::acquire(pool).await?;
    while requests::forget_requests(&mut conn).await? > 0 {}
    while kept_signals::forget_expired(&mut conn).await? > 0 {}
    Ok(())
}
