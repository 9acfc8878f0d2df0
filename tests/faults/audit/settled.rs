//! Whether the dust has settled. Invariant: settled means that every execution is over, every event is counted and
//! every report is written.

use std::time::{Duration, Instant};

use sqlx::PgPool;

use super::stuck;

const PAUSE: Duration = Duration::from_millis(100);

/// What is still under way, in words; empty if nothing is.
pub async fn settled(admin: &PgPool) -> sqlx::Result<String> {
    sqlx::query_scalar(
        "select concat_ws(', ',
            (select count(*) || ' executions open' from execution.workflow_executions
              where status in ('PENDING', 'RUNNING') having count(*) > 0),
            (select count(*) || ' commands' from execution.commands having count(*) > 0),
            (select count(*) || ' outbox rows' from execution.outbox having count(*) > 0),
            (select count(*) || ' held events' from reporting.held_events having count(*) > 0),
            (select count(*) || ' rebuilds' from reporting.rebuilds where finished_at is null having count(*) > 0),
            (select count(*) || ' stale days' from reporting.days where shown is distinct from mark having count(*) > 0))",
    )
    .fetch_one(admin)
    .await
}

/// How long it took, or everything that hangs, and why.
pub async fn until_settled(
    admin: &PgPool,
    since: Instant,
    patience: Duration,
) -> anyhow::Result<Result<Duration, Vec<String>>> {
    let deadline = Instant::now() + patience;
    loop {
        let left = settled(admin).await;
        match left {
            Ok(left) if left.is_empty() => return Ok(Ok(since.elapsed())),
            Ok(_) | Err(_) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            Ok(left) => {
                let mut lines = vec![format!("not settled within {patience:?}: {left}")];
                lines.extend(stuck::why(admin).await?);
                return Ok(Err(lines));
            }
            Err(error) => return Err(error.into()),
        }
    }
}
