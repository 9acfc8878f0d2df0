//! A stand-in for the execution service's history.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use chassis::auth::ServiceKey;
use chassis::client::Peer;
use chrono::{DateTime, Utc};
use model::event::ExecutionEvents;
use model::wire::{events_to_proto, instant};
use proto::execution::v1::history_service_server::{HistoryService, HistoryServiceServer};
use proto::execution::v1::{HistoryRange, StreamHistoryRequest, StreamHistoryResponse};
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::samples::part;
use crate::history::History;

/// Tells the histories it was given, long ones in several messages.
#[derive(Clone, Default)]
pub struct Archive {
    told: Arc<Mutex<Vec<ExecutionEvents>>>,
    /// What only the next request is told.
    next: Arc<Mutex<Option<Vec<ExecutionEvents>>>>,
}

impl Archive {
    pub fn of(histories: &[ExecutionEvents]) -> Self {
        let archive = Self::default();
        archive.set(histories);
        archive
    }

    pub fn set(&self, histories: &[ExecutionEvents]) {
        *self.told.lock().unwrap() = histories.to_vec();
    }

    /// Lets the next request be told of an earlier moment.
    pub fn tell_once(&self, histories: &[ExecutionEvents]) {
        *self.next.lock().unwrap() = Some(histories.to_vec());
    }

    pub async fn history(&self) -> History {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tonic::transport::Server::builder()
            .add_service(HistoryServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        let key = ServiceKey::from_seed(&[7; 32]);
        History::new(Peer::connect_lazy(&address, key, "reporting").unwrap())
    }
}

/// History that cannot be asked: nobody listens there.
pub fn nobody() -> History {
    let key = ServiceKey::from_seed(&[7; 32]);
    History::new(Peer::connect_lazy("127.0.0.1:9", key, "reporting").unwrap())
}

fn is_within(own: &ExecutionEvents, range: &HistoryRange) -> bool {
    let read = |at: &Option<prost_types::Timestamp>| -> Option<DateTime<Utc>> {
        at.as_ref().map(|at| instant(at).unwrap())
    };
    let after = read(&range.after_started_at);
    (range.workflow_id.is_empty() || range.workflow_id == own.workflow_id.to_string())
        && read(&range.started_from).is_none_or(|from| own.started_at >= from)
        && read(&range.started_before).is_none_or(|before| own.started_at < before)
        && after.is_none_or(|after| {
            (own.started_at, own.execution_id.to_string())
                > (after, range.after_execution_id.clone())
        })
}

#[tonic::async_trait]
impl HistoryService for Archive {
    type StreamHistoryStream =
        Pin<Box<dyn Stream<Item = Result<StreamHistoryResponse, Status>> + Send>>;

    async fn stream_history(
        &self,
        request: Request<StreamHistoryRequest>,
    ) -> Result<Response<Self::StreamHistoryStream>, Status> {
        let asked = request.into_inner();
        if asked.range.is_none() && !(1..=1000).contains(&asked.execution_ids.len()) {
            return Err(Status::invalid_argument(
                "execution_ids: wants 1 to 1000 ids",
            ));
        }
        let next = self.next.lock().unwrap().take();
        let mut told = next.unwrap_or_else(|| self.told.lock().unwrap().clone());
        told.retain(|own| match &asked.range {
            Some(range) => is_within(own, range),
            None => asked.execution_ids.contains(&own.execution_id.to_string()),
        });
        told.sort_by_key(|own| (own.started_at, own.execution_id));
        let mut answers = Vec::new();
        for own in &told {
            for from in (0..own.events.len()).step_by(2) {
                let own = part(own, from, (from + 2).min(own.events.len()));
                let events = Some(events_to_proto(&own));
                answers.push(Ok(StreamHistoryResponse { events }));
            }
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(answers))))
    }
}
