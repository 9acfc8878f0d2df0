//! StepEventService: streams of outbox rows in, acknowledgements out.
//! Invariant: a stream has a bounded number of rows under way; a sender or reader that stalls stops its own
//! stream and nothing else.

use chassis::{Error, Result, Shutdown};
use model::wire::instant;
use prost::Message;
use proto::reporting::v1::step_event_service_server::StepEventService;
use proto::reporting::v1::{StreamStepEventsRequest, StreamStepEventsResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::ingest::{Intake, Row};
use crate::wire::part;

/// Rows of one stream that may be under way.
const MOST_ROWS: usize = 1024;
/// Answers that may wait for a slow reader.
const MOST_ANSWERS: usize = 4;

#[derive(Debug)]
pub struct StepEvents {
    intake: Intake,
    shutdown: Shutdown,
}

impl StepEvents {
    pub fn new(intake: Intake, shutdown: Shutdown) -> Self {
        Self { intake, shutdown }
    }
}

#[tonic::async_trait]
impl StepEventService for StepEvents {
    type StreamStepEventsStream = ReceiverStream<Result<StreamStepEventsResponse, Status>>;

    async fn stream_step_events(
        &self,
        request: Request<Streaming<StreamStepEventsRequest>>,
    ) -> Result<Response<Self::StreamStepEventsStream>, Status> {
        let (answers, answered) = mpsc::channel(MOST_ANSWERS);
        let (settled, acknowledged) = mpsc::channel(MOST_ROWS);
        let stream = Stream {
            requests: request.into_inner(),
            intake: self.intake.clone(),
            settled,
            acknowledged,
            under_way: 0,
        };
        let soft = self.shutdown.soft.clone();
        self.shutdown.tasks.spawn(async move {
            // Rows under way are still written; their sender sends again what was not acknowledged.
            let ended = soft.run_until_cancelled(stream.run(&answers)).await;
            if let Some(Err(error)) = ended {
                let _ = answers.send(Err(error.into())).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(answered)))
    }
}

/// One sender's stream.
struct Stream {
    requests: Streaming<StreamStepEventsRequest>,
    intake: Intake,
    settled: mpsc::Sender<Uuid>,
    acknowledged: mpsc::Receiver<Uuid>,
    under_way: usize,
}

impl Stream {
    /// Ends when the sender has ended and everything of it is settled, or nobody hears the answers.
    async fn run(
        mut self,
        answers: &mpsc::Sender<Result<StreamStepEventsResponse, Status>>,
    ) -> Result<()> {
        let mut is_open = true;
        while is_open || self.under_way > 0 {
            let mut ids = Vec::new();
            tokio::select! {
                request = self.requests.message(), if is_open && self.under_way < MOST_ROWS => {
                    match request.map_err(Error::from)? {
                        Some(request) => self.take(request).await?,
                        None => is_open = false,
                    }
                }
                settled = self.acknowledged.recv_many(&mut ids, MOST_ROWS), if self.under_way > 0 => {
                    self.under_way -= settled;
                    let row_ids = ids.iter().map(Uuid::to_string).collect();
                    if answers.send(Ok(StreamStepEventsResponse { row_ids })).await.is_err() {
                        return Ok(());
                    }
                }
                () = answers.closed() => return Ok(()),
            }
        }
        Ok(())
    }

    async fn take(&mut self, request: StreamStepEventsRequest) -> Result<()> {
        let complete_through = request
            .complete_through
            .as_ref()
            .map(instant)
            .transpose()
            .map_err(|description| Error::invalid("complete_through", description))?;
        if !request.row_id.is_empty() {
            let id = Uuid::try_parse(&request.row_id)
                .map_err(|_| Error::invalid("row_id", "must be a UUID"))?;
            let row = Row {
                id,
                bytes: request.encoded_len(),
                parts: request.executions.into_iter().map(part).collect(),
            };
            self.under_way += 1;
            self.intake.row(row, self.settled.clone()).await?;
        } else if !request.executions.is_empty() {
            return Err(Error::invalid("row_id", "is required with executions"));
        }
        if let Some(instant) = complete_through {
            self.intake.complete_through(instant).await?;
        }
        Ok(())
    }
}
