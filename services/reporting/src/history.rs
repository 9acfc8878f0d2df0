//! Settles what is held: gaps that the stream does not close are closed from the execution's history.
//! Invariant: nothing is held for ever; what history does not settle is parked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chassis::client::Peer;
use chassis::{Error, Result, db, fail_point};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use model::event::ExecutionEvents;
use model::wire::{events_from_proto, timestamp};
use proto::execution::v1::history_service_client::HistoryServiceClient;
use proto::execution::v1::{HistoryRange, StreamHistoryRequest, StreamHistoryResponse};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use uuid::Uuid;

use crate::ingest::{self, Row};
use crate::projection::period::midnight;
use crate::store::held::Place;
use crate::store::rebuilds::Scope;
use crate::wire::{self, Part};
use crate::{meters, store};

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
        self.ask(StreamHistoryRequest {
            execution_ids: Vec::new(),
            range: Some(range),
        })
        .await
    }

    /// Each execution's whole history; unknown ones are left out.
    pub async fn of(&mut self, executions: BTreeSet<Uuid>) -> Result<Histories> {
        self.ask(StreamHistoryRequest {
            execution_ids: executions.iter().map(Uuid::to_string).collect(),
            range: None,
        })
        .await
    }

    /// The whole histories of executions by their start, in its order; from behind `after` on.
    pub async fn within(
        &mut self,
        scope: Scope,
        after: Option<(DateTime<Utc>, Uuid)>,
    ) -> Result<Histories> {
        let bound = |day: Option<NaiveDate>| day.map(|day| timestamp(midnight(day)));
        let id = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
        let (after_started_at, after_execution_id) = after.unzip();
        let range = HistoryRange {
            workflow_id: id(scope.workflow_id),
            started_from: bound(scope.first),
            started_before: bound(scope.end),
            after_started_at: after_started_at.map(timestamp),
            after_execution_id: id(after_execution_id),
        };
        self.of_range(range).await
    }

    async fn ask(&mut self, request: StreamHistoryRequest) -> Result<Histories> {
        let stream = self.0.stream_history(request).await?.into_inner();
        Ok(Histories {
            stream,
            ahead: None,
        })
    }
}

/// An answer that is read piece by piece.
#[derive(Debug)]
pub struct Histories {
    stream: Streaming<StreamHistoryResponse>,
    /// The beginning of the next execution's.
    ahead: Option<ExecutionEvents>,
}

impl Histories {
    /// The next execution's history, whole; none at the end.
    pub async fn next(&mut self) -> Result<Option<ExecutionEvents>> {
        let mut whole = self.ahead.take();
        while let Some(response) = self.stream.message().await? {
            let part = response.events.unwrap_or_default();
            let part = events_from_proto(&part)
                .map_err(|error| Error::internal(format!("a history cannot be read: {error}")))?;
            match &mut whole {
                None => whole = Some(part),
                Some(own) if own.execution_id == part.execution_id => {
                    own.events.extend(part.events);
                }
                Some(_) => {
                    self.ahead = Some(part);
                    break;
                }
            }
        }
        Ok(whole)
    }

    /// As many as are applied at once; none at the end.
    pub async fn batch(&mut self) -> Result<Vec<Arc<ExecutionEvents>>> {
        let (mut batch, mut count) = (Vec::new(), 0);
        while count < BATCH_EVENTS
            && let Some(response) = self.stream.message().await?
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
        let mut pause = PAUSE;
        while soft
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_some()
        {
            pause = match soft.run_until_cancelled(self.step(PATIENCE)).await {
                // There may be more.
                Some(Ok(true)) => Duration::ZERO,
                Some(Err(error)) => {
                    tracing::warn!(%error, "held step events wait for history");
                    PAUSE
                }
                Some(Ok(false)) | None => PAUSE,
            };
        }
    }

    /// Settles what has been held for longer than `patience`, or as much of it as is asked for at once. Returns
    /// whether it was that much.
    pub async fn step(&mut self, patience: TimeDelta) -> Result<bool> {
        let places = db::patiently(async {
            let mut conn = db::acquire(&self.pool).await?;
            let now = db::now(&mut conn).await?;
            store::held::older_than(&mut conn, now - patience, MOST_EXECUTIONS).await
        });
        let places = places.await?;
        if places.is_empty() {
            return Ok(false);
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
        db::patiently(self.park(&places)).await?;
        Ok(places.len() as i64 == MOST_EXECUTIONS)
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

/// Counts what has not been counted yet. What can never be applied is parked under an id of the execution.
pub async fn apply(pool: &PgPool, histories: Vec<Arc<ExecutionEvents>>) -> Result<()> {
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
