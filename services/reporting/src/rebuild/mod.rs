//! Makes reports anew from history, while events go on coming. What differs is gathered beside what is shown, and
//! then put in place for a whole workflow at once.
//! Invariant: readers see what was or what is right, never something between; and what a rebuild counts is
//! exactly what the stream has counted, so neither counts for the other.

mod swap;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use chassis::{Error, Result, db, fail_point};
use model::event::ExecutionEvents;
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::history::{Histories, History};
use crate::projection::fold::{Changes, Ledger, fold};
use crate::projection::period::execution_report_id;
use crate::store;
use crate::store::rebuilds::{Done, Held};

/// How often somebody looks whether anything is to be rebuilt.
const PAUSE: Duration = Duration::from_secs(1);
/// Events that are compared in one transaction.
const BATCH_EVENTS: usize = 10_000;
/// How often executions that go on while they are rebuilt are read again.
const ROUNDS: usize = 5;

/// Does what was asked for, one after the other.
#[derive(Debug)]
pub struct Rebuilder {
    pool: PgPool,
    history: History,
    /// Tells this replica from others.
    id: Uuid,
}

impl Rebuilder {
    pub fn new(pool: PgPool, history: History) -> Self {
        Self {
            pool,
            history,
            id: Uuid::now_v7(),
        }
    }

    pub async fn run(mut self, soft: CancellationToken) {
        while soft
            .run_until_cancelled(tokio::time::sleep(PAUSE))
            .await
            .is_some()
        {
            if let Some(Err(error)) = soft.run_until_cancelled(self.step()).await {
                tracing::warn!(%error, "a rebuild waits");
            }
        }
    }

    /// Does the oldest rebuild that nobody holds. Returns whether there was one.
    pub async fn step(&mut self) -> Result<bool> {
        let taken = db::patiently(async {
            let mut conn = db::acquire(&self.pool).await?;
            store::rebuilds::forget(&mut conn).await?;
            store::rebuilds::take(&mut conn, self.id).await
        });
        let Some(held) = taken.await? else {
            return Ok(false);
        };
        tracing::info!(rebuild = %held.id, "rebuilding reports");
        let done = self.rebuild(&held).await;
        if done.is_err() {
            let given_back = db::patiently(async {
                let mut conn = db::acquire(&self.pool).await?;
                store::rebuilds::give_back(&mut conn, held.id, self.id).await
            });
            // Without an answer it is free again when its time is over.
            let _ = given_back.await;
        }
        done.map(|()| true)
    }

    async fn rebuild(&mut self, held: &Held) -> Result<()> {
        let mut histories = self.history.within(held.scope, held.after).await?;
        while self.compare(held, &mut histories, true).await? {
            fail_point!("rebuild.compared");
        }
        let workflows = db::patiently(async {
            let mut conn = db::acquire(&self.pool).await?;
            store::rebuilds::workflows(&mut conn, held.id, held.scope).await
        });
        for workflow_id in workflows.await? {
            self.put_in_place(held, workflow_id).await?;
            fail_point!("rebuild.placed");
        }
        let done = Done {
            is_finished: true,
            ..Done::default()
        };
        self.note(held, &done).await
    }

    /// Compares the next histories with the reports; returns whether there were any.
    async fn compare(&self, held: &Held, histories: &mut Histories, is_walk: bool) -> Result<bool> {
        let (mut batch, mut events) = (Vec::new(), 0);
        while events < BATCH_EVENTS
            && let Some(history) = histories.next().await?
        {
            events += history.events.len();
            batch.push(history);
        }
        let Some(last) = batch.last() else {
            return Ok(false);
        };
        let done = Done {
            after: is_walk.then_some((last.started_at, last.execution_id)),
            executions: if is_walk { batch.len() as i64 } else { 0 },
            events: if is_walk { events as i64 } else { 0 },
            ..Done::default()
        };
        let (id, holder) = (held.id, self.id);
        db::keyed_transaction(&self.pool, async move |conn| {
            keep_what_differs(conn, id, &batch).await?;
            held_on(store::rebuilds::note(conn, id, holder, &done).await?)
        })
        .await?;
        Ok(true)
    }

    /// One workflow's reports and sums, all at once. Executions that went on meanwhile are read again.
    async fn put_in_place(&mut self, held: &Held, workflow_id: Uuid) -> Result<()> {
        for _ in 0..ROUNDS {
            let left = swap::swap(&self.pool, held, self.id, workflow_id).await?;
            if left.is_empty() {
                return Ok(());
            }
            let left = BTreeSet::from_iter(left);
            let mut histories = self.history.of(left).await?;
            while self.compare(held, &mut histories, false).await? {}
        }
        // Each is right as far as the stream has counted it, but for what was wrong before.
        tracing::warn!(%workflow_id, "executions went on faster than they could be rebuilt");
        Ok(())
    }

    async fn note(&self, held: &Held, done: &Done) -> Result<()> {
        let noted = db::patiently(async {
            let mut conn = db::acquire(&self.pool).await?;
            store::rebuilds::note(&mut conn, held.id, self.id, done).await
        });
        held_on(noted.await?)
    }
}

/// Whoever was too slow has been relieved.
fn held_on(is_held: bool) -> Result<()> {
    if is_held {
        return Ok(());
    }
    Err(Error::unavailable(
        "REBUILD_LOST",
        "another replica goes on with it",
    ))
}

/// Keeps the reports that are not what the histories say, as far as they have been counted.
async fn keep_what_differs(
    conn: &mut PgConnection,
    rebuild_id: Uuid,
    histories: &[ExecutionEvents],
) -> Result<()> {
    let ids: Vec<Uuid> = histories
        .iter()
        .map(|history| execution_report_id(history.execution_id))
        .collect();
    let rows = store::ledgers::read(conn, &ids).await?;
    let mut rows: HashMap<Uuid, _> = rows.into_iter().map(|row| (row.id, row)).collect();
    let (mut ledgers, mut base_seqs) = (Vec::new(), Vec::new());
    for history in histories {
        let row = rows.remove(&execution_report_id(history.execution_id));
        let known = row.as_ref().map(|row| row.applied_seq);
        let Some(fresh) = anew(history, known)? else {
            continue;
        };
        if row.is_none_or(|row| !says(&row, &fresh)) {
            ledgers.push(fresh);
            base_seqs.push(known);
        }
    }
    if ledgers.is_empty() {
        return Ok(());
    }
    store::rebuilt::keep(conn, rebuild_id, &ledgers, &base_seqs).await
}

/// The report of an execution, from the events that have been counted; from all, if none was.
fn anew(history: &ExecutionEvents, known: Option<i32>) -> Result<Option<Ledger>> {
    let known = known.and_then(|known| usize::try_from(known).ok());
    let mut counted = history.clone();
    counted.events.truncate(known.unwrap_or(usize::MAX).max(1));
    let (ledger, _) =
        fold(None, vec![&counted], &mut Changes::default()).map_err(Error::internal)?;
    Ok(ledger)
}

fn says(row: &store::ledgers::Row, fresh: &Ledger) -> bool {
    let stored = serde_json::from_str::<serde_json::Value>(&row.metrics);
    let metrics = serde_json::to_value(&fresh.metrics);
    row.workflow_id == fresh.workflow_id
        && row.applied_seq == fresh.applied_seq
        && row.period_start == fresh.started_at
        && row.period_end == fresh.completed_at
        && stored.ok() == metrics.ok()
}
