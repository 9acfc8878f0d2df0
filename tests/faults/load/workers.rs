//! Workers of `work`: some of what they are given fails, some is forgotten. Invariant: what becomes of an attempt is
//! decided by its idempotency key, so it does not matter who gets it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use model::wire::struct_from_json;
use platform::client::Session;
use proto::execution::v1::job_answer::Answer;
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
                self.begin(job);
            }
            let answers = leased.jobs.into_iter();
            let answers = answers.map(|job| self.answer(job, chance.next()));
            join_all(answers.collect::<Vec<_>>()).await;
        }
    }

    async fn answer(&self, job: Job, seed: u64) {
        let mut chance = Chance::new(seed);
        if let Some(answer) = self.answer_to(&job, &mut chance) {
            self.insist(answer, &mut chance).await;
        }
    }

    /// What becomes of an attempt; nothing, if it is forgotten.
    pub fn answer_to(&self, job: &Job, chance: &mut Chance) -> Option<Answer> {
        let mut luck = Chance::new(self.seed ^ hash(&job.idempotency_key));
        match luck.below(100) {
            0..2 => None,
            2..20 => Some(Answer::Fail(FailJobRequest {
                job_id: job.id.clone(),
                worker: self.name.clone(),
                error_message: "it \u{0} broke".into(),
                error_code: "BROKEN".into(),
                no_retry: false,
                request_id: request_id(chance),
            })),
            _ => {
                let again = activation(job) < 3 && luck.percent(40);
                let mark = request_id(chance);
                let output = json!({ "mark": mark, "again": again });
                Some(Answer::Complete(CompleteJobRequest {
                    job_id: job.id.clone(),
                    worker: self.name.clone(),
                    output: output.as_object().map(struct_from_json),
                    request_id: mark,
                }))
            }
        }
    }

    /// Gives an answer by a call of its own, again and again while it may not have arrived.
    pub async fn insist(&self, answer: Answer, chance: &mut Chance) {
        let own = (&self.sessions, chance);
        match &answer {
            Answer::Complete(request) => {
                let call = |session: Session| {
                    let request = request.clone();
                    async move { session.jobs.clone().complete_job(request).await }
                };
                let told: Result<_, Fate> =
                    self.ledger.insist(("complete", LEASE), own, call).await;
                if told.is_ok() {
                    self.note(&answer);
                }
            }
            Answer::Fail(request) => {
                let call = |session: Session| {
                    let request = request.clone();
                    async move { session.jobs.clone().fail_job(request).await }
                };
                let _: Result<_, Fate> = self.ledger.insist(("fail", LEASE), own, call).await;
            }
            _ => unreachable!("workers complete and fail"),
        }
    }

    /// It was told OK.
    pub fn note(&self, answer: &Answer) {
        if let Answer::Complete(request) = answer {
            self.ledger.book().completions.push(Completion {
                job: request.job_id.clone(),
                mark: request.request_id.clone(),
            });
        }
    }

    /// Work begins.
    pub fn begin(&self, job: &Job) {
        let key = job.idempotency_key.clone();
        *self.ledger.book().effects.entry(key).or_default() += 1;
    }
}

/// The third part of `execution/step/activation/attempt`.
fn activation(job: &Job) -> u32 {
    let part = job.idempotency_key.split('/').nth(2);
    part.and_then(|part| part.parse().ok()).unwrap_or(u32::MAX)
}

pub fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).expect("a few seconds")
}
