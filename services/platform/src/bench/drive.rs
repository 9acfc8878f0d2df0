//! Drives the platform over gRPC, as clients and workers do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;
use model::wire;
use proto::catalog::v1::Workflow;
use proto::execution::v1::job_answer::Answer;
use proto::execution::v1::{
    CompleteJobRequest, ExecutionStatus, Job, JobAnswer, JobSubscription, StartExecutionRequest,
    StreamJobsRequest,
};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

use crate::client::{Session, again, request_id};

/// Jobs that the worker may hold, and messages of its that may wait to be sent.
const CREDIT: i32 = 1000;
const WAITING: usize = 16;
/// Steps of each measured workflow.
const STEPS: usize = 5;

/// What a run gave.
#[derive(Debug)]
pub struct Measured {
    /// Executions, or calls.
    pub count: usize,
    pub elapsed: Duration,
    /// Microseconds.
    pub latency: Histogram<u64>,
}

impl Measured {
    /// How many a second.
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }

    pub fn p50_ms(&self) -> f64 {
        self.latency.value_at_quantile(0.5) as f64 / 1000.0
    }

    pub fn p99_ms(&self) -> f64 {
        self.latency.value_at_quantile(0.99) as f64 / 1000.0
    }
}

pub fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

pub fn start(workflow: &Workflow) -> StartExecutionRequest {
    let metadata = json!({ "inputData": { "amount": 42, "customer": "c-17" } });
    StartExecutionRequest {
        workflow_id: workflow.id.clone(),
        metadata: metadata.as_object().map(wire::struct_from_json),
        request_id: request_id(),
        ..Default::default()
    }
}

/// Starts executions that are over when their start is answered.
pub async fn steps(
    sessions: &[Session],
    workflow: &Workflow,
    executions: usize,
    in_flight: usize,
) -> anyhow::Result<Measured> {
    let begun = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers: JoinSet<anyhow::Result<Histogram<u64>>> = JoinSet::new();
    for caller in 0..in_flight {
        let client = sessions[caller % sessions.len()].executions.clone();
        let (next, workflow) = (next.clone(), workflow.clone());
        callers.spawn(async move {
            let mut latency = histogram();
            while next.fetch_add(1, Ordering::Relaxed) < executions {
                let called = Instant::now();
                // A machine that cannot take as many at once says so: waiting for it is part of how long it takes.
                let request = start(&workflow);
                let execution = again(&client, &request, |mut client, request| async move {
                    client.start_execution(request).await
                });
                let execution = execution.await?;
                anyhow::ensure!(
                    execution.status() == ExecutionStatus::Completed,
                    "execution {} is {:?}",
                    execution.id,
                    execution.status()
                );
                latency.record(called.elapsed().as_micros() as u64)?;
            }
            Ok(latency)
        });
    }
    let mut latency = histogram();
    while let Some(ended) = callers.join_next().await {
        latency.add(ended??)?;
    }
    Ok(Measured {
        count: executions,
        elapsed: begun.elapsed(),
        latency,
    })
}

/// Executions under way: when each was started, and how many of its jobs are done.
type UnderWay = Arc<Mutex<HashMap<String, (Instant, usize)>>>;

/// Starts executions whose steps one streaming worker does; each counts when its last job's completion is answered.
pub async fn jobs(
    sessions: &[Session],
    workflow: &Workflow,
    executions: usize,
    in_flight: usize,
) -> anyhow::Result<Measured> {
    let begun = Instant::now();
    let room = Arc::new(Semaphore::new(in_flight));
    let under_way = UnderWay::default();
    let latency = Arc::new(Mutex::new(histogram()));
    let mut worker = JoinSet::new();
    worker.spawn(work(
        sessions[0].clone(),
        room.clone(),
        under_way.clone(),
        latency.clone(),
    ));
    let starting = start_all(
        sessions,
        workflow,
        executions,
        room.clone(),
        under_way.clone(),
    );
    tokio::select! {
        started = starting => started?,
        Some(ended) = worker.join_next() => ended??,
    }
    // Every permit is back when every execution is over.
    tokio::select! {
        all = room.acquire_many(u32::try_from(in_flight)?) => drop(all?),
        Some(ended) = worker.join_next() => ended??,
    }
    worker.abort_all();
    let latency = latency
        .lock()
        .expect("no holder of this lock panics")
        .clone();
    Ok(Measured {
        count: executions,
        elapsed: begun.elapsed(),
        latency,
    })
}

async fn start_all(
    sessions: &[Session],
    workflow: &Workflow,
    executions: usize,
    room: Arc<Semaphore>,
    under_way: UnderWay,
) -> anyhow::Result<()> {
    let mut starts: JoinSet<anyhow::Result<()>> = JoinSet::new();
    for n in 0..executions {
        // Given back by the worker with the execution's last job.
        room.acquire().await?.forget();
        let client = sessions[n % sessions.len()].executions.clone();
        let (under_way, request) = (under_way.clone(), start(workflow));
        starts.spawn(async move {
            let called = Instant::now();
            let execution = again(&client, &request, |mut client, request| async move {
                client.start_execution(request).await
            });
            let execution = execution.await?;
            let mut under_way = under_way.lock().expect("no holder of this lock panics");
            // The worker may have been faster than the answer.
            under_way.entry(execution.id).or_insert((called, 0)).0 = called;
            Ok(())
        });
        while let Some(started) = starts.try_join_next() {
            started??;
        }
    }
    while let Some(started) = starts.join_next().await {
        started??;
    }
    Ok(())
}

/// One stream takes jobs and completes them.
async fn work(
    session: Session,
    room: Arc<Semaphore>,
    under_way: UnderWay,
    latency: Arc<Mutex<Histogram<u64>>>,
) -> anyhow::Result<()> {
    let (say, said) = mpsc::channel(WAITING);
    let subscription = JobSubscription {
        worker: "bench".to_owned(),
        job_types: vec!["bench".to_owned()],
        credit: CREDIT,
        lease_duration: None,
    };
    let first = StreamJobsRequest {
        subscription: Some(subscription),
        ..StreamJobsRequest::default()
    };
    say.send(first).await?;
    let mut jobs = session.jobs.clone();
    let stream = jobs.stream_jobs(ReceiverStream::new(said)).await;
    let mut stream = stream.context("opening a stream")?.into_inner();
    // By number: the execution of each job that is being completed.
    let mut answered: HashMap<u64, String> = HashMap::new();
    let mut last = 0;
    while let Some(message) = stream.message().await? {
        for result in message.results {
            anyhow::ensure!(result.error.is_none(), "completing a job: {result:?}");
            let execution_id = answered.remove(&result.number);
            let execution_id = execution_id.context("a result has its answer")?;
            if let Some(called) = count(&under_way, &execution_id) {
                let took = called.elapsed().as_micros() as u64;
                let mut latency = latency.lock().expect("no holder of this lock panics");
                latency.record(took)?;
                room.add_permits(1);
            }
        }
        let mut more = StreamJobsRequest::default();
        for job in message.jobs {
            last += 1;
            more.answers.push(complete(last, &job));
            answered.insert(last, job.execution_id);
        }
        if !more.answers.is_empty() {
            say.send(more).await?;
        }
    }
    anyhow::bail!("the stream ended by itself")
}

/// Counts a completed job; says when its execution was started if it was the last one.
fn count(under_way: &UnderWay, execution_id: &str) -> Option<Instant> {
    let mut under_way = under_way.lock().expect("no holder of this lock panics");
    let entry = under_way.entry(execution_id.to_owned());
    let (called, done) = entry.or_insert((Instant::now(), 0));
    *done += 1;
    let called = *called;
    let is_last = *done == STEPS;
    is_last.then(|| {
        under_way.remove(execution_id);
        called
    })
}

fn complete(number: u64, job: &Job) -> JobAnswer {
    let output = json!({ "done": job.step_name });
    let request = CompleteJobRequest {
        job_id: job.id.clone(),
        output: output.as_object().map(wire::struct_from_json),
        ..CompleteJobRequest::default()
    };
    JobAnswer {
        number,
        answer: Some(Answer::Complete(request)),
    }
}
