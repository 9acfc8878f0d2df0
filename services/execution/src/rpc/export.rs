//! ExportExecutions: a workflow's executions as one document, in pieces. Invariant: however long the document, no more of
//! it is in memory than its reader is about to get.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::input::Input;
use chassis::{Error, Result, db};
use proto::execution::v1 as pb;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use uuid::Uuid;

use crate::export::{Case, Format};
use crate::state::Service;
use crate::store::executions::Range;
use crate::store::executions::span::{self, Span, Stop};
use crate::store::exports;

type Sent = Result<pb::ExportExecutionsResponse, Status>;

/// Streams of one replica.
const STREAMS: usize = 8;
/// Bytes of one message: a multiple of three, so that the chunks in base64, one after another, are the document in base64.
const CHUNK: usize = 65_535;
/// Messages that may wait for their reader.
const WAITING: usize = 4;
/// Executions looked up at once, and their events that are read at once unless one execution has more.
const AT_ONCE: i64 = 200;
const READ: usize = 5000;
/// As many as there are.
const MOST_STATUSES: usize = 5;

/// The streams that are open at this replica.
pub struct Exports(Arc<Semaphore>);

impl Default for Exports {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(STREAMS)))
    }
}

impl Exports {
    /// Begins to tell.
    pub fn start(
        &self,
        service: &Service,
        request: &pb::ExportExecutionsRequest,
    ) -> Result<ReceiverStream<Sent>> {
        let (workflow_id, span, format) = parse(request)?;
        let permit = self.0.clone().try_acquire_owned().map_err(|_| {
            let message = format!("{STREAMS} exports are under way at this replica");
            Error::exhausted("TOO_MANY_EXPORTS", message, Duration::from_secs(10))
        })?;
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut export = Export {
            service: service.clone(),
            workflow_id,
            format,
            sender,
            waiting: Vec::with_capacity(2 * CHUNK),
        };
        let soft = service.shutdown.soft.clone();
        service.shutdown.tasks.spawn(async move {
            let ended = tokio::select! {
                ended = export.run(span) => ended,
                () = soft.cancelled() => {
                    Err(Error::unavailable("STOPPING", "the service is stopping; ask again"))
                }
            };
            drop(permit);
            if let Err(error) = ended {
                // A reader that is gone needs no reason.
                let _ = export.sender.send(Err(error.into())).await;
            }
        });
        Ok(ReceiverStream::new(receiver))
    }
}

fn parse(request: &pb::ExportExecutionsRequest) -> Result<(Uuid, Span, Format)> {
    let mut input = Input::new();
    let workflow_id = input.uuid("workflow_id", &request.workflow_id);
    let started = Range {
        from: input.instant("started_from", request.started_from.as_ref()),
        before: input.instant("started_before", request.started_before.as_ref()),
    };
    if request.statuses.len() > MOST_STATUSES {
        let wrong = format!("has more than {MOST_STATUSES} elements, and so one of them twice");
        input.push("statuses", wrong);
    }
    let mut statuses = Vec::new();
    for (at, status) in request.statuses.iter().take(MOST_STATUSES).enumerate() {
        let status =
            pb::ExecutionStatus::try_from(*status).map(model::status::ExecutionStatus::try_from);
        match status {
            Ok(Ok(status)) => statuses.push(status.to_string()),
            _ => input.push(format!("statuses[{at}]"), "is none of ExecutionStatus"),
        }
    }
    let format = match pb::ExportFormat::try_from(request.format) {
        Ok(pb::ExportFormat::Xes) => Format::Xes,
        Ok(pb::ExportFormat::Csv) => Format::Csv,
        _ => {
            input.push("format", "is neither XES nor CSV");
            Format::Csv
        }
    };
    input.finish()?;
    let span = Span {
        workflow_id: Some(workflow_id),
        started,
        statuses: Some(statuses).filter(|statuses| !statuses.is_empty()),
        after: None,
    };
    Ok((workflow_id, span, format))
}

struct Export {
    service: Service,
    workflow_id: Uuid,
    format: Format,
    sender: mpsc::Sender<Sent>,
    /// What is not sent yet.
    waiting: Vec<u8>,
}

/// The reader has gone.
struct Gone;

impl Export {
    async fn run(&mut self, mut span: Span) -> Result<()> {
        let mut next = self.read(&span).await?;
        if next.is_none() {
            let known = self
                .service
                .definitions
                .resolve_starts(vec![self.workflow_id]);
            if !known.await?.contains_key(&self.workflow_id) {
                return Err(Error::not_found("workflow", self.workflow_id));
            }
        }
        let format = self.format;
        if self.write(&format.open(self.workflow_id)).await.is_err() {
            return Ok(());
        }
        while let Some((last, cases)) = next {
            for case in &cases {
                for line in format.lines(case) {
                    if self.write(&line).await.is_err() {
                        return Ok(());
                    }
                }
            }
            span.after = Some((last.started_at, last.id));
            next = self.read(&span).await?;
        }
        if self.write(&format.close()).await.is_ok() && !self.waiting.is_empty() {
            let rest = std::mem::take(&mut self.waiting);
            // Nobody needs to know that there is nobody.
            let _ = self.send(rest).await;
        }
        Ok(())
    }

    async fn write(&mut self, line: &str) -> Result<(), Gone> {
        self.waiting.extend_from_slice(line.as_bytes());
        while self.waiting.len() >= CHUNK {
            let rest = self.waiting.split_off(CHUNK);
            let full = std::mem::replace(&mut self.waiting, rest);
            self.send(full).await?;
        }
        Ok(())
    }

    async fn send(&self, chunk: Vec<u8>) -> Result<(), Gone> {
        let message = pb::ExportExecutionsResponse { chunk };
        self.sender.send(Ok(message)).await.map_err(|_| Gone)
    }

    /// The next executions of a walk and the last of them; both of one moment.
    async fn read(&self, span: &Span) -> Result<Option<(Stop, Vec<Case>)>> {
        db::patiently(self.read_page(span)).await
    }

    async fn read_page(&self, span: &Span) -> Result<Option<(Stop, Vec<Case>)>> {
        let mut listing = db::listing(&self.service.pool).await?;
        let stops = span::next(&mut listing, span, AT_ONCE).await?;
        let stops = span::front(&stops, READ);
        let Some(last) = stops.last().copied() else {
            return Ok(None);
        };
        let ids: Vec<Uuid> = stops.iter().map(|stop| stop.id).collect();
        let rows = exports::cases(&mut listing, &ids).await?;
        let mut attempts: HashMap<Uuid, Vec<_>> = HashMap::new();
        for attempt in exports::attempts(&mut listing, &ids).await? {
            attempts
                .entry(attempt.execution_id)
                .or_default()
                .push(attempt);
        }
        let mut cases = Vec::with_capacity(rows.len());
        for row in rows {
            let definitions = &self.service.definitions;
            let version = row.workflow_version;
            let graph = definitions
                .pinned(&mut listing, row.workflow_id, version)
                .await?;
            let attempts = attempts.remove(&row.id).unwrap_or_default();
            cases.push(Case {
                row,
                attempts,
                graph,
            });
        }
        listing.commit().await?;
        Ok(Some((last, cases)))
    }
}
