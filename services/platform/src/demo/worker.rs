//! The demo's worker: leases jobs of the four types that the workflows use, and completes or fails them.
//! Which attempts fail is written in the execution's input, so a run can be repeated.

use std::sync::Arc;

use anyhow::Context;
use proto::execution::v1::{ActivateJobsRequest, CompleteJobRequest, FailJobRequest, Job};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::answers::to_job;
use super::tally::Tally;
use crate::client::{Session, again, each, request_id};

const JOB_TYPES: [&str; 4] = ["create_account", "assign", "process_payment", "custom"];

/// Short, so that what a killed run held comes back soon.
const LEASE: prost_types::Duration = prost_types::Duration {
    seconds: 5,
    nanos: 0,
};
/// How long the server holds the call open when there is nothing to do.
const WAIT: prost_types::Duration = prost_types::Duration {
    seconds: 2,
    nanos: 0,
};

/// Works until `done`. By then nothing is open, so the call that is dropped cannot have leased anything.
pub async fn work(
    session: Session,
    tally: Arc<Tally>,
    done: CancellationToken,
) -> anyhow::Result<()> {
    let worker = format!("demo-{}", std::process::id());
    let request = ActivateJobsRequest {
        worker: worker.clone(),
        job_types: JOB_TYPES.map(str::to_owned).to_vec(),
        max_jobs: 50,
        lease_duration: Some(LEASE),
        wait_timeout: Some(WAIT),
    };
    loop {
        let lease = again(&session.jobs, &request, |mut client, request| async move {
            client.activate_jobs(request).await
        });
        let Some(leased) = done.run_until_cancelled(lease).await else {
            return Ok(());
        };
        each(leased.context("ActivateJobs")?.jobs, 8, |job| {
            let (session, worker, tally) = (session.clone(), worker.clone(), tally.clone());
            async move { settle(&session, worker, job, &tally).await }
        })
        .await?;
    }
}

/// Answers one job. A job whose lease ended, or whose execution was cancelled, is left alone.
async fn settle(session: &Session, worker: String, job: Job, tally: &Tally) -> anyhow::Result<()> {
    let (jobs, job_id, request_id) = (&session.jobs, job.id.clone(), request_id());
    let outcome = match to_job(&job) {
        Ok(output) => {
            let request = CompleteJobRequest {
                job_id,
                worker,
                output: Some(model::wire::struct_from_json(&output)),
                request_id,
            };
            again(jobs, &request, |mut client, request| async move {
                client.complete_job(request).await
            })
            .await
            .map(|_| Tally::add(&tally.jobs_done))
        }
        Err(error_message) => {
            let request = FailJobRequest {
                job_id,
                worker,
                error_message,
                error_code: "UPSTREAM_TIMEOUT".into(),
                no_retry: false,
                request_id,
            };
            again(jobs, &request, |mut client, request| async move {
                client.fail_job(request).await
            })
            .await
            .map(|_| Tally::add(&tally.attempts_failed))
        }
    };
    match outcome {
        Err(status) if status.code() == Code::FailedPrecondition => Ok(()),
        other => other.with_context(|| format!("job {} ({})", job.id, job.job_type)),
    }
}
