//! How many transactions an execution takes, by PostgreSQL's own count. Invariant: whatever commits in the
//! database counts, all three services; only what an idle platform commits while the count settles is taken off.

use std::time::{Duration, Instant};

use proto::catalog::v1::Workflow;
use sqlx::PgPool;

use super::limit::at_most;
use super::{drive, say};
use crate::client::Session;

pub const IN_FLIGHT: usize = 1024;
const LIMIT: f64 = 0.05;
/// A session that has nothing to do reports what it has done after ten seconds.
const REPORTED: Duration = Duration::from_secs(11);

/// Counts over runs of five steps and of five jobs.
pub async fn measure(
    pool: &PgPool,
    sessions: &[Session],
    (steps, jobs): (&Workflow, &Workflow),
    step_runs: usize,
    job_runs: usize,
) -> anyhow::Result<()> {
    let first = settled(pool).await?;
    let idle = settled(pool).await? - first;
    let before = first + idle;
    drive::steps(sessions, steps, step_runs, IN_FLIGHT).await?;
    let between = settled(pool).await?;
    drive::jobs(sessions, jobs, job_runs, IN_FLIGHT).await?;
    let after = settled(pool).await?;
    let each =
        |committed: i64, executions: usize| (committed - idle).max(0) as f64 / executions as f64;
    let what = format!("transactions/execution of five steps at {IN_FLIGHT} in flight");
    say(&at_most(each(between - before, step_runs), LIMIT, &what))?;
    say(&format!(
        "{:.3} transactions/execution of five jobs at {IN_FLIGHT} in flight",
        each(after - between, job_runs)
    ))
}

/// Transactions committed so far, after every session has told of its own.
async fn settled(pool: &PgPool) -> anyhow::Result<i64> {
    let begun = Instant::now();
    tokio::time::sleep(REPORTED.saturating_sub(begun.elapsed())).await;
    Ok(sqlx::query_scalar(
        "-- bench.committed
        select xact_commit from pg_stat_database where datname = current_database()",
    )
    .fetch_one(pool)
    .await?)
}
