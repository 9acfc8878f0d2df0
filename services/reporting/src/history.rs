//! Settles what is held: gaps that the stream does not close are closed from the execution's history.
//! Invariant: nothing is held for ever; what history does not settle is parked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chassis::client::Peer;
use chassis::{Result, db, fail_point};
use chrono::TimeDelta;
use model::event::ExecutionEvents;
use proto::execution::v1::history_service_client::HistoryServiceClient;
use proto::execution::v1::{HistoryRange, StreamHistoryRequest, StreamHistoryResponse};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use uuid::Uuid;

use crate::ingest::{self, Part, Row};
use crate::store::held::Place;
use crate::{meters, store, wire};

/// How long a gap may take to close by itself.
const PATIENCE: TimeDelta = TimeDelta::seconds(10);
const PAUSE: Duration = Duration::from_secs(1);
/// What one request may ask for.
const MOST_EXECUTIONS: i64 = 1000;
/// Events that are applied at once.
const BATCH_EVENTS: usize = 10_000;

/// Where histories come from.
#[derive(Debug, Clone)]
pub struct History(HistoryServiceClient<Peer>);

impl History {
    pub fn new(execution: Peer) -> Self {
        Self(HistoryServiceClient::new(execution))
    }

    /// The whole histories of a range, in the order of their starts.
    pub async fn of_range(&mut self, range: HistoryRange) -> Result<Histories> {
        let request = StreamHistoryRequest {
            execution_ids: Vec::new(),
            range: Some(range),
        };
        Ok(Histories(
            self.0.stream_history(request).await?.into_inner(),
        ))
    }

    /// Each execution's whole history; unknown ones are left out.
    async fn of(&mut self, executions: BTreeSet<Uuid>) -> Result<Histories> {
        let execution_ids = executions.iter().map(Uuid::to_string).collect();
        let request = StreamHistoryRequest {
            execution_ids,
            range: None,
        };
        Ok(Histories(
            self.0.stream_history(request).await?.into_inner(),
        ))
    }
}

/// An answer that is read piece by piece.
#[derive(Debug)]
pub struct Histories(Streaming<StreamHistoryResponse>);

impl Histories {
    /// As many as are applied at once; none at the end.
    pub async fn batch(&mut self) -> Result<Vec<Arc<ExecutionEvents>>> {
        let (mut batch, mut count) = (Vec::new(), 0);
        while count < BATCH_EVENTS
            && let Some(response) = self.0.message().await?
        {
            let events = response.events.unwrap_or_default();
            let execution_id = events.execution_id.clone();
            match wire::part(events) {
                Part::Read(events) => {
                    count += events.events.len();
                    batch.push(events);
                }
                Part::Unread { error, .. } => {
                    tracing::error!(execution_id, error, "a history cannot be read");
                }
            }
        }
        Ok(batch)
    }
}

/// Repairs gaps, now and then.
#[derive(Debug)]
pub struct Repair {
    pool: PgPool,
    history: History,
}

impl Repair {
    pub fn new(pool: PgPool, history: History) -> Self {
        Self { pool, history }
    }

    pub async fn run(mut self, soft: CancellationToken) {
        while soft
            .run_until_cancelled(tokio::time::sleep(PAUSE))
            .await
            .is_some()
        {
            if let Some(Err(error)) = soft.run_until_cancelled(self.step(PATIENCE)).await {
                tracing::warn!(%error, "held step events wait for history");
            }
        }
    }

    /// Settles what has been held for longer than `patience`.
    pub async fn step(&mut self, patience: TimeDelta) -> Result<()> {
        let places = db::patiently(async {
            let mut conn = db::acquire(&self.pool).await?;
            let now = db::now(&mut conn).await?;
            store::held::older_than(&mut conn, now - patience, MOST_EXECUTIONS).await
        });
        let places = places.await?;
        if places.is_empty() {
            return Ok(());
        }
        let executions = places.iter().map(|place| place.execution_id).collect();
        let mut histories = self.history.of(executions).await?;
        loop {
            let batch = histories.batch().await?;
            if batch.is_empty() {
                break;
            }
            apply(&self.pool, batch).await?;
            fail_point!("repair.applied");
        }
        db::patiently(self.park(&places)).await
    }

    async fn park(&self, places: &[Place]) -> Result<()> {
        let row_id = |place: &Place| row_id(place.execution_id, place.first_seq);
        let row_ids: Vec<Uuid> = places.iter().map(row_id).collect();
        let error = "events before these are missing, and history does not have them";
        let mut conn = db::acquire(&self.pool).await?;
        let parked = store::held::park(&mut conn, places, &row_ids, error).await?;
        meters::parked(parked.len() as u64);
        for (place, _) in places
            .iter()
            .zip(&row_ids)
            .filter(|(_, id)| parked.contains(id))
        {
            let Place {
                execution_id,
                first_seq,
            } = place;
            tracing::error!(%execution_id, first_seq, error, "held step events parked");
        }
        Ok(())
    }
}

/// What can never be applied is parked under an id of the execution.
async fn apply(pool: &PgPool, histories: Vec<Arc<ExecutionEvents>>) -> Result<()> {
    let rows: Vec<Row> = histories
        .into_iter()
        .map(|events| Row {
            id: row_id(events.execution_id, events.first_seq),
            parts: vec![Part::Read(events)],
            bytes: 0,
        })
        .collect();
    ingest::settle(pool, &rows).await
}

fn row_id(execution_id: Uuid, first_seq: i32) -> Uuid {
    Uuid::new_v5(&execution_id, &first_seq.to_be_bytes())
}
