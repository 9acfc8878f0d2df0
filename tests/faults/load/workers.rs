//! Workers of `work`: some of what they are given fails, some is forgotten. Invariant: what becomes of an attempt is
//! decided by its idempotency key, so it does not matter who gets it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use model::wire::struct_from_json;
use proto::execution::v1::{ActivateJobsRequest, CompleteJobRequest, FailJobRequest, Job};
use serde_json::json;
use tokio::sync::watch;

use super::Everywhere;
use super::callers::request_id;
use super::ledger::{Completion, Fate, Ledger};
use crate::chance::{Chance, hash};

pub const LEASE: Duration = Duration::from_secs(2);

pub struct Worker {
    pub name: String,
    pub sessions: Everywhere,
    pub ledger: Arc<Ledger>,
    pub seed: u64,
}

impl Worker {
    pub async fn work(self, mut chance: Chance, done: watch::Receiver<bool>) {
        while !*done.borrow() {
            let session = chance.pick(&self.sessions).clone();
            let request = ActivateJobsRequest {
                worker: self.name.clone(),
                job_types: vec!["work".into()],
                max_jobs: 16,
                lease_duration: Some(duration(LEASE)),
                wait_timeout: Some(duration(Duration::from_millis(500))),
            };
            let mut jobs = session.jobs;
            let leased = self
                .ledger
                .call("activate", jobs.activate_jobs(request))
                .await;
            let Ok(leased) = leased else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            for job in &leased.jobs {
                let key = job.idempotency_key.clone();
                *self.ledger.book().effects.entry(key).or_default() += 1;
            }
            let answers = leased.jobs.into_iter();
            let answers = answers.map(|job| self.answer(job, chance.next()));
            join_all(answers.collect::<Vec<_>>()).await;
        }
    }

    async fn answer(&self, job: Job, seed: u64) {
        let mut chance = Chance::new(seed);
        let mut luck = Chance::new(self.seed ^ hash(&job.idempotency_key));
        let activation = activation(&job);
        match luck.below(100) {
            0..2 => {}
            2..20 => self.fail(job, &mut chance).await,
            _ => {
                let again = activation < 3 && luck.percent(40);
                self.complete(job, again, &mut chance).await;
            }
        }
    }

    async fn fail(&self, job: Job, chance: &mut Chance) {
        let request = FailJobRequest {
            job_id: job.id,
            worker: self.name.clone(),
            error_message: "it \u{0} broke".into(),
            error_code: "BROKEN".into(),
            no_retry: false,
            request_id: request_id(chance),
        };
        let call = |session: platform::client::Session| {
            let request = request.clone();
            async move { session.jobs.clone().fail_job(request).await }
        };
        let own = (&self.sessions, chance);
        let _: Result<_, Fate> = self.ledger.insist(("fail", LEASE), own, call).await;
    }

    async fn complete(&self, job: Job, again: bool, chance: &mut Chance) {
        let mark = request_id(chance);
        let output = json!({ "mark": mark, "again": again });
        let request = CompleteJobRequest {
            job_id: job.id.clone(),
            worker: self.name.clone(),
            output: output.as_object().map(struct_from_json),
            request_id: mark.clone(),
        };
        let call = |session: platform::client::Session| {
            let request = request.clone();
            async move { session.jobs.clone().complete_job(request).await }
        };
        let own = (&self.sessions, chance);
        let completed: Result<_, Fate> = self.ledger.insist(("complete", LEASE), own, call).await;
        if completed.is_ok() {
            let job = job.id;
            self.ledger
                .book()
                .completions
                .push(Completion { job, mark });
        }
    }
}

/// The third part of `execution/step/activation/attempt`.
fn activation(job: &Job) -> u32 {
    let part = job.idempotency_key.split('/').nth(2);
    part.and_then(|part| part.parse().ok()).unwrap_or(u32::MAX)
}

fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).expect("a few seconds")
}
