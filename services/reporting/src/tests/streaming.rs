//! Streams of rows, through a running service.

use std::net::SocketAddr;

use chassis::Shutdown;
use chassis::auth::ServiceKey;
use chassis::client::Peer;
use chassis::config::Common;
use devkit::Folder;
use model::event::ExecutionEvents;
use model::wire::{events_to_proto, timestamp};
use proto::reporting::v1::StreamStepEventsRequest;
use proto::reporting::v1::step_event_service_client::StepEventServiceClient;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use uuid::Uuid;

use super::Fixture;
use super::samples::{instant, part, simple};
use crate::{Config, run};

/// The service, running.
struct Service {
    address: SocketAddr,
    key: ServiceKey,
    shutdown: Shutdown,
    ended: JoinHandle<chassis::Result<()>>,
    _folder: Folder,
}

impl Service {
    async fn start(fixture: &Fixture) -> Self {
        let folder = Folder::new();
        let config = Config {
            common: Common {
                data_dir: folder.path().to_owned(),
                database_url: None,
                service_key_file: Some(folder.service_key()),
            },
            database_url: Some(fixture.database.reporting_url()),
            addr: String::new(),
            catalog_addr: "127.0.0.1:9".to_owned(),
            execution_addr: "127.0.0.1:9".to_owned(),
            connections: 4,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap(), Shutdown::new());
        let ended = tokio::spawn(run(config, listener, shutdown.clone()));
        let key = ServiceKey::load_or_create(&folder.service_key()).unwrap();
        Self {
            address,
            key,
            shutdown,
            ended,
            _folder: folder,
        }
    }

    fn client(&self, key: ServiceKey) -> StepEventServiceClient<Peer> {
        let peer = Peer::connect_lazy(&self.address.to_string(), key, "execution").unwrap();
        StepEventServiceClient::new(peer)
    }

    /// Opens a stream as soon as the service serves.
    async fn stream(&self) -> Stream {
        let mut client = self.client(self.key.clone());
        loop {
            let (requests, outbox) = mpsc::channel(4);
            match client.stream_step_events(ReceiverStream::new(outbox)).await {
                Ok(answers) => {
                    return Stream {
                        requests,
                        answers: answers.into_inner(),
                    };
                }
                Err(status) if status.code() == Code::Unavailable => tokio::task::yield_now().await,
                Err(status) => panic!("{status}"),
            }
        }
    }

    async fn stop(self) {
        self.shutdown.soft.cancel();
        self.ended.await.unwrap().unwrap();
        self.shutdown.outcome().unwrap();
    }
}

struct Stream {
    requests: mpsc::Sender<StreamStepEventsRequest>,
    answers: tonic::Streaming<proto::reporting::v1::StreamStepEventsResponse>,
}

impl Stream {
    async fn send(&self, events: &[ExecutionEvents]) -> String {
        let row_id = Uuid::now_v7().to_string();
        let executions = events.iter().map(events_to_proto).collect();
        let request = StreamStepEventsRequest {
            row_id: row_id.clone(),
            executions,
            complete_through: None,
        };
        self.requests.send(request).await.unwrap();
        row_id
    }

    /// Waits until all of them are acknowledged.
    async fn acknowledged(&mut self, mut rows: Vec<String>) {
        while !rows.is_empty() {
            let answer = self
                .answers
                .message()
                .await
                .unwrap()
                .expect("the stream is open");
            rows.retain(|row| !answer.row_ids.contains(row));
        }
    }
}

#[tokio::test]
async fn acknowledged_rows_are_counted() {
    let fixture = Fixture::new().await;
    let histories = Vec::from_iter((1..=200).map(|number| simple(number, number as i64)));
    fixture.know(&histories).await;
    let service = Service::start(&fixture).await;
    let (mut first, mut second) = (service.stream().await, service.stream().await);
    let mut rows = (Vec::new(), Vec::new());
    for history in &histories {
        rows.0.push(first.send(&[part(history, 1, 3)]).await);
        rows.1.push(second.send(&[part(history, 0, 2)]).await);
    }
    tokio::join!(first.acknowledged(rows.0), second.acknowledged(rows.1));
    // Whatever was held for a moment: its predecessor may have come with another sender at that moment.
    let rest = vec![first.send(&histories).await];
    first.acknowledged(rest).await;
    fixture.check(&histories).await;

    let at = instant("2021-01-04T00:00:00Z");
    let done = StreamStepEventsRequest {
        complete_through: Some(timestamp(at)),
        ..Default::default()
    };
    first.requests.send(done).await.unwrap();
    let shown =
        "select count(*) from reporting.watermark where complete_through = '2021-01-04 00:00:00Z'";
    fixture.until(shown).await;
    assert_eq!(fixture.stale().await, 0);
    drop((first, second));
    service.stop().await;
}

#[tokio::test]
async fn a_stream_ends_when_its_sender_or_the_service_does() {
    let fixture = Fixture::new().await;
    let history = simple(1, 5);
    fixture.know(std::slice::from_ref(&history)).await;
    let service = Service::start(&fixture).await;
    let Stream {
        requests,
        mut answers,
    } = service.stream().await;
    drop(requests);
    assert!(answers.message().await.unwrap().is_none());
    let mut open = service.stream().await;
    service.shutdown.soft.cancel();
    assert!(open.answers.message().await.unwrap().is_none());
    service.stop().await;
}

#[tokio::test]
async fn a_row_without_an_id_is_refused() {
    let fixture = Fixture::new().await;
    let service = Service::start(&fixture).await;
    for row_id in ["", "x"] {
        let mut stream = service.stream().await;
        let executions = vec![events_to_proto(&simple(1, 5))];
        let request = StreamStepEventsRequest {
            row_id: row_id.to_owned(),
            executions,
            complete_through: None,
        };
        stream.requests.send(request).await.unwrap();
        let status: Status = stream.answers.message().await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    service.stop().await;
}

#[tokio::test]
async fn only_services_of_the_installation_may_send() {
    let fixture = Fixture::new().await;
    let service = Service::start(&fixture).await;
    drop(service.stream().await);
    let mut stranger = service.client(ServiceKey::from_seed(&[9; 32]));
    let status = stranger
        .stream_step_events(tokio_stream::empty())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    service.stop().await;
}

#[tokio::test]
async fn rows_wait_while_the_database_refuses_and_are_then_counted() {
    let fixture = Fixture::new().await;
    let history = simple(1, 5);
    fixture.know(std::slice::from_ref(&history)).await;
    let service = Service::start(&fixture).await;
    let mut stream = service.stream().await;
    fixture
        .run("alter table reporting.figures rename to away", &[])
        .await;
    let row = stream.send(std::slice::from_ref(&history)).await;
    // Long enough in the queue to have been tried.
    fixture
        .until("select count(*) from pg_stat_activity where query ilike 'rollback%'")
        .await;
    fixture
        .run("alter table reporting.away rename to figures", &[])
        .await;
    stream.acknowledged(vec![row]).await;
    fixture.check(&[history]).await;
    assert_eq!(fixture.parked().await, 0);
    drop(stream);
    service.stop().await;
}
