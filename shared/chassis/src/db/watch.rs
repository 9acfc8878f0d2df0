//! Whether the database answers. Invariant: a service that cannot reach its database says so within half a minute,
//! and serves again by itself.

use std::time::{Duration, Instant};

use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

use crate::server::Readiness;

/// How often it is asked while it answers, and while it does not.
const PACE: Duration = Duration::from_secs(5);
const HASTE: Duration = Duration::from_millis(500);
/// How long an answer or a connection may take.
const PATIENCE: Duration = Duration::from_secs(4);
/// A server that restarts is soon back: nobody has to know.
const SHORT: Duration = Duration::from_secs(10);

/// Keeps what the service says of itself true, once it was ready, until told to stop. Asks by a connection of its own,
/// so that a full pool is no outage.
pub async fn watch(pool: PgPool, readiness: Readiness, soft: CancellationToken) {
    let mut conn = None;
    let mut answered = Instant::now();
    while !soft.is_cancelled() {
        let Some(answers) = soft.run_until_cancelled(ask(&pool, &mut conn)).await else {
            return;
        };
        if answers {
            answered = Instant::now();
        }
        let serves = answers || answered.elapsed() < SHORT;
        if serves != readiness.is_ready() {
            tracing::warn!(serves, "whether the database answers has changed");
            readiness.set(serves);
        }
        let pause = if answers { PACE } else { HASTE };
        soft.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

async fn ask(pool: &PgPool, conn: &mut Option<PgConnection>) -> bool {
    if let Some(mut known) = conn.take()
        && matches!(
            tokio::time::timeout(PATIENCE, known.ping()).await,
            Ok(Ok(()))
        )
    {
        *conn = Some(known);
        return true;
    }
    let options = pool.connect_options();
    if let Ok(Ok(new)) = tokio::time::timeout(PATIENCE, options.connect()).await {
        *conn = Some(new);
    }
    conn.is_some()
}
