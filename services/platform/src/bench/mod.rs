//! `workflow-platform bench`: what the engine makes of this machine. Prints rates beside floors that are
//! measured in the same run on the same server: the same rows written by the same statements without an
//! engine, and commits of one row; `bench catalog` measures the catalog's calls beside a service that does
//! nothing. Ratios can be compared between machines; the rates cannot.

mod calls;
mod catalog;
mod drive;
mod echo;
mod floor;
mod limit;
mod lists;
mod overload;
mod past;
mod proc;
mod reports;
mod rows;
mod scale;
mod seed;
mod stage;
mod statements;
mod storm;
mod transactions;

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use chassis::Shutdown;
use proto::catalog::v1::{ApplyWorkflowRequest, Workflow};
use proto::reporting::v1::SummarizeReportsRequest;
use sqlx::postgres::PgPoolOptions;

use crate::client::{Services, Session};
use crate::{AllConfig, Running, all};
use drive::Measured;

/// Connections to the services, as a client with some load would have.
const CHANNELS: usize = 4;
/// How long reporting may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(120);

/// Measures executions per second on a database of its own that is thrown away afterwards.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    part: Option<Part>,

    /// Executions of five steps that the engine does itself.
    #[arg(long, default_value_t = 20_000)]
    steps: usize,

    /// Executions of five steps that a worker does.
    #[arg(long, default_value_t = 4_000)]
    jobs: usize,

    /// Executions under way at the same time.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=2000))]
    in_flight: u16,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Part {
    /// Measures reading, listing and applying workflows, and lists of a million rows.
    Catalog(catalog::Args),
    /// Measures whether the engine stays as fast with a million executions in the tables, and what waiting costs.
    Scale(scale::Args),
    /// Measures what is still done when far more starts come than can be done.
    Overload(overload::Args),
    /// Measures how long very many timers take that are due at once.
    Storm(storm::Args),
    /// Measures how fast reports of a year are made anew, kept up and read.
    Reports(reports::Args),
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    match &args.part {
        None | Some(Part::Catalog(_)) => in_one_process(&args).await,
        Some(Part::Scale(args)) => scale::measure(args).await,
        Some(Part::Overload(args)) => overload::measure(args).await,
        Some(Part::Storm(args)) => storm::measure(args).await,
        Some(Part::Reports(args)) => reports::measure(args).await,
    }
}

async fn in_one_process(args: &Args) -> anyhow::Result<()> {
    let folder = devkit::Folder::new();
    let config = AllConfig {
        common: chassis::config::Common {
            data_dir: folder.path().to_owned(),
            database_url: None,
            service_key_file: None,
        },
        catalog_addr: "127.0.0.1:0".to_owned(),
        execution_addr: "127.0.0.1:0".to_owned(),
        reporting_addr: "127.0.0.1:0".to_owned(),
        admin_email: "admin@localhost".to_owned(),
        admin_password: None,
        no_fetch: false,
    };
    let running = all::start(config, Shutdown::new()).await?;
    let result = match &args.part {
        Some(Part::Catalog(args)) => catalog::measure(args, &running).await,
        _ => measure(args, &running).await,
    };
    running.stop().await?;
    result
}

async fn measure(args: &Args, running: &Running) -> anyhow::Result<()> {
    let sessions = sign_in(running).await?;
    let url = running
        .private_database_url
        .as_deref()
        .context("the server is private")?;
    let pool = PgPoolOptions::new().max_connections(32).connect_lazy(url)?;
    let steps = apply(&sessions[0], include_str!("steps.yaml")).await?;
    let jobs = apply(&sessions[0], include_str!("jobs.yaml")).await?;
    let in_flight = usize::from(args.in_flight);

    say("warming up")?;
    drive::steps(&sessions, &steps, args.steps / 10, in_flight).await?;
    say(&format!(
        "floors: {} executions of the same rows",
        args.steps
    ))?;
    let single = floor::single_rows(&pool, &steps, Duration::from_secs(3)).await?;
    let one_by_one = floor::one_execution_at_a_time(&pool, &steps, 500).await?;
    let step_floor = floor::steps(&pool, &steps, args.steps).await?;
    let job_floor = floor::jobs(&pool, &jobs, args.jobs).await?;
    say("driving the engine")?;
    let alone = drive::steps(&sessions, &steps, 500, 1).await?;
    let many = drive::steps(&sessions, &steps, args.steps, in_flight).await?;
    let jobs_done = drive::jobs(&sessions, &jobs, args.jobs, in_flight).await?;
    let lag = caught_up(&sessions[0], &[&steps, &jobs], args).await?;

    let table = report(args, &many, &jobs_done, step_floor, job_floor, single);
    say(&table)?;
    say(&format!(
        "one at a time: p50 {:.2} ms, {:.1} × one bare transaction of the same rows ({:.2} ms)",
        alone.p50_ms(),
        alone.p50_ms() / one_by_one.p50_ms(),
        one_by_one.p50_ms(),
    ))?;
    say(&format!(
        "reports had counted everything {:.1} s after the last execution",
        lag.as_secs_f64()
    ))?;
    transactions::measure(&pool, &sessions, (&steps, &jobs), args.steps, args.jobs).await?;
    let runs = (args.steps / 4, args.jobs / 4, transactions::IN_FLIGHT);
    statements::measure(&sessions, (&steps, &jobs), runs).await
}

fn report(
    args: &Args,
    steps: &Measured,
    jobs: &Measured,
    step_floor: f64,
    job_floor: f64,
    single: f64,
) -> String {
    let line = |what: &str, m: &Measured| {
        format!(
            "{what:<34}{:>9.0} executions/s {:>9.0} steps/s   p50 {:>6.1} ms   p99 {:>6.1} ms",
            m.rate(),
            m.rate() * 5.0,
            m.p50_ms(),
            m.p99_ms(),
        )
    };
    [
        format!(
            "\n{} executions in flight, over gRPC, reporting running",
            args.in_flight
        ),
        line("five steps of the engine", steps),
        line("five jobs of a worker", jobs),
        format!(
            "{:<34}{step_floor:>9.0} executions/s",
            "F_step: the same rows, no engine"
        ),
        format!(
            "{:<34}{job_floor:>9.0} executions/s",
            "F_job: the same rows, no engine"
        ),
        format!(
            "{:<34}{single:>9.0} rows/s on 32 connections",
            "commits of one log row"
        ),
        format!("{:.2} × F_step", steps.rate() / step_floor),
        format!("{:.2} × F_job", jobs.rate() / job_floor),
        format!(
            "{:.2} × steps/s against one-row commits/s",
            steps.rate() * 5.0 / single
        ),
    ]
    .join("\n")
}

async fn sign_in(running: &Running) -> anyhow::Result<Vec<Session>> {
    let admin = running
        .admin
        .as_ref()
        .context("a new platform has a known administrator")?;
    let at = &running.addresses;
    let mut sessions = Vec::new();
    for _ in 0..CHANNELS {
        let services = Services::at(
            &at.catalog.to_string(),
            &at.execution.to_string(),
            &at.reporting.to_string(),
        )?;
        sessions.push(services.login(&admin.email, &admin.password).await?);
    }
    Ok(sessions)
}

async fn apply(session: &Session, document: &str) -> anyhow::Result<Workflow> {
    let request = ApplyWorkflowRequest {
        document: document.to_owned(),
        validate_only: false,
        ..ApplyWorkflowRequest::default()
    };
    let applied = session
        .workflows
        .clone()
        .apply_workflow(request)
        .await?
        .into_inner();
    applied.workflow.context("an applied workflow is returned")
}

/// Waits until the reports count every execution that was driven.
async fn caught_up(
    session: &Session,
    workflows: &[&Workflow],
    args: &Args,
) -> anyhow::Result<Duration> {
    let begun = std::time::Instant::now();
    let expected = args.steps / 10 + 500 + args.steps + args.jobs;
    loop {
        let mut counted = 0;
        for workflow in workflows {
            let request = SummarizeReportsRequest {
                workflow_id: workflow.id.clone(),
                ..Default::default()
            };
            let summary = session
                .reports
                .clone()
                .summarize_reports(request)
                .await?
                .into_inner();
            counted += summary.total.map_or(0, |total| total.completed_executions);
        }
        if usize::try_from(counted)? == expected {
            return Ok(begun.elapsed());
        }
        anyhow::ensure!(
            begun.elapsed() < CATCH_UP,
            "reports count {counted} of {expected}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn say(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
