//! HistoryService: the events of stored executions, computed anew. Invariant: what is streamed equals what was
//! sent live.

use std::collections::HashMap;

use chassis::input::Input;
use chassis::{Error, Result, db};
use model::event::ExecutionEvents;
use model::wire;
use proto::execution::v1 as pb;
use proto::execution::v1::history_service_server::HistoryService;
use sqlx::PgConnection;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::history;
use crate::state::Service;
use crate::store;
use crate::store::executions::span::{self, Span, Stop};

type Sent = Result<pb::StreamHistoryResponse, Status>;

const MOST_EXECUTIONS: usize = 1000;
/// Executions of a list that are read at once.
const LISTED: usize = 10;
/// Executions of a range that are looked up at once.
const AT_ONCE: i64 = 200;
/// Events read at once, unless one execution has more: of the longest kind, some ten thousand rows.
const READ: usize = 5000;
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

/// What is asked for.
enum Asked {
    Ids(Vec<Uuid>),
    Span(Box<Span>),
}

fn parse(request: &pb::StreamHistoryRequest) -> Result<Asked> {
    let mut input = Input::new();
    let ids = &request.execution_ids;
    if let Some(range) = &request.range {
        if !ids.is_empty() {
            let description = "must be empty if `range` is set: one of the two is wanted";
            input.push("execution_ids", description);
        }
        let span = parse_range(&mut input, range);
        input.finish()?;
        return Ok(Asked::Span(Box::new(span)));
    }
    if !(1..=MOST_EXECUTIONS).contains(&ids.len()) {
        let description = format!("wants 1 to {MOST_EXECUTIONS} ids, unless `range` is set");
        input.push("execution_ids", description);
    }
    let ids = ids.iter().take(MOST_EXECUTIONS).enumerate();
    let ids = ids.map(|(at, id)| input.uuid(&format!("execution_ids[{at}]"), id));
    let ids = ids.collect();
    input.finish()?;
    Ok(Asked::Ids(ids))
}

fn parse_range(input: &mut Input, range: &pb::HistoryRange) -> Span {
    let workflow_id = input.optional_uuid("range.workflow_id", &range.workflow_id);
    let mut instant = |field: &str, at| input.instant(&format!("range.{field}"), at);
    let started = store::executions::Range {
        from: instant("started_from", range.started_from.as_ref()),
        before: instant("started_before", range.started_before.as_ref()),
    };
    let after = range.after_started_at.as_ref();
    let after_start = instant("after_started_at", after);
    let after_id = input.optional_uuid("range.after_execution_id", &range.after_execution_id);
    let names_id = !range.after_execution_id.is_empty();
    if after.is_some() && !names_id {
        let description = "is required if `range.after_started_at` is set";
        input.push("range.after_execution_id", description);
    }
    if names_id && after.is_none() {
        let description = "is required if `range.after_execution_id` is set";
        input.push("range.after_started_at", description);
    }
    Span {
        workflow_id,
        started,
        statuses: None,
        after: after_start.zip(after_id),
    }
}

/// Reads ahead of its reader by a few messages; nothing of the database is held while they wait.
async fn produce(service: &Service, asked: Asked, sender: &mpsc::Sender<Sent>) -> Result<()> {
    match asked {
        Asked::Ids(ids) => {
            for ids in ids.chunks(LISTED) {
                let told = db::patiently(of_ids(service, ids)).await?;
                if !send(sender, told).await {
                    return Ok(());
                }
            }
        }
        Asked::Span(mut span) => loop {
            let told = db::patiently(of_span(service, &span)).await?;
            let Some((last, told)) = told else {
                return Ok(());
            };
            span.after = Some((last.started_at, last.id));
            if !send(sender, told).await {
                return Ok(());
            }
        },
    }
    Ok(())
}

/// Whether the reader is still there.
async fn send(sender: &mpsc::Sender<Sent>, told: Vec<ExecutionEvents>) -> bool {
    for events in told {
        for part in history::parts(events, EVENTS) {
            let events = Some(wire::events_to_proto(&part));
            let sent = sender.send(Ok(pb::StreamHistoryResponse { events })).await;
            if sent.is_err() {
                return false;
            }
        }
    }
    true
}

async fn of_ids(service: &Service, ids: &[Uuid]) -> Result<Vec<ExecutionEvents>> {
    let mut listing = db::listing(&service.pool).await?;
    let told = read(&mut listing, ids).await?;
    listing.commit().await?;
    Ok(told)
}

/// The next executions of a walk, in its order, and the last of them.
async fn of_span(service: &Service, span: &Span) -> Result<Option<(Stop, Vec<ExecutionEvents>)>> {
    let mut listing = db::listing(&service.pool).await?;
    let stops = span::next(&mut listing, span, AT_ONCE).await?;
    let Some((last, stops)) = span::front(&stops, READ).split_last() else {
        return Ok(None);
    };
    let ids: Vec<Uuid> = stops.iter().chain([last]).map(|stop| stop.id).collect();
    let mut told = read(&mut listing, &ids).await?;
    listing.commit().await?;
    told.sort_unstable_by_key(|events| (events.started_at, events.execution_id));
    Ok(Some((*last, told)))
}

/// Executions and their logs, both of one moment: of what is purged meanwhile there is all or nothing.
async fn read(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<ExecutionEvents>> {
    let executions = store::executions::told(conn, ids).await?;
    let told: Vec<Uuid> = executions.iter().map(|execution| execution.id).collect();
    let mut logs: HashMap<Uuid, Vec<_>> = HashMap::new();
    for log in store::logs::ended(conn, &told).await? {
        logs.entry(log.execution_id).or_default().push(log);
    }
    let events = executions.iter().map(|execution| {
        let logs = logs.remove(&execution.id).unwrap_or_default();
        history::events(execution, &logs)
    });
    Ok(events.collect())
}

#[tonic::async_trait]
impl HistoryService for History {
    type StreamHistoryStream = ReceiverStream<Sent>;

    async fn stream_history(
        &self,
        request: Request<pb::StreamHistoryRequest>,
    ) -> Result<Response<Self::StreamHistoryStream>, Status> {
        let asked = parse(request.get_ref())?;
        let (sender, receiver) = mpsc::channel(WAITING);
        let service = self.service.clone();
        self.service.shutdown.tasks.spawn(async move {
            let soft = service.shutdown.soft.clone();
            let ended = tokio::select! {
                ended = produce(&service, asked, &sender) => ended,
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
