//! The loop that purges what has been over for long. Invariant: a batch is small and a pause follows it, so that
//! nobody else notices; reports stay.

use std::time::Duration;

use chassis::{Result, Shutdown, db};
use sqlx::PgPool;
use tokio::time::Instant;

use crate::store::bulk;
use crate::store::retention::{self, Cursor, Horizons, Purged};

/// Executions of one transaction, and logs after which no other execution joins them.
const BATCH: (i64, i64) = (200, 5000);
/// A pass follows the end of the last one.
const EVERY: Duration = Duration::from_secs(3600);
/// The first pass: not while everything is starting.
const FIRST: Duration = Duration::from_secs(60);
/// Purging takes a fifth of the time at most.
const REST: u32 = 4;
const SHORTEST_REST: Duration = Duration::from_millis(50);

/// For how many days executions are kept after their end. `None`: for ever.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    pub days: Option<i32>,
    pub simulation_days: Option<i32>,
}

/// Purges now and then until told to stop.
pub async fn run(pool: PgPool, policy: Policy, shutdown: Shutdown) {
    let soft = &shutdown.soft;
    let mut pause = FIRST;
    while soft
        .run_until_cancelled(tokio::time::sleep(pause))
        .await
        .is_some()
    {
        pause = EVERY;
        if let Some(Err(error)) = soft.run_until_cancelled(pass(&pool, policy)).await {
            tracing::warn!(%error, "what is to be purged stays a little longer");
        }
    }
}

/// Purges all that is due.
async fn pass(pool: &PgPool, policy: Policy) -> Result<()> {
    let forgotten = db::patiently(async {
        let mut conn = db::acquire(pool).await?;
        Ok(bulk::forget(&mut conn).await?)
    });
    forgotten.await?;
    let horizons = db::patiently(horizons(pool, policy)).await?;
    if horizons.executions < horizons.policy {
        let until = horizons.executions;
        tracing::warn!(
            ?until,
            "reporting lacks events of what is to be purged: it stays until they are sent"
        );
    }
    let mut gone = 0;
    for simulations in [false, true] {
        let mut cursor = None;
        loop {
            let begun = Instant::now();
            let purged = batch(pool, horizons, simulations, cursor).await?;
            gone += purged.executions;
            let Some(last) = purged.cursor else { break };
            cursor = Some(last);
            tokio::time::sleep((begun.elapsed() * REST).max(SHORTEST_REST)).await;
        }
    }
    if gone > 0 {
        tracing::info!(executions = gone, "purged");
    }
    Ok(())
}

async fn horizons(pool: &PgPool, policy: Policy) -> Result<Horizons> {
    let mut conn = db::acquire(pool).await?;
    let Policy {
        days,
        simulation_days,
    } = policy;
    Ok(retention::horizons(&mut conn, days, simulation_days).await?)
}

/// One transaction. It is cut short by nobody but the end of the process, and leaves nothing half done.
async fn batch(
    pool: &PgPool,
    horizons: Horizons,
    simulations: bool,
    after: Option<Cursor>,
) -> Result<Purged> {
    let before = match simulations {
        true => horizons.simulations,
        false => horizons.executions,
    };
    let Some(before) = before else {
        return Ok(Purged {
            executions: 0,
            cursor: None,
        });
    };
    db::transaction(pool, async move |conn| {
        Ok(retention::purge(conn, before, simulations, after, BATCH).await?)
    })
    .await
}

#[cfg(test)]
mod tests;
