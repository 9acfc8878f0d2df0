//! `bench reports`: reports of a year made anew, counted from the stream, kept up under load and read. Invariant:
//! what is timed is checked: every execution and event is counted when the clock stops.

mod applied;
mod floor;
mod lag;
mod load;
mod queries;
mod rebuild;

use std::time::{Duration, Instant};

use anyhow::Context;
use proto::catalog::v1::Workflow;
use proto::reporting::v1::{ListReportsRequest, Report};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::scale::start;
use super::seed::Copies;
use super::stage::Stage;
use super::{CHANNELS, apply, past, say};
use crate::client::Session;

/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(20);
/// How long reporting may take for what it has to count.
const PATIENCE: Duration = Duration::from_secs(900);

/// Measures reporting beside what the database can do without it, each service a process of its own.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Finished executions of five steps over the last year, each with seven events.
    #[arg(long, default_value_t = 140_000, value_parser = clap::value_parser!(u32).range(365..=1_000_000))]
    executions: u32,

    /// Executions under way at the same time while reporting has to keep up.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=2000))]
    in_flight: u16,

    /// Seconds for which it is asked how far behind reporting is.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,

    /// Seconds for which reporting stands still under load.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=60))]
    pause: u64,
}

pub async fn measure(args: &Args) -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    let sessions = stage.sign_in(CHANNELS).await?;
    let year = apply(&sessions[0], include_str!("steps.yaml")).await?;
    write(&stage, &sessions[0], &year, args.executions).await?;
    rebuild::measure(&stage, &year, args.executions).await?;
    applied::measure(&stage, &year).await?;
    lag::measure(&stage, args).await?;
    queries::measure(&stage, &year).await
}

/// Writes a year, of which the last execution is a real one.
async fn write(
    stage: &Stage,
    session: &Session,
    workflow: &Workflow,
    executions: u32,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let original = start(session, workflow, json!({ "amount": 42 })).await?;
    let copies = Copies {
        of: original.id.parse()?,
        first: 1,
        count: u64::from(executions) - 1,
    };
    past::write(&stage.pool, copies).await?;
    say(&format!(
        "{executions} finished executions over 365 days are in the tables after {:.0} s",
        begun.elapsed().as_secs_f64()
    ))
}

/// What the reports of a workflow's executions hold.
#[derive(Debug, PartialEq, Eq, sqlx::FromRow)]
struct Counted {
    executions: i64,
    events: i64,
}

impl Counted {
    async fn look(pool: &PgPool, workflow: &Workflow) -> anyhow::Result<Self> {
        let counted = sqlx::query_as(
            "-- bench.counted
            select count(*) as executions, coalesce(sum(applied_seq), 0) as events
              from reporting.workflow_reports where workflow_id = $1 and report_type = 'execution'",
        )
        .bind(workflow.id.parse::<Uuid>()?)
        .fetch_one(pool)
        .await;
        counted.context("counting reports")
    }

    /// What there is to count.
    async fn of_history(pool: &PgPool, workflow: &Workflow) -> anyhow::Result<Self> {
        let told = sqlx::query_as(
            "-- bench.told
            select count(*) as executions, coalesce(sum(event_count), 0) as events
              from execution.workflow_executions where workflow_id = $1",
        )
        .bind(workflow.id.parse::<Uuid>()?)
        .fetch_one(pool)
        .await;
        told.context("counting executions")
    }
}

/// Waits until the reports of days, weeks and months show what was counted; returns how long that took.
async fn shown(pool: &PgPool) -> anyhow::Result<Duration> {
    let stale = "-- bench.stale
        select exists (select from reporting.days where shown is distinct from mark)";
    until_not(pool, stale).await
}

/// Waits until what a statement asks for is so no more.
async fn until_not(pool: &PgPool, question: &'static str) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    while sqlx::query_scalar(question).fetch_one(pool).await? {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "still so: {question}");
        tokio::time::sleep(LOOK).await;
    }
    Ok(begun.elapsed())
}

/// The monthly reports of a workflow, the latest first.
async fn months(session: &Session, workflow: &Workflow) -> anyhow::Result<Vec<Report>> {
    let request = ListReportsRequest {
        page_size: 100,
        filter: format!(
            "workflow_id = \"{}\" AND report_type = \"monthly\"",
            workflow.id
        ),
        ..Default::default()
    };
    let mut client = session.reports.clone();
    let listed = client.list_reports(request).await?.into_inner();
    let months = listed.reports;
    anyhow::ensure!(months.len() >= 12, "a year of {} months", months.len());
    Ok(months)
}
