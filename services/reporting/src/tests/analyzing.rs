//! AnalyzeWorkflow against a catalog and an archive that tell what they were given.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chassis::auth::ServiceKey;
use chassis::client::Peer;
use chassis::server::CallerGone;
use chrono::TimeDelta;
use model::definition::{Definition, Step};
use model::event::ExecutionEvents;
use model::wire::{events_to_proto, instant as read, timestamp};
use proto::catalog::v1 as catalog;
use proto::catalog::v1::definition_service_server::{DefinitionService, DefinitionServiceServer};
use proto::execution::v1::history_service_server::{HistoryService, HistoryServiceServer};
use proto::execution::v1::{StreamHistoryRequest, StreamHistoryResponse};
use proto::reporting::v1::{AnalyzeWorkflowRequest, AnalyzeWorkflowResponse};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use super::Fixture;
use super::samples::{instant, simple};
use crate::definitions::Definitions;
use crate::history::History;
use crate::names::Names;
use crate::rpc::insight::Analyst;

/// Every history of a range, in order; and then, if it never ends, nothing more.
struct Archive {
    histories: Vec<ExecutionEvents>,
    never_ends: bool,
    asked: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl HistoryService for Archive {
    type StreamHistoryStream =
        Pin<Box<dyn Stream<Item = Result<StreamHistoryResponse, Status>> + Send>>;

    async fn stream_history(
        &self,
        request: Request<StreamHistoryRequest>,
    ) -> Result<Response<Self::StreamHistoryStream>, Status> {
        let range = request.into_inner().range.expect("a range");
        let from = range.started_from.map(|at| read(&at).unwrap());
        let before = range.started_before.map(|at| read(&at).unwrap());
        let mut told: Vec<&ExecutionEvents> = (self.histories.iter())
            .filter(|own| own.workflow_id.to_string() == range.workflow_id)
            .filter(|own| from.is_none_or(|from| own.started_at >= from))
            .filter(|own| before.is_none_or(|before| own.started_at < before))
            .collect();
        told.sort_by_key(|own| (own.started_at, own.execution_id));
        let told: Vec<_> = (told.into_iter())
            .map(|own| {
                let events = Some(events_to_proto(own));
                Ok(StreamHistoryResponse { events })
            })
            .collect();
        self.asked.fetch_add(1, Ordering::SeqCst);
        let told = tokio_stream::iter(told);
        Ok(Response::new(match self.never_ends {
            true => Box::pin(told.chain(tokio_stream::pending())),
            false => Box::pin(told),
        }))
    }
}

/// Knows one workflow, whose only step is the one of `simple`.
struct Registry(Uuid);

#[tonic::async_trait]
impl DefinitionService for Registry {
    async fn resolve_starts(
        &self,
        request: Request<catalog::ResolveStartsRequest>,
    ) -> Result<Response<catalog::ResolveStartsResponse>, Status> {
        let asked = request.into_inner().workflow_ids;
        let known = asked.into_iter().filter(|id| *id == self.0.to_string());
        let targets = known.map(|workflow_id| catalog::StartTarget {
            workflow_id,
            version: 3,
            ..catalog::StartTarget::default()
        });
        let targets = targets.collect();
        Ok(Response::new(catalog::ResolveStartsResponse { targets }))
    }

    async fn get_snapshot(
        &self,
        _: Request<catalog::GetSnapshotRequest>,
    ) -> Result<Response<catalog::GetSnapshotResponse>, Status> {
        let definition = Definition {
            workflow_id: self.0,
            version: 3,
            client_id: Uuid::nil(),
            name: "W".to_owned(),
            description: None,
            target: None,
            steps: vec![Step {
                id: Uuid::from_u128(10),
                key: "a".to_owned(),
                name: "A".to_owned(),
                description: None,
                step_type: "custom".to_owned(),
                order: 0,
                config: serde_json::Map::new(),
                is_required: true,
            }],
            transitions: Vec::new(),
        };
        let definition_json = serde_json::to_string(&definition).unwrap();
        Ok(Response::new(catalog::GetSnapshotResponse {
            definition_json,
        }))
    }

    async fn resolve_names(
        &self,
        request: Request<catalog::ResolveNamesRequest>,
    ) -> Result<Response<catalog::ResolveNamesResponse>, Status> {
        let names = (request.into_inner().ids.into_iter())
            .map(|id| (id.clone(), format!("name of {id}")))
            .collect();
        Ok(Response::new(catalog::ResolveNamesResponse { names }))
    }
}

/// The analyst, and how often it has asked for histories.
async fn analyst(
    fixture: &Fixture,
    histories: &[ExecutionEvents],
    never_ends: bool,
    registry: Option<Registry>,
) -> (Arc<Analyst>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(AtomicUsize::new(0));
    let archive = Archive {
        histories: histories.to_vec(),
        never_ends,
        asked: asked.clone(),
    };
    let server = tonic::transport::Server::builder()
        .add_service(HistoryServiceServer::new(archive))
        .add_optional_service(registry.map(DefinitionServiceServer::new));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let peer = Peer::connect_lazy(&address, ServiceKey::from_seed(&[7; 32]), "reporting").unwrap();
    let analyst = Analyst::new(
        fixture.pool.clone(),
        History::new(peer.clone()),
        Definitions::new(peer.clone()),
        Names::new(peer),
    );
    (Arc::new(analyst), asked)
}

/// Ten executions of a second: four that started at one midnight, then one each day.
fn ten() -> Vec<ExecutionEvents> {
    let midnight = instant("2021-03-01T00:00:00Z");
    let start = |execution: i64| midnight + TimeDelta::days((execution - 4).max(0));
    (1..=10_i64)
        .map(|execution| {
            let mut history = simple(execution as u128, 1_000_000);
            history.started_at = start(execution);
            history
        })
        .collect()
}

fn request(workflow_id: Uuid, max_executions: i32) -> AnalyzeWorkflowRequest {
    AnalyzeWorkflowRequest {
        workflow_id: workflow_id.to_string(),
        max_executions,
        ..AnalyzeWorkflowRequest::default()
    }
}

fn counts(answer: &AnalyzeWorkflowResponse) -> (i64, i64, i64) {
    let AnalyzeWorkflowResponse {
        total_executions,
        analyzed_executions,
        ..
    } = answer;
    let told = answer.variants.iter().map(|variant| variant.executions);
    (*total_executions, *analyzed_executions, told.sum())
}

#[tokio::test]
async fn the_latest_executions_of_the_range_are_looked_at() {
    let fixture = Fixture::new().await;
    let histories = ten();
    fixture.know(&histories).await;
    fixture.settle(&histories).await;
    let workflow = histories[0].workflow_id;
    let (analyst, _) = analyst(&fixture, &histories, false, Some(Registry(workflow))).await;
    let all = analyst.analyze(request(workflow, 0)).await.unwrap();
    assert_eq!(counts(&all), (10, 10, 10));
    assert_eq!(all.analyzed_from, Some(timestamp(histories[0].started_at)));
    assert_eq!(all.analyzed_until, Some(timestamp(histories[9].started_at)));
    let [step] = &all.steps[..] else {
        panic!("one step: {:?}", all.steps);
    };
    assert_eq!(step.name, format!("name of {}", step.step_id));
    assert_eq!((step.activations, step.time_share), (10, Some(1.0)));
    assert_eq!(step.waiting_share, None);
    let conformance = all.conformance.expect("the catalog is there");
    assert_eq!(
        (conformance.version, conformance.conforming_executions),
        (3, 10)
    );

    // Of those that started together, as many as there is room for.
    for (most, from) in [(8, 0), (6, 4), (1, 9)] {
        let latest = analyst.analyze(request(workflow, most)).await.unwrap();
        let most = i64::from(most);
        assert_eq!(counts(&latest), (10, most, most));
        let from = Some(timestamp(histories[from].started_at));
        assert_eq!(latest.analyzed_from, from, "{most}");
    }

    let range = AnalyzeWorkflowRequest {
        started_from: Some(timestamp(histories[4].started_at)),
        started_before: Some(timestamp(histories[8].started_at)),
        ..request(workflow, 3)
    };
    let ranged = analyst.analyze(range).await.unwrap();
    assert_eq!(counts(&ranged), (4, 3, 3));
    assert_eq!(
        ranged.analyzed_from,
        Some(timestamp(histories[5].started_at))
    );

    let other = Uuid::from_u128(7);
    let unknown = analyst.analyze(request(other, 0)).await.unwrap_err();
    assert_eq!(
        (unknown.code(), unknown.reason()),
        (Code::NotFound, "WORKFLOW_NOT_FOUND")
    );
}

#[tokio::test]
async fn without_the_catalog_an_analysis_says_less() {
    let fixture = Fixture::new().await;
    let histories = ten();
    fixture.know(&histories).await;
    fixture.settle(&histories[..2]).await;
    let workflow = histories[0].workflow_id;
    let (analyst, _) = analyst(&fixture, &histories, false, None).await;
    let answer = analyst.analyze(request(workflow, 0)).await.unwrap();
    // Reports are behind: what is there counts.
    assert_eq!(counts(&answer), (10, 10, 10));
    assert_eq!((&answer.steps[0].name[..], answer.conformance), ("", None));
    let mut nothing = request(workflow, 0);
    nothing.started_from = Some(timestamp(instant("2031-01-01T00:00:00Z")));
    let nothing = analyst.analyze(nothing).await.unwrap();
    assert_eq!(nothing, AnalyzeWorkflowResponse::default());
}

#[tokio::test]
async fn an_analysis_ends_when_its_caller_leaves_and_few_run_at_once() {
    let fixture = Fixture::new().await;
    let histories = ten();
    fixture.know(&histories).await;
    let workflow = histories[0].workflow_id;
    let registry = Some(Registry(workflow));
    let (analyst, asked) = analyst(&fixture, &histories, true, registry).await;
    let caller = CallerGone::default();
    let under_way: Vec<_> = (0..2)
        .map(|_| {
            let (analyst, caller) = (analyst.clone(), caller.clone());
            tokio::spawn(async move {
                let analysis = analyst.analyze(request(workflow, 0));
                caller.during(analysis).await
            })
        })
        .collect();
    let asking = async {
        while asked.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asking)
        .await
        .expect("both read");
    let third = analyst.analyze(request(workflow, 0)).await.unwrap_err();
    assert_eq!(third.reason(), "TOO_MANY_ANALYSES");
    caller.0.cancel();
    for analysis in under_way {
        let ended = tokio::time::timeout(Duration::from_secs(20), analysis).await;
        let error = ended.expect("it ends").unwrap().unwrap_err();
        assert_eq!(error.reason(), "CALLER_GONE");
    }
    // There is room again: this one, too, ends only with its caller.
    let again = caller.during(analyst.analyze(request(workflow, 0)));
    assert_eq!(again.await.unwrap_err().reason(), "CALLER_GONE");
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused_by_field() {
    let fixture = Fixture::new().await;
    let (analyst, asked) = analyst(&fixture, &[], false, None).await;
    let at = |second| {
        Some(timestamp(
            instant("2021-01-01T00:00:00Z") + TimeDelta::seconds(second),
        ))
    };
    for (most, from, before, field) in [
        (-1, None, None, "max_executions"),
        (100_001, None, None, "max_executions"),
        (0, at(1), at(1), "started_before"),
        (0, at(2), at(1), "started_before"),
    ] {
        let wrong = AnalyzeWorkflowRequest {
            started_from: from,
            started_before: before,
            ..request(Uuid::from_u128(1), most)
        };
        let error = analyst.analyze(wrong).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(format!("{error:?}").contains(field), "{error:?}");
    }
    let nobody = AnalyzeWorkflowRequest::default();
    let error = analyst.analyze(nobody).await.unwrap_err();
    assert!(format!("{error:?}").contains("workflow_id"), "{error:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}
