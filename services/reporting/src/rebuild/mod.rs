//! Makes reports anew from history, while events go on coming. What differs is gathered beside what is shown, and
//! then put in place day by day, each with its sums.
//! Invariant: a report is replaced only by one that stands for the same events, so what a rebuild counts is what
//! the stream has counted; and a rebuild is not over while a report is left that was not right. A history that
//! nobody can count is told in the log, and its report stays.

mod swap;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chassis::{Error, Result, db, fail_point};
use model::event::ExecutionEvents;
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::history::{self, Histories, History};
use crate::projection::fold::{Changes, Ledger, fold};
use crate::projection::period::execution_report_id;
use crate::store;
use crate::store::ledgers::Row;
use crate::store::rebuilds::{Done, Held};

/// How often somebody looks whether anything is to be rebuilt.
const PAUSE: Duration = Duration::from_secs(1);
/// Events that are compared in one transaction.
const BATCH_EVENTS: usize = 10_000;
/// How often a replica says that it is still at it; it is relieved after 30 s.
const HOLD: Duration = Duration::from_secs(10);
/// Executions whose history is asked for by name.
const ASKED: usize = 1000;
/// How often executions that go on while they are rebuilt are read again before others have their turn.
const ROUNDS: usize = 20;

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
        let (pool, holder) = (self.pool.clone(), self.id);
        let done = tokio::select! {
            done = self.rebuild(&held) => done,
            never = hold(&pool, held.id, holder) => never,
        };
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
        while let Some(batch) = batch(&mut histories).await? {
            let last = batch.last().expect("a batch is not empty");
            let done = Done {
                after: Some((last.started_at, last.execution_id)),
                executions: batch.len() as i64,
                events: batch.iter().map(|own| own.events.len() as i64).sum(),
                ..Done::default()
            };
            self.compare(held, batch, done).await?;
            fail_point!("rebuild.compared");
        }
        let workflows = db::patiently(async {
            let mut conn = db::acquire(&self.pool).await?;
            store::rebuilds::workflows(&mut conn, held.id, held.scope).await
        });
        let mut workflows = workflows.await?;
        // Of this one some days have been replaced, and its reports wait for the others.
        if let Some(begun) = workflows.iter().position(|id| Some(*id) == held.replacing) {
            workflows.rotate_left(begun);
        }
        for workflow_id in workflows {
            self.put_in_place(held, workflow_id).await?;
            fail_point!("rebuild.placed");
        }
        let done = Done {
            is_finished: true,
            ..Done::default()
        };
        self.note(held, &done).await
    }

    /// Keeps the reports that are not what histories say, as far as they have been counted.
    async fn compare(
        &mut self,
        held: &Held,
        mut histories: Vec<ExecutionEvents>,
        done: Done,
    ) -> Result<()> {
        let ids: Vec<Uuid> = histories
            .iter()
            .map(|history| execution_report_id(history.execution_id))
            .collect();
        let look = db::patiently(async {
            let mut conn = db::acquire(&self.pool).await?;
            store::ledgers::read(&mut conn, &ids).await
        });
        let mut rows: HashMap<Uuid, Row> =
            look.await?.into_iter().map(|row| (row.id, row)).collect();
        self.count_on(&histories, &mut rows).await?;
        self.read_on(&mut histories, &rows).await?;
        let (id, holder) = (held.id, self.id);
        db::keyed_transaction(&self.pool, async move |conn| {
            keep_what_differs(conn, id, &histories, &rows).await?;
            held_on(store::rebuilds::note(conn, id, holder, &done).await?)
        })
        .await
    }

    /// Counts the events that right reports have not come to yet: the stream may have lost them for good, and if it
    /// is about to bring them, they count once all the same.
    async fn count_on(
        &self,
        histories: &[ExecutionEvents],
        rows: &mut HashMap<Uuid, Row>,
    ) -> Result<()> {
        let is_behind = |history: &&ExecutionEvents| {
            let row = rows.get(&execution_report_id(history.execution_id));
            row.is_some_and(|row| {
                let is_behind = i64::from(row.applied_seq) < history.events.len() as i64;
                is_behind && anew(history, Some(row)).is_ok_and(|fresh| fresh.is_none())
            })
        };
        let behind: Vec<_> = histories.iter().filter(is_behind).cloned().collect();
        if behind.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = behind
            .iter()
            .map(|history| execution_report_id(history.execution_id))
            .collect();
        history::apply(&self.pool, behind.into_iter().map(Arc::new).collect()).await?;
        let look = db::patiently(async {
            let mut conn = db::acquire(&self.pool).await?;
            store::ledgers::read(&mut conn, &ids).await
        });
        rows.extend(look.await?.into_iter().map(|row| (row.id, row)));
        Ok(())
    }

    /// Reads histories again that had not come as far as their reports: the executions have gone on since they
    /// were read, and their events were counted. Whatever is still shorter then was counted wrongly.
    async fn read_on(
        &mut self,
        histories: &mut [ExecutionEvents],
        rows: &HashMap<Uuid, Row>,
    ) -> Result<()> {
        let is_short = |history: &ExecutionEvents| {
            let row = rows.get(&execution_report_id(history.execution_id));
            row.is_some_and(|row| (history.events.len() as i64) < i64::from(row.applied_seq))
        };
        let short: Vec<Uuid> = histories
            .iter()
            .filter(|history| is_short(history))
            .map(|history| history.execution_id)
            .collect();
        let mut longer = HashMap::new();
        for ids in short.chunks(ASKED) {
            let ids = BTreeSet::from_iter(ids.iter().copied());
            let mut again = self.history.of(ids).await?;
            while let Some(history) = again.next().await? {
                longer.insert(history.execution_id, history);
            }
        }
        for history in histories {
            if let Some(longer) = longer.remove(&history.execution_id) {
                *history = longer;
            }
        }
        Ok(())
    }

    /// One workflow's reports and sums. Executions that went on meanwhile are read again.
    async fn put_in_place(&mut self, held: &Held, workflow_id: Uuid) -> Result<()> {
        for _ in 0..ROUNDS {
            swap::days(&self.pool, held, self.id, workflow_id).await?;
            let left = db::patiently(async {
                let mut conn = db::acquire(&self.pool).await?;
                store::rebuilt::left(&mut conn, held.id, workflow_id, ASKED as i64).await
            });
            let mut left = BTreeSet::from_iter(left.await?);
            if left.is_empty() {
                return Ok(());
            }
            let mut histories = self.history.of(left.clone()).await?;
            while let Some(batch) = batch(&mut histories).await? {
                for history in &batch {
                    left.remove(&history.execution_id);
                }
                let done = Done {
                    placing: Some(workflow_id),
                    ..Done::default()
                };
                self.compare(held, batch, done).await?;
            }
            // They have been purged since: their reports stay as they are.
            let purged: Vec<Uuid> = left.into_iter().map(execution_report_id).collect();
            let forgotten = db::patiently(async {
                let mut conn = db::acquire(&self.pool).await?;
                store::rebuilt::forget(&mut conn, held.id, &purged).await
            });
            forgotten.await?;
        }
        Err(Error::unavailable(
            "REBUILD_OUTRUN",
            "executions go on faster than they are rebuilt",
        ))
    }

    async fn note(&self, held: &Held, done: &Done) -> Result<()> {
        let noted = db::patiently(async {
            let mut conn = db::acquire(&self.pool).await?;
            store::rebuilds::note(&mut conn, held.id, self.id, done).await
        });
        held_on(noted.await?)
    }
}

/// Goes on holding a rebuild, however long a step of it takes, as long as this replica lives.
async fn hold(pool: &PgPool, id: Uuid, holder: Uuid) -> Result<()> {
    loop {
        tokio::time::sleep(HOLD).await;
        let done = async {
            let mut conn = db::acquire(pool).await?;
            store::rebuilds::hold(&mut conn, id, holder).await
        };
        if let Err(error) = done.await {
            tracing::warn!(rebuild = %id, %error, "a rebuild may be taken by another replica");
        }
    }
}

/// As many histories as are compared at once; none at the end.
async fn batch(histories: &mut Histories) -> Result<Option<Vec<ExecutionEvents>>> {
    let (mut batch, mut events) = (Vec::new(), 0);
    while events < BATCH_EVENTS
        && let Some(history) = histories.next().await?
    {
        events += history.events.len();
        batch.push(history);
    }
    Ok((!batch.is_empty()).then_some(batch))
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

async fn keep_what_differs(
    conn: &mut PgConnection,
    rebuild_id: Uuid,
    histories: &[ExecutionEvents],
    rows: &HashMap<Uuid, Row>,
) -> Result<()> {
    let (mut ledgers, mut base_seqs, mut right) = (Vec::new(), Vec::new(), Vec::new());
    for history in histories {
        let id = execution_report_id(history.execution_id);
        let row = rows.get(&id);
        match anew(history, row) {
            Ok(Some(fresh)) => {
                ledgers.push(fresh);
                base_seqs.push(row.map(|row| row.applied_seq));
            }
            Ok(None) => right.push(id),
            // One execution must not keep all others from being right.
            Err(error) => {
                right.push(id);
                tracing::error!(execution = %history.execution_id, %error, "a history cannot be counted");
            }
        }
    }
    store::rebuilt::forget(conn, rebuild_id, &right).await?;
    if ledgers.is_empty() {
        return Ok(());
    }
    store::rebuilt::keep(conn, rebuild_id, &ledgers, &base_seqs).await
}

/// The report of an execution from its whole history; nothing, if there is one that is right as far as it has come.
fn anew(history: &ExecutionEvents, row: Option<&Row>) -> Result<Option<Ledger>> {
    if let Some(row) = row
        && let Ok(known @ 1..) = usize::try_from(row.applied_seq)
    {
        let mut counted = history.clone();
        counted.events.truncate(known);
        if ledger(&counted)?.is_some_and(|fresh| says(row, &fresh)) {
            return Ok(None);
        }
    }
    ledger(history)
}

fn ledger(history: &ExecutionEvents) -> Result<Option<Ledger>> {
    let folded = fold(None, vec![history], &mut Changes::default());
    Ok(folded.map_err(Error::internal)?.0)
}

fn says(row: &Row, fresh: &Ledger) -> bool {
    let stored = serde_json::from_str::<serde_json::Value>(&row.metrics);
    let metrics = serde_json::to_value(&fresh.metrics);
    row.workflow_id == fresh.workflow_id
        && row.applied_seq == fresh.applied_seq
        && row.period_start == fresh.started_at
        && row.period_end == fresh.completed_at
        && stored.ok() == metrics.ok()
}
