//! The sender against a reporting service of the test's making.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use proto::execution::v1::ExecutionEvents;
use proto::reporting::v1::step_event_service_server::{StepEventService, StepEventServiceServer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Streaming};

use super::*;
use crate::fixtures::{World, peer};

const PATIENCE: Duration = Duration::from_secs(20);

/// Acknowledges rows, unless told to refuse them, and shows what it got.
#[derive(Clone)]
struct Reporting {
    /// Refuses streams with these rows.
    refused: Arc<Mutex<HashSet<String>>>,
    got: watch::Sender<Vec<StreamStepEventsRequest>>,
}

#[tonic::async_trait]
impl StepEventService for Reporting {
    type StreamStepEventsStream = ReceiverStream<Result<StreamStepEventsResponse, Status>>;

    async fn stream_step_events(
        &self,
        request: Request<Streaming<StreamStepEventsRequest>>,
    ) -> Result<Response<Self::StreamStepEventsStream>, Status> {
        let mut requests = request.into_inner();
        let (acks, stream) = mpsc::channel(10);
        let reporting = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                let id = request.row_id.clone();
                let refused = reporting.refused.lock().unwrap().contains(&id);
                reporting.got.send_modify(|got| got.push(request));
                let answer = if refused {
                    Err(Status::invalid_argument("no such thing"))
                } else {
                    Ok(StreamStepEventsResponse { row_ids: vec![id] })
                };
                let _ = acks.send(answer).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

struct Stage {
    world: World,
    reporting: Reporting,
    got: watch::Receiver<Vec<StreamStepEventsRequest>>,
    hand: mpsc::Sender<OutboxRow>,
    shutdown: Shutdown,
}

impl Stage {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (got_sender, got) = watch::channel(Vec::new());
        let reporting = Reporting {
            refused: Arc::default(),
            got: got_sender,
        };
        let served = tonic::transport::Server::builder()
            .add_service(StepEventServiceServer::new(reporting.clone()))
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(served);
        let world = World::new().await;
        let (hand, handed) = mpsc::channel(HANDED);
        let shutdown = Shutdown::new();
        tokio::spawn(run(
            world.pool.clone(),
            peer(&address),
            handed,
            shutdown.clone(),
        ));
        Self {
            world,
            reporting,
            got,
            hand,
            shutdown,
        }
    }

    /// Writes a row as old as given.
    async fn write(&self, row: &OutboxRow, age: &str) {
        let hex: String = row
            .payload
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let id = row.id;
        self.world
            .run(&format!(
                "insert into execution.outbox (id, payload, created_at)
                 values ('{id}', '\\x{hex}', now() - interval '{age}')"
            ))
            .await;
    }

    async fn until(&mut self, enough: impl FnMut(&Vec<StreamStepEventsRequest>) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, self.got.wait_for(enough)).await;
        waited.expect("reporting gets it in time").unwrap();
    }

    async fn until_deleted(&self, left: usize) {
        let empty = async {
            while self
                .world
                .rows("select id from execution.outbox")
                .await
                .len()
                != left
            {}
        };
        tokio::time::timeout(PATIENCE, empty)
            .await
            .expect("rows are deleted in time");
    }
}

fn row(execution: &str) -> OutboxRow {
    let request = StreamStepEventsRequest {
        executions: vec![ExecutionEvents {
            execution_id: execution.to_owned(),
            ..ExecutionEvents::default()
        }],
        ..StreamStepEventsRequest::default()
    };
    OutboxRow {
        id: Uuid::now_v7(),
        payload: request.encode_to_vec().into(),
    }
}

fn has(got: &[StreamStepEventsRequest], row: &OutboxRow) -> bool {
    got.iter()
        .any(|request| request.row_id == row.id.to_string())
}

#[tokio::test]
async fn handed_and_forgotten_rows_arrive_and_are_deleted_after_their_acknowledgement() {
    let mut stage = Stage::new().await;
    let (handed, forgotten) = (row("a"), row("b"));
    stage.write(&handed, "0 s").await;
    stage.write(&forgotten, "5 s").await;
    stage.hand.send(handed.clone()).await.unwrap();
    stage
        .until(|got| has(got, &handed) && has(got, &forgotten))
        .await;
    stage.until_deleted(0).await;
    let executions: Vec<String> = stage
        .got
        .borrow()
        .iter()
        .flat_map(|request| request.executions.iter().map(|e| e.execution_id.clone()))
        .collect();
    assert!(executions.contains(&"a".to_owned()) && executions.contains(&"b".to_owned()));
    // With nothing left, reporting learns up to when it knows everything.
    let before = chassis::db::now(&mut stage.world.pool.acquire().await.unwrap())
        .await
        .unwrap();
    stage
        .until(|got| {
            let told = got
                .iter()
                .filter_map(|request| request.complete_through.as_ref());
            told.filter_map(|at| wire::instant(at).ok())
                .any(|at| at >= before)
        })
        .await;
    stage.shutdown.soft.cancel();
}

#[tokio::test]
async fn undecodable_row_stays_and_does_not_hold_up_the_others() {
    let mut stage = Stage::new().await;
    let poison = OutboxRow {
        id: Uuid::now_v7(),
        payload: Bytes::from_static(&[0xff, 0xff]),
    };
    let good = row("a");
    stage.write(&poison, "9 s").await;
    stage.write(&good, "5 s").await;
    stage.until(|got| has(got, &good)).await;
    stage.until_deleted(1).await;
    assert!(!has(&stage.got.borrow(), &poison));
    stage.shutdown.soft.cancel();
}

#[tokio::test]
async fn row_that_reporting_refuses_does_not_hold_up_the_others() {
    let mut stage = Stage::new().await;
    let rows: Vec<OutboxRow> = (0..5).map(|n| row(&n.to_string())).collect();
    stage
        .reporting
        .refused
        .lock()
        .unwrap()
        .insert(rows[2].id.to_string());
    for row in &rows {
        stage.write(row, "5 s").await;
    }
    stage.until_deleted(1).await;
    let late = row("late");
    stage.write(&late, "0 s").await;
    stage.hand.send(late.clone()).await.unwrap();
    stage.until(|got| has(got, &late)).await;
    stage.until_deleted(1).await;
    stage.shutdown.soft.cancel();
}
