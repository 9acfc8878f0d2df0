//! What the catalog does unasked. Invariant: a round that fails changes nothing; the next one makes up
//! for it.

use std::sync::Arc;
use std::time::Duration;

use chassis::{Result, Shutdown, db};
use chrono::TimeDelta;
use sqlx::PgPool;
use tokio::time::MissedTickBehavior;

use crate::identity::Signer;
use crate::store::requests;

/// Also how soon a signing key that another replica made is known here.
const EVERY: Duration = Duration::from_secs(30);
/// How long a request_id is remembered.
const REQUEST_LIFE: TimeDelta = TimeDelta::days(7);

pub async fn run(pool: PgPool, signer: Arc<Signer>, shutdown: Shutdown) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.soft.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = round(&pool, &signer).await {
            tracing::warn!(%error, "housekeeping is put off");
        }
    }
}

async fn round(pool: &PgPool, signer: &Signer) -> Result<()> {
    signer.refresh(pool).await?;
    let mut conn = pool.acquire().await?;
    let now = db::now(&mut conn).await?;
    requests::purge(&mut conn, now - REQUEST_LIFE).await
}
