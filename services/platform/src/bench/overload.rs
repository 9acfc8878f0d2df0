//! `bench overload`: starts come many times faster than they can be done. Invariant: callers come at the rate that
//! was said, whatever becomes of those before them, and none calls again.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use proto::catalog::v1::Workflow;
use proto::execution::v1::{ApproveTaskRequest, ExecutionStatus, ListTasksRequest};
use serde_json::json;
use tokio::task::JoinSet;
use tonic::{Code, Request, Status};

use super::drive::{self, histogram};
use super::limit::{at_least, at_most};
use super::scale::{memory, start};
use super::stage::Stage;
use super::{apply, proc, say};
use crate::client::Session;

/// Connections of the callers.
const CONNECTIONS: usize = 16;
/// Callers at once of the load that can be carried.
const IN_FLIGHT: usize = 256;
/// How long a caller waits for an answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// Callers set off together, so often.
const TICK: Duration = Duration::from_millis(5);
/// Callers that wait at once at most; who would come then stays away.
const MOST: usize = 20_000;
/// Goodput beside that of the load that can be carried.
const GOODPUT: f64 = 0.7;
/// Decisions a second on what was begun before, while the load lasts.
const DECISIONS: u64 = 5;
/// So many answers in a row, as fast as before, are back to normal.
const NORMAL: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);
const RECOVERY: f64 = 10.0;

/// Measures how much is still done when far more is asked for, and how soon all is as before.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Times the load that can be carried.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    times: u32,

    /// Seconds for which it lasts.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,

    /// Steps of an execution. With more of them callers cost less beside what they ask for: they share the
    /// processors with it.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=900))]
    steps: u16,
}

/// What became of the callers.
#[derive(Debug)]
struct Told {
    done: usize,
    refused: usize,
    late: usize,
    stayed_away: usize,
    others: Vec<Status>,
    /// Of those done, and of those refused; microseconds.
    waited: Histogram<u64>,
    refused_after: Histogram<u64>,
}

pub async fn measure(args: &Args) -> anyhow::Result<()> {
    let stage = Stage::start().await?;
    let sessions = stage.sign_in(CONNECTIONS).await?;
    let workflow = apply(&sessions[0], &chain(args.steps)).await?;
    let approvals = apply(&sessions[0], include_str!("waits.yaml")).await?;
    drive::steps(&sessions, &workflow, 1000, IN_FLIGHT).await?;
    let short = drive::steps(&sessions, &workflow, 1000, IN_FLIGHT).await?;
    // For as long as the flood: what can be carried for a moment is more.
    let as_long = short.rate() * args.seconds as f64;
    let peak = drive::steps(&sessions, &workflow, as_long as usize, IN_FLIGHT).await?;
    let alone = drive::steps(&sessions, &workflow, 200, 1).await?;
    let before = proc::memory(stage.execution());
    say(&format!(
        "{:.0} executions/s of {} steps can be carried, p99 {:.1} ms, {IN_FLIGHT} in flight",
        peak.rate(),
        args.steps,
        peak.p99_ms()
    ))?;
    let tasks = begin(&sessions[0], &approvals, DECISIONS * args.seconds).await?;
    let time = Duration::from_secs(args.seconds);
    let rate = peak.rate() * f64::from(args.times);
    let (told, decided) = tokio::join!(
        flood(&sessions, &workflow, rate, time),
        decide(&sessions[0], tasks, time)
    );
    let (told, took) = told?;
    told.say(rate, took)?;
    let goodput = told.done as f64 / took.as_secs_f64() / peak.rate();
    let what = format!(
        "× that rate was done at {} times as many starts",
        args.times
    );
    say(&at_least(goodput, GOODPUT, &what))?;
    let decided = decided?;
    say(&format!(
        "{} decisions on what had been begun meanwhile, none refused, p99 {:.0} ms",
        decided.len(),
        milliseconds(&decided, 0.99)
    ))?;
    let recovery = recovered(&sessions[0], &workflow, alone.p99_ms()).await?;
    let what = "s after the last caller until all was as before";
    say(&at_most(recovery.as_secs_f64(), RECOVERY, what))?;
    memory(&stage)?;
    if let (Some(before), Some(after)) = (before, proc::memory(stage.execution())) {
        let [before, after] = [before, after].map(|bytes| bytes / 1024 / 1024);
        say(&format!("{before} MiB before, {after} MiB afterwards"))?;
    }
    Ok(())
}

/// A workflow of so many steps that the engine does itself.
fn chain(steps: u16) -> String {
    let step =
        |n| json!({ "key": format!("s{n}"), "name": format!("s{n}"), "stepType": "decision" });
    let way =
        |n: u16| json!({ "from": format!("s{n}"), "to": format!("s{}", n + 1), "isDefault": true });
    json!({
        "client": { "name": "Benchmark" },
        "workflow": { "name": format!("{steps} steps of the engine"), "status": "ACTIVE" },
        "steps": (1..=steps).map(step).collect::<Vec<_>>(),
        "transitions": (1..steps).map(way).collect::<Vec<_>>(),
    })
    .to_string()
}

/// Calls at a rate, and what came of it; the time is that in which callers came.
async fn flood(
    sessions: &[Session],
    workflow: &Workflow,
    rate: f64,
    time: Duration,
) -> anyhow::Result<(Told, Duration)> {
    let told = Arc::new(Mutex::new(Told::new()));
    let mut callers = JoinSet::new();
    let mut ticks = tokio::time::interval(TICK);
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < time {
        ticks.tick().await;
        let wanted = (begun.elapsed().as_secs_f64() * rate) as usize;
        while sent < wanted {
            sent += 1;
            while callers.try_join_next().is_some() {}
            if callers.len() >= MOST {
                told.lock()
                    .expect("no holder of this lock panics")
                    .stayed_away += 1;
                continue;
            }
            let client = sessions[sent % sessions.len()].executions.clone();
            let mut request = Request::new(drive::start(workflow));
            request.set_timeout(DEADLINE);
            let (mut client, told) = (client, told.clone());
            callers.spawn(async move {
                let called = Instant::now();
                let answer = client.start_execution(request).await;
                let mut told = told.lock().expect("no holder of this lock panics");
                told.note(answer.map(drop), called.elapsed());
            });
        }
    }
    let took = begun.elapsed();
    // What comes later was not done in time for anybody to call it goodput.
    let counted = told.lock().expect("no holder of this lock panics").done;
    while let Some(ended) = callers.join_next().await {
        ended?;
    }
    let mut told = std::mem::replace(
        &mut *told.lock().expect("no holder of this lock panics"),
        Told::new(),
    );
    told.done = counted;
    Ok((told, took))
}

impl Told {
    fn new() -> Self {
        Self {
            done: 0,
            refused: 0,
            late: 0,
            stayed_away: 0,
            others: Vec::new(),
            waited: histogram(),
            refused_after: histogram(),
        }
    }

    fn note(&mut self, answer: Result<(), Status>, after: Duration) {
        let after = after.as_micros() as u64;
        match answer {
            Ok(()) => {
                self.done += 1;
                self.waited.record(after).expect("it grows");
            }
            Err(status) => match status.code() {
                Code::ResourceExhausted | Code::Unavailable => {
                    self.refused += 1;
                    self.refused_after.record(after).expect("it grows");
                }
                // The library calls it cancelled when its own clock was faster than the server's answer.
                Code::DeadlineExceeded | Code::Cancelled => self.late += 1,
                _ => self.others.push(status),
            },
        }
    }

    fn say(&self, rate: f64, took: Duration) -> anyhow::Result<()> {
        let all = self.done + self.refused + self.late + self.others.len();
        let came = all as f64 / took.as_secs_f64();
        say(&format!(
            "{came:.0} starts/s came of {rate:.0} that were to come; {} stayed away",
            self.stayed_away
        ))?;
        let seconds = took.as_secs_f64();
        say(&format!(
            "{:.0} done/s, p99 {:.0} ms; {:.0} refused/s, p99 {:.0} ms; {} waited {} s in vain",
            self.done as f64 / seconds,
            milliseconds(&self.waited, 0.99),
            self.refused as f64 / seconds,
            milliseconds(&self.refused_after, 0.99),
            self.late,
            DEADLINE.as_secs()
        ))?;
        match self.others.first() {
            None => Ok(()),
            Some(first) => say(&format!("{} failed otherwise: {first}", self.others.len())),
        }
    }
}

fn milliseconds(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1000.0
}

/// Begins executions that wait for a decision each; returns their tasks.
async fn begin(session: &Session, workflow: &Workflow, count: u64) -> anyhow::Result<Vec<String>> {
    let mut tasks = Vec::new();
    for _ in 0..count {
        let execution = start(session, workflow, json!({ "waitsFor": "person" })).await?;
        let request = ListTasksRequest {
            filter: format!("execution_id = \"{}\"", execution.id),
            ..Default::default()
        };
        let found = session
            .tasks
            .clone()
            .list_tasks(request)
            .await?
            .into_inner();
        tasks.extend(found.tasks.into_iter().map(|task| task.id));
    }
    Ok(tasks)
}

/// Decides tasks one after another, at equal distances.
async fn decide(
    session: &Session,
    tasks: Vec<String>,
    time: Duration,
) -> anyhow::Result<Histogram<u64>> {
    let mut latency = histogram();
    let mut ticks = tokio::time::interval(time / u32::try_from(tasks.len().max(1))?);
    for id in tasks {
        ticks.tick().await;
        let called = Instant::now();
        let request = ApproveTaskRequest {
            id,
            ..Default::default()
        };
        session.tasks.clone().approve_task(request).await?;
        latency.record(called.elapsed().as_micros() as u64)?;
    }
    Ok(latency)
}

/// How long until starts are answered about as fast as when nothing else was asked for.
async fn recovered(session: &Session, workflow: &Workflow, p99: f64) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let mut in_a_row = 0;
    let mut since = Duration::ZERO;
    while in_a_row < NORMAL {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "it does not recover");
        let called = Instant::now();
        let request = drive::start(workflow);
        let answer = session.executions.clone().start_execution(request).await;
        let took = called.elapsed().as_secs_f64() * 1000.0;
        let is_done = answer.is_ok_and(|it| it.get_ref().status() == ExecutionStatus::Completed);
        if is_done && took <= (3.0 * p99).max(20.0) {
            in_a_row += 1;
        } else {
            in_a_row = 0;
            since = begun.elapsed();
        }
    }
    Ok(since)
}
