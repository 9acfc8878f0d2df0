//! Drives the platform over gRPC, as clients and workers do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;
use model::wire;
use proto::catalog::v1::Workflow;
use proto::execution::v1::{
    ActivateJobsRequest, CompleteJobRequest, ExecutionStatus, Job, StartExecutionRequest,
};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::client::{Session, again, request_id};

const WORKER: &str = "bench";
/// Loops of the worker, and the jobs that each asks for at once.
const WORKER_LOOPS: usize = 4;
const JOBS_AT_ONCE: i32 = 64;
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

/// Starts executions whose steps a worker does; each counts when its last job's completion is answered.
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
    for n in 0..WORKER_LOOPS {
        let session = sessions[n % sessions.len()].clone();
        let (room, under_way, latency) = (room.clone(), under_way.clone(), latency.clone());
        worker.spawn(async move { work(session, room, under_way, latency).await });
    }
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

async fn work(
    session: Session,
    room: Arc<Semaphore>,
    under_way: UnderWay,
    latency: Arc<Mutex<Histogram<u64>>>,
) -> anyhow::Result<()> {
    loop {
        let request = ActivateJobsRequest {
            worker: WORKER.to_owned(),
            job_types: vec!["bench".to_owned()],
            max_jobs: JOBS_AT_ONCE,
            lease_duration: None,
            wait_timeout: Some(prost_types::Duration {
                seconds: 5,
                nanos: 0,
            }),
        };
        let jobs = session
            .jobs
            .clone()
            .activate_jobs(request)
            .await?
            .into_inner()
            .jobs;
        let mut completing = JoinSet::new();
        for job in jobs {
            let session = session.clone();
            completing.spawn(async move { complete(session, job).await });
        }
        while let Some(done) = completing.join_next().await {
            let execution_id = done??;
            let mut under_way = under_way.lock().expect("no holder of this lock panics");
            let entry = under_way.entry(execution_id.clone());
            let (called, done) = entry.or_insert((Instant::now(), 0));
            *done += 1;
            if *done == STEPS {
                let took = called.elapsed().as_micros() as u64;
                latency
                    .lock()
                    .expect("no holder of this lock panics")
                    .record(took)?;
                under_way.remove(&execution_id);
                room.add_permits(1);
            }
        }
    }
}

async fn complete(session: Session, job: Job) -> anyhow::Result<String> {
    let output = json!({ "done": job.step_name });
    let request = CompleteJobRequest {
        job_id: job.id,
        worker: WORKER.to_owned(),
        output: output.as_object().map(wire::struct_from_json),
        request_id: String::new(),
    };
    let answer = session.jobs.clone().complete_job(request).await;
    answer.context("completing a job")?;
    Ok(job.execution_id)
}
