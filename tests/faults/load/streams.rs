//! A worker on streams, which it leaves in the middle as often as it closes them. Invariant: an answer whose result did
//! not come is given once more, by a call of its own.

use std::collections::HashMap;
use std::time::Duration;

use platform::client::Session;
use proto::execution::v1::job_answer::Answer;
use proto::execution::v1::{
    Job, JobAnswer, JobResult, JobSubscription, StreamJobsRequest, StreamJobsResponse,
};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::workers::{LEASE, Worker, duration};
use crate::chance::Chance;

/// How long results may take after the worker has closed its side.
const LAST_RESULTS: Duration = Duration::from_secs(4);

pub async fn work(worker: Worker, mut chance: Chance, done: watch::Receiver<bool>) {
    while !*done.borrow() {
        let session = chance.pick(&worker.sessions).clone();
        let unanswered = Stream::of(&worker, session, &mut chance).await;
        if unanswered.is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for answer in unanswered.unwrap_or_default() {
            worker.insist(answer, &mut chance).await;
        }
    }
}

struct Stream<'a> {
    worker: &'a Worker,
    chance: &'a mut Chance,
    /// None once it has closed its side.
    say: Option<mpsc::Sender<StreamJobsRequest>>,
    /// Answers that have no result yet.
    open: HashMap<u64, Answer>,
    number: u64,
}

impl<'a> Stream<'a> {
    /// One stream's life; returns what is left without a result, or nothing if no stream was opened.
    async fn of(
        worker: &'a Worker,
        session: Session,
        chance: &'a mut Chance,
    ) -> Option<Vec<Answer>> {
        let (say, said) = mpsc::channel(100);
        let subscription = JobSubscription {
            worker: worker.name.clone(),
            job_types: vec!["work".into()],
            credit: 16,
            lease_duration: Some(duration(LEASE)),
        };
        let first = StreamJobsRequest {
            subscription: Some(subscription),
            ..StreamJobsRequest::default()
        };
        let _ = say.send(first).await;
        let mut jobs = session.jobs;
        let opened = jobs.stream_jobs(ReceiverStream::new(said));
        let mut messages = worker.ledger.call("stream", opened).await.ok()?;
        let (life, closes) = (chance.within(100..3000), chance.percent(50));
        let mut ends = Instant::now() + Duration::from_millis(life);
        let mut stream = Self {
            worker,
            chance,
            say: Some(say),
            open: HashMap::new(),
            number: 0,
        };
        loop {
            tokio::select! {
                message = messages.message() => match message {
                    Ok(Some(message)) => stream.hear(message).await,
                    _ => break,
                },
                () = tokio::time::sleep_until(ends) => {
                    if !closes || stream.say.take().is_none() {
                        break;
                    }
                    ends = Instant::now() + LAST_RESULTS;
                }
            }
        }
        Some(stream.open.into_values().collect())
    }

    async fn hear(&mut self, message: StreamJobsResponse) {
        for result in message.results {
            self.settle(&result);
        }
        let answers: Vec<JobAnswer> = message
            .jobs
            .iter()
            .filter_map(|job| self.answer(job))
            .collect();
        if let Some(say) = &self.say
            && !answers.is_empty()
        {
            let answers = StreamJobsRequest {
                answers,
                ..StreamJobsRequest::default()
            };
            let _ = say.send(answers).await;
        }
    }

    fn answer(&mut self, job: &Job) -> Option<JobAnswer> {
        self.worker.begin(job);
        let answer = self.worker.answer_to(job, self.chance)?;
        self.number += 1;
        self.open.insert(self.number, answer.clone());
        Some(JobAnswer {
            number: self.number,
            answer: Some(answer),
        })
    }

    fn settle(&mut self, result: &JobResult) {
        let mut book = self.worker.ledger.book();
        let Some(answer) = self.open.remove(&result.number) else {
            let text = format!("stream: a result of {}, which has one", result.number);
            book.improper.push(text);
            return;
        };
        let Some(error) = &result.error else {
            book.ok += 1;
            drop(book);
            self.worker.note(&answer);
            return;
        };
        match Code::from_i32(error.code) {
            Code::Unavailable | Code::ResourceExhausted => {
                book.unknown += 1;
                self.open.insert(result.number, answer);
            }
            Code::Internal | Code::Unknown | Code::DataLoss => {
                book.improper.push(format!("stream: {error:?}"));
            }
            _ => book.refused += 1,
        }
    }
}
