//! HistoryService: the events of stored executions, computed anew. Invariant: what is streamed equals what was
//! sent live.

use std::collections::HashMap;

use chassis::input::Input;
use chassis::{Error, Result, db};
use model::event::ExecutionEvents;
use model::wire;
use proto::execution::v1 as pb;
use proto::execution::v1::history_service_server::HistoryService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::history;
use crate::state::Service;
use crate::store;

type Sent = Result<pb::StreamHistoryResponse, Status>;

const MOST_EXECUTIONS: usize = 1000;
/// Executions read at once: of the longest kind, some ten thousand rows.
const AT_ONCE: usize = 10;
/// Events of one message: with error codes of the greatest length still below 4 MiB.
const EVENTS: usize = 5000;
/// Messages that may wait for their reader.
const WAITING: usize = 4;

pub struct History {
    service: Service,
}

impl History {
    pub fn new(service: Service) -> Self {
        Self { service }
    }
}

async fn produce(service: &Service, ids: &[Uuid], sender: &mpsc::Sender<Sent>) -> Result<()> {
    for ids in ids.chunks(AT_ONCE) {
        for events in read(service, ids).await? {
            for part in split(events) {
                let events = Some(wire::events_to_proto(&part));
                let sent = sender.send(Ok(pb::StreamHistoryResponse { events })).await;
                if sent.is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Reads the executions before their logs, so that no event of theirs is missing among the latter.
async fn read(service: &Service, ids: &[Uuid]) -> Result<Vec<ExecutionEvents>> {
    let mut conn = db::acquire(&service.pool).await?;
    let executions = store::executions::told(&mut conn, ids).await?;
    let told: Vec<Uuid> = executions.iter().map(|execution| execution.id).collect();
    let mut logs: HashMap<Uuid, Vec<_>> = HashMap::new();
    for log in store::logs::ended(&mut conn, &told).await? {
        logs.entry(log.execution_id).or_default().push(log);
    }
    let mut events = Vec::with_capacity(executions.len());
    for execution in &executions {
        let (workflow_id, version) = (execution.workflow_id, execution.workflow_version);
        let definitions = &service.definitions;
        let graph = definitions.pinned(&mut conn, workflow_id, version).await?;
        let logs = logs.remove(&execution.id).unwrap_or_default();
        events.push(history::events(execution, &logs, &graph));
    }
    Ok(events)
}

/// Cuts the events of one execution into parts that follow each other.
fn split(all: ExecutionEvents) -> Vec<ExecutionEvents> {
    let parts = all.events.chunks(EVENTS).enumerate();
    let part = |(at, events): (usize, &[_])| ExecutionEvents {
        first_seq: all.first_seq + i32::try_from(at * EVENTS).expect("few parts"),
        events: events.to_vec(),
        ..all
    };
    parts.map(part).collect()
}

#[tonic::async_trait]
impl HistoryService for History {
    type StreamHistoryStream = ReceiverStream<Sent>;

    async fn stream_history(
        &self,
        request: Request<pb::StreamHistoryRequest>,
    ) -> Result<Response<Self::StreamHistoryStream>, Status> {
        let asked = request.into_inner().execution_ids;
        let mut input = Input::new();
        if !(1..=MOST_EXECUTIONS).contains(&asked.len()) {
            input.push("execution_ids", format!("wants 1 to {MOST_EXECUTIONS} ids"));
        }
        let asked = asked.iter().take(MOST_EXECUTIONS).enumerate();
        let ids: Vec<Uuid> = asked
            .map(|(at, id)| input.uuid(&format!("execution_ids[{at}]"), id))
            .collect();
        input.finish()?;
        let (sender, receiver) = mpsc::channel(WAITING);
        let service = self.service.clone();
        self.service.shutdown.tasks.spawn(async move {
            let soft = service.shutdown.soft.clone();
            let ended = tokio::select! {
                ended = produce(&service, &ids, &sender) => ended,
                () = soft.cancelled() => {
                    Err(Error::unavailable("STOPPING", "the service is stopping; ask again"))
                }
            };
            if let Err(error) = ended {
                // A reader that is gone needs no reason.
                let _ = sender.send(Err(error.into())).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
