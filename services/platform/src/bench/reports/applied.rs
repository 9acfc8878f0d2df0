//! Events of a year through the stream by which they come. Invariant: every row is acknowledged once and every event
//! counted before the clock stops.

use std::time::{Duration, Instant};

use anyhow::Context;
use chassis::client::Peer;
use prost::Message;
use proto::catalog::v1::Workflow;
use proto::execution::v1::history_service_client::HistoryServiceClient;
use proto::execution::v1::{ExecutionEvents, HistoryRange, StreamHistoryRequest};
use proto::reporting::v1::StreamStepEventsRequest;
use proto::reporting::v1::step_event_service_client::StepEventServiceClient;
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::super::stage::Stage;
use super::super::{say, seed};
use super::{Counted, floor, shown};

/// Bytes of a row of the outbox.
const FULL: usize = 1024 * 1024;
/// Rows that may wait to be sent.
const WAITING: usize = 4;
const TABLES: [&str; 3] = [
    "reporting.workflow_reports",
    "reporting.figures",
    "reporting.days",
];

/// Events as the outbox holds them: encoded.
#[derive(Default)]
struct Rows {
    rows: Vec<Vec<u8>>,
    filling: StreamStepEventsRequest,
    bytes: usize,
    executions: i64,
    events: i64,
}

pub async fn measure(stage: &Stage, workflow: &Workflow) -> anyhow::Result<()> {
    let [execution, reporting] = stage.peers()?;
    let rows = Rows::read(execution, workflow).await?;
    let (executions, events) = (rows.executions, rows.events);
    let copied = floor::copy(&stage.pool, workflow, executions).await?;
    let upserted = floor::upsert(&stage.pool, executions).await?;
    forget(&stage.pool, workflow).await?;
    let took = send(reporting, rows.rows).await?;
    let counted = Counted::look(&stage.pool, workflow).await?;
    anyhow::ensure!(
        counted == Counted { executions, events },
        "{counted:?} of {executions} executions with {events} events"
    );
    let rate = |took: Duration| events as f64 / took.as_secs_f64();
    let applied = rate(took);
    say(&format!(
        "applied from the stream: {events} events in {:.1} s, {applied:.0} events/s",
        took.as_secs_f64()
    ))?;
    for (what, took) in [("COPY", copied), ("upsert", upserted)] {
        let bare = rate(took);
        say(&format!(
            "{:.2} × bare {what} of the same execution reports ({bare:.0} events/s)",
            applied / bare
        ))?;
    }
    shown(&stage.pool).await.map(drop)
}

impl Rows {
    /// What the execution service tells of a workflow.
    async fn read(execution: Peer, workflow: &Workflow) -> anyhow::Result<Self> {
        let range = HistoryRange {
            workflow_id: workflow.id.clone(),
            ..Default::default()
        };
        let request = StreamHistoryRequest {
            execution_ids: Vec::new(),
            range: Some(range),
        };
        let mut client = HistoryServiceClient::new(execution);
        let mut told = client.stream_history(request).await?.into_inner();
        let mut rows = Self::default();
        while let Some(message) = told.message().await? {
            rows.add(message.events.context("history has events")?)?;
        }
        rows.seal();
        Ok(rows)
    }

    fn add(&mut self, told: ExecutionEvents) -> anyhow::Result<()> {
        let bytes = told.encoded_len();
        if self.bytes + bytes > FULL {
            self.seal();
        }
        self.bytes += bytes;
        self.executions += i64::from(told.first_seq == 1);
        self.events += i64::try_from(told.events.len())?;
        self.filling.executions.push(told);
        Ok(())
    }

    fn seal(&mut self) {
        if !self.filling.executions.is_empty() {
            let filled = std::mem::take(&mut self.filling);
            self.rows.push(filled.encode_to_vec());
            self.bytes = 0;
        }
    }
}

/// Takes a workflow's reports and sums away, as if none of its events had ever come.
async fn forget(pool: &PgPool, workflow: &Workflow) -> anyhow::Result<()> {
    let workflow_id: Uuid = workflow.id.parse()?;
    let mut tx = pool.begin().await?;
    for statement in [
        "-- bench.forget_reports
        delete from reporting.workflow_reports where workflow_id = $1",
        "-- bench.forget_figures
        delete from reporting.figures where workflow_id = $1",
        "-- bench.forget_days
        delete from reporting.days where workflow_id = $1",
    ] {
        let forgotten = sqlx::query(statement).bind(workflow_id);
        forgotten.execute(&mut *tx).await?;
    }
    tx.commit().await?;
    seed::settle(&mut *pool.acquire().await?, &TABLES).await
}

/// Sends all rows over one stream; returns how long it took until the last one was acknowledged.
async fn send(reporting: Peer, rows: Vec<Vec<u8>>) -> anyhow::Result<Duration> {
    let (wire, requests) = mpsc::channel(WAITING);
    let mut client = StepEventServiceClient::new(reporting);
    let stream = client.stream_step_events(ReceiverStream::new(requests));
    let mut acknowledgements = stream.await?.into_inner();
    let expected = rows.len();
    let begun = Instant::now();
    let sending = async move {
        for row in rows {
            let mut request = StreamStepEventsRequest::decode(row.as_slice())?;
            request.row_id = Uuid::now_v7().to_string();
            // Whoever refuses it says why on the other half of the stream.
            if wire.send(request).await.is_err() {
                break;
            }
        }
        // Nothing more comes: the stream ends with its last acknowledgement.
        drop(wire);
        anyhow::Ok(())
    };
    let counting = async {
        let mut settled = 0;
        while let Some(message) = acknowledgements.message().await? {
            settled += message.row_ids.len();
        }
        anyhow::Ok(settled)
    };
    let ((), settled) = tokio::try_join!(sending, counting)?;
    anyhow::ensure!(
        settled == expected,
        "{settled} of {expected} rows were acknowledged"
    );
    Ok(begun.elapsed())
}
