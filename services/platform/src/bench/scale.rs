//! `bench scale`: whether what the engine costs stays the same however much there is, and what it costs to wait.
//! Invariant: every ratio is of figures of the same run on the same processes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use model::wire;
use proto::catalog::v1::Workflow;
use proto::execution::v1::{
    ApproveTaskRequest, CancelExecutionRequest, Execution, ExecutionStatus, ListTasksRequest,
    StartExecutionRequest,
};
use serde_json::json;
use uuid::Uuid;

use super::limit::{at_least, at_most};
use super::seed::{self, Copies};
use super::stage::Stage;
use super::{CHANNELS, apply, drive, proc, say, transactions};
use crate::client::{Session, request_id};

const IN_FLIGHT: usize = 256;
/// Runs of which the one in the middle counts.
const ROUNDS: usize = 3;
/// A figure may lose a fifth of what it was in empty tables.
const KEPT: f64 = 0.8;
/// Percent of a core.
const IDLE: f64 = 1.0;
const MEBIBYTES: f64 = 512.0;
/// After the last call, before idleness is measured: caches are written, reporting has caught up.
const SETTLE: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures the engine in empty and in full tables, and idle, each service a process of its own.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Finished executions of five steps in the full tables.
    #[arg(long, default_value_t = 1_000_000)]
    finished: u64,

    /// Executions that wait, half of them for a person and half for a timer.
    #[arg(long, default_value_t = 100_000)]
    waiting: u64,

    /// Executions of each run of five steps that the engine does itself.
    #[arg(long, default_value_t = 20_000)]
    steps: usize,

    /// Executions of each run of five steps that a worker does.
    #[arg(long, default_value_t = 4_000)]
    jobs: usize,

    /// Seconds for which nothing is asked.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    idle: u64,
}

/// Executions a second: of the engine's steps and of jobs.
#[derive(Debug, Clone, Copy)]
struct Figures {
    steps: f64,
    jobs: f64,
}

struct Workflows {
    steps: Workflow,
    jobs: Workflow,
    waits: Workflow,
}

pub async fn measure(args: &Args) -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    let sessions = stage.sign_in(CHANNELS).await?;
    let workflows = Workflows {
        steps: apply(&sessions[0], include_str!("steps.yaml")).await?,
        jobs: apply(&sessions[0], include_str!("jobs.yaml")).await?,
        waits: apply(&sessions[0], include_str!("waits.yaml")).await?,
    };
    say("warming up")?;
    drive::steps(&sessions, &workflows.steps, args.steps / 2, IN_FLIGHT).await?;
    drive::jobs(&sessions, &workflows.jobs, args.jobs / 4, IN_FLIGHT).await?;
    let empty = figures(&stage, args, &workflows).await?;
    tell("empty tables", empty)?;
    transactions::measure(
        &stage.pool,
        &sessions,
        (&workflows.steps, &workflows.jobs),
        args.steps,
        args.jobs,
    )
    .await?;

    let done = start(&sessions[0], &workflows.steps, json!({ "amount": 42 })).await?;
    let copies = Copies {
        of: done.id.parse()?,
        first: 1,
        count: args.finished,
    };
    let what = format!("{} finished executions", args.finished);
    write(&stage, copies, &what).await?;
    compare(&stage, args, &workflows, empty, &what).await?;

    let what = format!("{} more that wait", args.waiting);
    wait(&stage, args, &workflows.waits).await?;
    compare(&stage, args, &workflows, empty, &what).await?;
    idle(&stage, args).await?;
    memory(&stage)
}

async fn figures(stage: &Stage, args: &Args, workflows: &Workflows) -> anyhow::Result<Figures> {
    let sessions = stage.sign_in(CHANNELS).await?;
    let (mut steps, mut jobs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let run = drive::steps(&sessions, &workflows.steps, args.steps, IN_FLIGHT);
        steps.push(run.await?.rate());
        let run = drive::jobs(&sessions, &workflows.jobs, args.jobs, IN_FLIGHT);
        jobs.push(run.await?.rate());
    }
    Ok(Figures {
        steps: median(steps),
        jobs: median(jobs),
    })
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn tell(what: &str, figures: Figures) -> anyhow::Result<()> {
    let Figures { steps, jobs } = figures;
    say(&format!(
        "{what:<44}{steps:>9.0} executions/s of five steps {jobs:>9.0} of five jobs, {IN_FLIGHT} in flight"
    ))
}

/// The figures again, beside those of empty tables.
async fn compare(
    stage: &Stage,
    args: &Args,
    workflows: &Workflows,
    empty: Figures,
    what: &str,
) -> anyhow::Result<()> {
    let full = figures(stage, args, workflows).await?;
    tell(what, full)?;
    let line = format!("× the step rate of empty tables, with {what}");
    say(&at_least(full.steps / empty.steps, KEPT, &line))?;
    let line = format!("× the job rate of empty tables, with {what}");
    say(&at_least(full.jobs / empty.jobs, KEPT, &line))
}

/// Starts an execution.
pub async fn start(
    session: &Session,
    workflow: &Workflow,
    input: serde_json::Value,
) -> anyhow::Result<Execution> {
    let metadata = json!({ "inputData": input });
    let request = StartExecutionRequest {
        workflow_id: workflow.id.clone(),
        metadata: metadata.as_object().map(wire::struct_from_json),
        request_id: request_id(),
        ..Default::default()
    };
    let mut client = session.executions.clone();
    Ok(client.start_execution(request).await?.into_inner())
}

/// Writes copies of an execution as soon as its report is there, too.
pub async fn write(stage: &Stage, copies: Copies, what: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let reported: bool = sqlx::query_scalar(
            "-- bench.reported
            select exists (select from reporting.workflow_reports where execution_id = $1)",
        )
        .bind(copies.of)
        .fetch_one(&stage.pool)
        .await?;
        if reported {
            break;
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "reporting does not report");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let begun = Instant::now();
    seed::copy(&stage.pool, copies).await?;
    let seconds = begun.elapsed().as_secs_f64();
    say(&format!("{what}: written in {seconds:.0} s"))
}

/// Writes those that wait, and lets one of each kind go: they are what they seem to be.
async fn wait(stage: &Stage, args: &Args, workflow: &Workflow) -> anyhow::Result<()> {
    let sessions = stage.sign_in(1).await?;
    let session = &sessions[0];
    let mut first = args.finished + 1;
    let mut copied = HashMap::new();
    for kind in ["person", "timer"] {
        let original = start(session, workflow, json!({ "waitsFor": kind })).await?;
        let copies = Copies {
            of: original.id.parse()?,
            first,
            count: args.waiting / 2,
        };
        first += copies.count;
        write(
            stage,
            copies,
            &format!("{} that wait for a {kind}", copies.count),
        )
        .await?;
        copied.insert(kind, seed::id(&stage.pool, copies.first).await?);
    }
    let request = ListTasksRequest {
        filter: format!("execution_id = \"{}\"", copied["person"]),
        ..Default::default()
    };
    let tasks = session
        .tasks
        .clone()
        .list_tasks(request)
        .await?
        .into_inner();
    let task = tasks.tasks.first().context("a copy has its task")?;
    let request = ApproveTaskRequest {
        id: task.id.clone(),
        ..Default::default()
    };
    session.tasks.clone().approve_task(request).await?;
    expect(session, copied["person"], ExecutionStatus::Completed).await?;
    let request = CancelExecutionRequest {
        id: copied["timer"].to_string(),
        reason: "the benchmark tries whether it can".to_owned(),
        ..Default::default()
    };
    session.executions.clone().cancel_execution(request).await?;
    expect(session, copied["timer"], ExecutionStatus::Cancelled).await
}

async fn expect(session: &Session, id: Uuid, status: ExecutionStatus) -> anyhow::Result<()> {
    let request = proto::execution::v1::GetExecutionRequest { id: id.to_string() };
    let mut client = session.executions.clone();
    let execution = client.get_execution(request).await?.into_inner();
    anyhow::ensure!(
        execution.status() == status,
        "{id} is {:?}",
        execution.status()
    );
    Ok(())
}

/// What is spent while nobody asks for anything.
async fn idle(stage: &Stage, args: &Args) -> anyhow::Result<()> {
    tokio::time::sleep(SETTLE).await;
    let before = Spent::look(stage).await?;
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(args.idle)).await;
    let after = Spent::look(stage).await?;
    let percent = |of: fn(&Spent) -> Option<Duration>| {
        let spent = of(&after)?.saturating_sub(of(&before)?);
        Some(spent.as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0)
    };
    let (Some(service), Some(backends)) = (percent(|it| it.service), percent(|it| it.backends))
    else {
        return say("idle: this system does not tell what processes spend");
    };
    let what = format!(
        "% of a core while {} executions wait: {service:.2} the execution service, {backends:.2} its connections",
        args.waiting
    );
    say(&at_most(service + backends, IDLE, &what))?;
    let others = percent(|it| it.others).unwrap_or_default();
    say(&format!(
        "{others:.2} % of a core: catalog and reporting meanwhile"
    ))
}

/// Processor time so far.
struct Spent {
    service: Option<Duration>,
    /// Of PostgreSQL for the execution service.
    backends: Option<Duration>,
    others: Option<Duration>,
}

impl Spent {
    async fn look(stage: &Stage) -> anyhow::Result<Self> {
        let backends: Vec<i32> = sqlx::query_scalar(
            "-- bench.backends
            select pid from pg_stat_activity where application_name = 'wfp_execution'",
        )
        .fetch_all(&stage.pool)
        .await?;
        let backends = backends
            .into_iter()
            .map(|pid| proc::cpu(pid.unsigned_abs()));
        let others = stage.processes().into_iter();
        let others = others.filter(|(name, _)| *name != "execution");
        Ok(Self {
            service: proc::cpu(stage.execution()),
            backends: backends.sum(),
            others: others.map(|(_, pid)| proc::cpu(pid)).sum(),
        })
    }
}

/// The most that the execution service has held since its start.
pub fn memory(stage: &Stage) -> anyhow::Result<()> {
    match proc::peak_memory(stage.execution()) {
        Some(bytes) => {
            let mebibytes = bytes as f64 / 1024.0 / 1024.0;
            say(&at_most(
                mebibytes,
                MEBIBYTES,
                "MiB of memory at most, the execution service",
            ))
        }
        None => say("memory: this system does not tell what processes hold"),
    }
}
