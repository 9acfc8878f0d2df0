//! How far behind reporting is while the engine does all it can, and how soon it has caught up after it stood still.
//! Invariant: ages are of the database's clock, and nothing has caught up while an event is not counted.

use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use hdrhistogram::Histogram;
use model::wire;
use proto::catalog::v1::Workflow;
use proto::reporting::v1::SummarizeReportsRequest;
use sqlx::PgPool;

use super::super::drive::{self, histogram};
use super::super::stage::Stage;
use super::super::{CHANNELS, apply, say};
use super::load::Load;
use super::{Args, Counted, LOOK, PATIENCE, until_not};
use crate::client::Session;

/// Between two questions how far behind reporting is.
const ASK: Duration = Duration::from_millis(100);
/// Until the load is even.
const SETTLE: Duration = Duration::from_secs(3);
const NAME: &str = "Five steps of the engine";

pub async fn measure(stage: &Stage, args: &Args) -> anyhow::Result<()> {
    let sessions = stage.sign_in(CHANNELS).await?;
    let document = include_str!("../steps.yaml").replace(NAME, "Five steps under load");
    let workflow = apply(&sessions[0], &document).await?;
    let events = workflow.steps.len() as u64 + 2;
    drive::steps(&sessions, &workflow, 500, usize::from(args.in_flight)).await?;
    let load = Load::begin(&sessions, &workflow, args.in_flight);
    tokio::time::sleep(SETTLE).await;
    let (before, begun) = (load.done(), Instant::now());
    let time = Duration::from_secs(args.seconds);
    let ages = ages(&stage.pool, &sessions[0], &workflow, time).await?;
    let done = load.done() - before;
    let live = (done * events) as f64 / begun.elapsed().as_secs_f64();
    let seconds = |quantile| ages.value_at_quantile(quantile) as f64 / 1e6;
    say(&format!(
        "reports behind at {live:.0} events/s, {} in flight: p50 {:.2} s, p99 {:.2} s, asked {} times",
        args.in_flight,
        seconds(0.5),
        seconds(0.99),
        ages.len()
    ))?;

    stage.halt_reporting()?;
    tokio::time::sleep(Duration::from_secs(args.pause)).await;
    let missed = backlog(&stage.pool, &workflow).await?;
    stage.continue_reporting()?;
    load.stop().await?;
    let begun = Instant::now();
    let left = backlog(&stage.pool, &workflow).await?;
    let took = caught_up(&stage.pool, &workflow, begun).await?;
    let rate = left as f64 / took.as_secs_f64();
    say(&format!(
        "{missed} events waited after {} s without reporting, {left} when the load had ended",
        args.pause
    ))?;
    say(&format!(
        "caught up within {:.1} s, {rate:.0} events/s: {:.1} × the live rate",
        took.as_secs_f64(),
        rate / live
    ))
}

/// How old what reports promise to hold is, in microseconds.
async fn ages(
    pool: &PgPool,
    session: &Session,
    workflow: &Workflow,
    time: Duration,
) -> anyhow::Result<Histogram<u64>> {
    let today = now(pool)
        .await?
        .date_naive()
        .and_time(NaiveTime::MIN)
        .and_utc();
    let request = SummarizeReportsRequest {
        period_start: Some(wire::timestamp(today)),
        period_end: Some(wire::timestamp(today + TimeDelta::days(1))),
        workflow_id: workflow.id.clone(),
        ..Default::default()
    };
    let mut ages = histogram();
    let mut ticks = tokio::time::interval(ASK);
    let begun = Instant::now();
    while begun.elapsed() < time {
        ticks.tick().await;
        let mut client = session.reports.clone();
        let summary = client.summarize_reports(request.clone()).await?;
        let through = summary.into_inner().complete_through;
        let through = through.context("reports say what they hold")?;
        let through = wire::instant(&through).map_err(anyhow::Error::msg)?;
        let age = (now(pool).await? - through).num_microseconds();
        ages.record(u64::try_from(age.context("it is young")?)?)?;
    }
    Ok(ages)
}

async fn now(pool: &PgPool) -> anyhow::Result<DateTime<Utc>> {
    let now = sqlx::query_scalar("-- bench.now\nselect clock_timestamp()");
    Ok(now.fetch_one(pool).await?)
}

/// Events that have happened and are not counted.
async fn backlog(pool: &PgPool, workflow: &Workflow) -> anyhow::Result<i64> {
    // What is counted is never more than what is read after it.
    let counted = Counted::look(pool, workflow).await?;
    let told = Counted::of_history(pool, workflow).await?;
    Ok(told.events - counted.events)
}

/// How long since `begun` until the outbox is empty and everything is counted.
async fn caught_up(pool: &PgPool, workflow: &Workflow, begun: Instant) -> anyhow::Result<Duration> {
    loop {
        let full = "-- bench.undelivered
            select exists (select from execution.outbox)";
        until_not(pool, full).await?;
        let took = begun.elapsed();
        let left = backlog(pool, workflow).await?;
        if left == 0 {
            return Ok(took);
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "{left} events are not counted");
        tokio::time::sleep(LOOK).await;
    }
}
