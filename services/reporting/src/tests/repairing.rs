//! Gaps that nobody closes.

use std::pin::Pin;

use chassis::auth::ServiceKey;
use chassis::client::Peer;
use chrono::TimeDelta;
use model::event::ExecutionEvents;
use model::wire::events_to_proto;
use proto::execution::v1::history_service_server::{HistoryService, HistoryServiceServer};
use proto::execution::v1::{StreamHistoryRequest, StreamHistoryResponse};
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::Fixture;
use super::samples::{part, simple};
use crate::history::{History, Repair};

/// Tells the histories it was given.
struct Archive(Vec<ExecutionEvents>);

#[tonic::async_trait]
impl HistoryService for Archive {
    type StreamHistoryStream =
        Pin<Box<dyn Stream<Item = Result<StreamHistoryResponse, Status>> + Send>>;

    async fn stream_history(
        &self,
        request: Request<StreamHistoryRequest>,
    ) -> Result<Response<Self::StreamHistoryStream>, Status> {
        let wanted = request.into_inner().execution_ids;
        let known = self
            .0
            .iter()
            .filter(|own| wanted.contains(&own.execution_id.to_string()));
        let answers = known.map(|own| {
            Ok(StreamHistoryResponse {
                events: Some(events_to_proto(own)),
            })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(Vec::from_iter(
            answers,
        )))))
    }
}

async fn repair(fixture: &Fixture, archive: Archive) -> Repair {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server =
        tonic::transport::Server::builder().add_service(HistoryServiceServer::new(archive));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let peer = Peer::connect_lazy(&address, ServiceKey::from_seed(&[7; 32]), "reporting").unwrap();
    Repair::new(fixture.pool.clone(), History::new(peer))
}

#[tokio::test]
async fn an_old_gap_is_closed_from_history() {
    let fixture = Fixture::new().await;
    let histories = [simple(1, 5), simple(2, 7)];
    fixture.know(&histories).await;
    let mut repair = repair(&fixture, Archive(histories.to_vec())).await;
    fixture
        .settle(&[part(&histories[0], 2, 3), part(&histories[1], 1, 2)])
        .await;
    assert_eq!(fixture.held().await, 2);
    // Young gaps are left to the stream.
    repair.step(TimeDelta::hours(1)).await.unwrap();
    assert_eq!(fixture.held().await, 2);
    repair.step(TimeDelta::zero()).await.unwrap();
    fixture.check(&histories).await;
    // What comes after all has been counted.
    fixture.settle(&histories).await;
    fixture.check(&histories).await;
    assert_eq!(fixture.parked().await, 0);
}

#[tokio::test]
async fn what_history_does_not_know_is_parked() {
    let fixture = Fixture::new().await;
    let history = simple(1, 5);
    fixture.know(std::slice::from_ref(&history)).await;
    let mut repair = repair(&fixture, Archive(Vec::new())).await;
    fixture.settle(&[part(&history, 1, 3)]).await;
    repair.step(TimeDelta::zero()).await.unwrap();
    assert_eq!((fixture.held().await, fixture.parked().await), (0, 1));
}

#[tokio::test]
async fn without_history_gaps_wait() {
    let fixture = Fixture::new().await;
    let history = simple(1, 5);
    fixture.know(std::slice::from_ref(&history)).await;
    // Nobody listens there.
    let peer =
        Peer::connect_lazy("127.0.0.1:9", ServiceKey::from_seed(&[7; 32]), "reporting").unwrap();
    let mut repair = Repair::new(fixture.pool.clone(), History::new(peer));
    fixture.settle(&[part(&history, 1, 3)]).await;
    assert!(repair.step(TimeDelta::zero()).await.is_err());
    assert_eq!((fixture.held().await, fixture.parked().await), (1, 0));
}
