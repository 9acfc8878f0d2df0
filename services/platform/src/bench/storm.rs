//! `bench storm`: very many timers that are due in the same second. Invariant: what is asked for meanwhile is
//! measured as it is answered, one call after another for each caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;
use proto::catalog::v1::Workflow;
use serde_json::json;
use sqlx::PgPool;
use tokio::task::JoinSet;

use super::drive::{self, histogram};
use super::scale::{memory, start, write};
use super::seed::Copies;
use super::stage::Stage;
use super::{CHANNELS, apply, say};
use crate::client::{Session, again};

/// Callers of ordinary starts meanwhile, and how long each rests between two.
const CALLERS: usize = 16;
const REST: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(50);

/// Measures how long it takes until very many timers that are due at once have all fired.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Timers that are due in one second.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    timers: u32,
}

pub async fn measure(args: &Args) -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    let sessions = stage.sign_in(CHANNELS).await?;
    let waits = apply(&sessions[0], include_str!("waits.yaml")).await?;
    let steps = apply(&sessions[0], include_str!("steps.yaml")).await?;
    drive::steps(&sessions, &steps, 2000, CALLERS).await?;
    let original = start(&sessions[0], &waits, json!({ "waitsFor": "timer" })).await?;
    let copies = Copies {
        of: original.id.parse()?,
        first: 1,
        count: u64::from(args.timers) - 1,
    };
    write(&stage, copies, &format!("{} timers", args.timers)).await?;
    let before = meanwhile(&sessions, &steps, async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok(())
    })
    .await?;
    sqlx::query(
        "-- bench.storm
        update execution.waits
           set wake_at = clock_timestamp() + interval '2 seconds'
               + (row_number % 1000) * interval '1 millisecond'
          from (select id, row_number() over () from execution.waits where kind = 'timer') timers
         where timers.id = waits.id",
    )
    .execute(&stage.pool)
    .await?;
    while waiting(&stage.pool).await? == i64::from(args.timers) {
        tokio::time::sleep(LOOK).await;
    }
    let begun = Instant::now();
    let during = meanwhile(&sessions, &steps, async {
        while waiting(&stage.pool).await? > 0 {
            anyhow::ensure!(begun.elapsed() < PATIENCE, "timers are left");
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    })
    .await?;
    let took = begun.elapsed().as_secs_f64();
    let timers = args.timers;
    say(&format!(
        "{timers} timers due in one second: fired within {took:.1} s, {:.0} a second",
        f64::from(timers) / took
    ))?;
    let p99 = |latency: &Histogram<u64>| latency.value_at_quantile(0.99) as f64 / 1000.0;
    say(&format!(
        "{} starts meanwhile: p99 {:.0} ms, {:.0} ms at most; p99 {:.0} ms before",
        during.len(),
        p99(&during),
        during.max() as f64 / 1000.0,
        p99(&before)
    ))?;
    say(&format!(
        "reports had counted them {:.1} s later",
        counted(&sessions[0], &waits, timers).await?.as_secs_f64()
    ))?;
    memory(&stage)
}

/// Timers that have not fired.
async fn waiting(pool: &PgPool) -> anyhow::Result<i64> {
    let count = sqlx::query_scalar(
        "-- bench.timers
        select count(*) from execution.waits where kind = 'timer'",
    );
    count.fetch_one(pool).await.context("counting timers")
}

/// How long starts take while something else goes on; microseconds.
async fn meanwhile(
    sessions: &[Session],
    workflow: &Workflow,
    other: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Histogram<u64>> {
    let over = Arc::new(AtomicBool::new(false));
    let mut callers: JoinSet<anyhow::Result<Histogram<u64>>> = JoinSet::new();
    for caller in 0..CALLERS {
        let client = sessions[caller % sessions.len()].executions.clone();
        let (over, workflow) = (over.clone(), workflow.clone());
        callers.spawn(async move {
            let mut latency = histogram();
            while !over.load(Ordering::Relaxed) {
                let called = Instant::now();
                let request = drive::start(&workflow);
                again(&client, &request, |mut client, request| async move {
                    client.start_execution(request).await
                })
                .await?;
                latency.record(called.elapsed().as_micros() as u64)?;
                tokio::time::sleep(REST).await;
            }
            Ok(latency)
        });
    }
    let done = other.await;
    over.store(true, Ordering::Relaxed);
    let mut latency = histogram();
    while let Some(ended) = callers.join_next().await {
        latency.add(ended??)?;
    }
    done.map(|()| latency)
}

/// How long until reporting has counted what has fired.
async fn counted(session: &Session, workflow: &Workflow, timers: u32) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    loop {
        let request = proto::reporting::v1::SummarizeReportsRequest {
            workflow_id: workflow.id.clone(),
            ..Default::default()
        };
        let mut client = session.reports.clone();
        let summary = client.summarize_reports(request).await?.into_inner();
        let count = summary.total.map_or(0, |total| total.completed_executions);
        if count >= i64::from(timers) {
            return Ok(begun.elapsed());
        }
        anyhow::ensure!(
            begun.elapsed() < PATIENCE,
            "reports count {count} of {timers}"
        );
        tokio::time::sleep(LOOK * 4).await;
    }
}
