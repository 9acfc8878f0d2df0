//! A worker on its stream.

use std::collections::{HashMap, VecDeque};

use anyhow::{Context, ensure};
use platform::client::Session;
use proto::execution::v1::job_answer::Answer;
use proto::execution::v1::{
    Job, JobAnswer, JobResult, JobSubscription, StreamJobsRequest, StreamJobsResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::story::Outcome;

/// Nothing takes this long; it only ends a test that would hang.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// A worker on its stream.
pub struct Worker {
    pub say: Option<mpsc::Sender<StreamJobsRequest>>,
    stream: Streaming<StreamJobsResponse>,
    jobs: VecDeque<Job>,
    pub results: HashMap<u64, JobResult>,
}

pub fn subscription(job_type: &str, credit: i32) -> JobSubscription {
    JobSubscription {
        worker: "story".into(),
        job_types: vec![job_type.into()],
        credit,
        lease_duration: None,
    }
}

pub fn first(subscription: JobSubscription) -> StreamJobsRequest {
    StreamJobsRequest {
        subscription: Some(subscription),
        ..StreamJobsRequest::default()
    }
}

impl Worker {
    pub async fn open(session: &Session, subscription: JobSubscription) -> Result<Self, Status> {
        Self::begin(session, first(subscription)).await
    }

    pub async fn begin(session: &Session, message: StreamJobsRequest) -> Result<Self, Status> {
        let (say, said) = mpsc::channel(100);
        let _ = say.send(message).await;
        let mut jobs = session.jobs.clone();
        let stream = jobs.stream_jobs(ReceiverStream::new(said)).await?;
        Ok(Self {
            say: Some(say),
            stream: stream.into_inner(),
            jobs: VecDeque::new(),
            results: HashMap::new(),
        })
    }

    pub async fn tell(&self, message: StreamJobsRequest) -> Outcome {
        let say = self.say.as_ref().context("it has closed its side")?;
        Ok(say.send(message).await?)
    }

    pub async fn answer(&self, answers: Vec<(u64, Answer)>) -> Outcome {
        let answers = answers.into_iter().map(|(number, answer)| JobAnswer {
            number,
            answer: Some(answer),
        });
        self.tell(StreamJobsRequest {
            answers: answers.collect(),
            ..StreamJobsRequest::default()
        })
        .await
    }

    /// Reads one message; none at the end.
    async fn read(&mut self) -> Result<bool, Status> {
        let message = tokio::time::timeout(LIMIT, self.stream.message()).await;
        let late = |_| Status::deadline_exceeded("silence");
        let Some(message) = message.map_err(late)?? else {
            return Ok(false);
        };
        self.jobs.extend(message.jobs);
        let results = message.results.into_iter();
        self.results
            .extend(results.map(|result| (result.number, result)));
        Ok(true)
    }

    pub async fn job(&mut self) -> anyhow::Result<Job> {
        loop {
            if let Some(job) = self.jobs.pop_front() {
                return Ok(job);
            }
            ensure!(self.read().await?, "the stream ended");
        }
    }

    pub async fn result(&mut self, number: u64) -> anyhow::Result<JobResult> {
        loop {
            if let Some(result) = self.results.remove(&number) {
                return Ok(result);
            }
            ensure!(self.read().await?, "the stream ended");
        }
    }

    /// The reason of a refusal; empty if it was none.
    pub async fn reason(&mut self, number: u64) -> anyhow::Result<String> {
        let error = self.result(number).await?.error;
        Ok(error.map(|error| error.reason).unwrap_or_default())
    }

    /// Reads to the end.
    pub async fn end(&mut self) -> Option<Status> {
        loop {
            match self.read().await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(status) => return Some(status),
            }
        }
    }
}
