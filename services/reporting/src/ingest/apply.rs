//! One batch of events into the figures, in one transaction.
//! Invariant: ledger and sums change together or not at all, and each event changes them once; so a batch
//! may be applied again, in other company, by several senders at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chassis::{Error, Result, db, fail_point};
use model::event::ExecutionEvents;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::projection::execution::ExecutionMetrics;
use crate::projection::fold::{Changes, Fault, Ledger, fold, last_seq};
use crate::projection::period::{cohort, execution_report_id};
use crate::store::held::Place;
use crate::store::{self, EVENTS_REFUSED};
use crate::wire;

/// Another transaction made a ledger that this one was about to make.
const LEDGER_RACED: &str = "LEDGER_RACED";

/// Applies parts of any executions, in any order, with any repetitions. An error with the reason
/// [`EVENTS_REFUSED`] means that some part can never be applied; nothing was then.
pub async fn apply(pool: &PgPool, parts: Vec<Arc<ExecutionEvents>>) -> Result<()> {
    loop {
        let parts = parts.clone();
        let done =
            db::keyed_transaction(pool, async move |conn| apply_once(conn, &parts).await).await;
        match done {
            // The other one has committed by now: its ledgers are found this time.
            Err(error) if error.reason() == LEDGER_RACED => {}
            done => return done,
        }
    }
}

async fn apply_once(conn: &mut PgConnection, parts: &[Arc<ExecutionEvents>]) -> Result<()> {
    let executions = BTreeSet::from_iter(parts.iter().map(|part| part.execution_id));
    let executions = Vec::from_iter(executions);
    let ids: Vec<Uuid> = executions
        .iter()
        .map(|id| execution_report_id(*id))
        .collect();
    let ledgers = store::ledgers::lock(conn, &ids).await?;
    fail_point!("counting.locked");
    let held = store::held::of(conn, &executions).await?;
    let held: Vec<_> = held
        .iter()
        .filter_map(|payload| wire::decode(payload))
        .collect();
    let plan = Plan::make(ledgers, parts, &held).map_err(refused)?;
    plan.write(conn).await
}

fn refused(fault: Fault) -> Error {
    Error::precondition(EVENTS_REFUSED, fault.to_string())
}

/// What a batch comes to.
#[derive(Default)]
struct Plan {
    new: Vec<Ledger>,
    grown: Vec<Ledger>,
    changes: Changes,
    /// By place: a row may be written only once in a statement.
    ahead: BTreeMap<Place, Vec<u8>>,
    settled: Vec<Place>,
}

impl Plan {
    fn make(
        ledgers: Vec<store::ledgers::Row>,
        parts: &[Arc<ExecutionEvents>],
        held: &[ExecutionEvents],
    ) -> Result<Self, Fault> {
        let mut ledgers: HashMap<Uuid, _> = ledgers.into_iter().map(|row| (row.id, row)).collect();
        let mut groups: BTreeMap<Uuid, Vec<&ExecutionEvents>> = BTreeMap::new();
        for part in parts.iter().map(Arc::as_ref).chain(held) {
            groups.entry(part.execution_id).or_default().push(part);
        }
        let mut plan = Self::default();
        let mut applied = HashMap::new();
        for (execution_id, group) in groups {
            let row = ledgers.remove(&execution_report_id(execution_id));
            applied.insert(execution_id, plan.add(row, group)?);
        }
        for part in held {
            if last_seq(part)? <= applied[&part.execution_id] {
                plan.settled.push(place(part));
            }
        }
        Ok(plan)
    }

    /// Plans one execution; returns how far it is counted then.
    fn add(
        &mut self,
        row: Option<store::ledgers::Row>,
        group: Vec<&ExecutionEvents>,
    ) -> Result<i32, Fault> {
        let before = row.as_ref().map_or(0, |row| row.applied_seq);
        let mut latest = 0;
        for part in &group {
            latest = latest.max(last_seq(part)?);
        }
        if latest <= before {
            return Ok(before);
        }
        let is_new = row.is_none();
        let ledger = row.map(|row| read(row, group[0])).transpose()?;
        let (ledger, ahead) = fold(ledger, group, &mut self.changes)?;
        for part in ahead {
            self.ahead.insert(place(part), wire::encode(part));
        }
        let after = ledger.as_ref().map_or(0, |ledger| ledger.applied_seq);
        match ledger {
            Some(ledger) if is_new => self.new.push(ledger),
            Some(ledger) if after > before => self.grown.push(ledger),
            _ => {}
        }
        Ok(after)
    }

    async fn write(self, conn: &mut PgConnection) -> Result<()> {
        let counted = self.new.iter().chain(&self.grown);
        let days: BTreeSet<_> = counted
            .map(|ledger| (ledger.workflow_id, cohort(ledger.started_at)))
            .collect();
        if !self.new.is_empty() && store::ledgers::insert(conn, &self.new).await? < self.new.len() {
            return Err(Error::unavailable(LEDGER_RACED, "another sender was first"));
        }
        fail_point!("counting.ledgers_made");
        if !self.grown.is_empty() {
            store::ledgers::update(conn, &self.grown).await?;
        }
        fail_point!("counting.ledgers_grown");
        if !self.ahead.is_empty() {
            let (places, payloads): (Vec<_>, Vec<_>) = self.ahead.into_iter().unzip();
            store::held::hold(conn, &places, &payloads).await?;
        }
        if !self.settled.is_empty() {
            store::held::release(conn, &self.settled).await?;
        }
        if days.is_empty() {
            return Ok(());
        }
        let (workflow_ids, dates): (Vec<_>, Vec<_>) = days.into_iter().unzip();
        fail_point!("counting.before_mark");
        store::days::mark(conn, &workflow_ids, &dates, Uuid::now_v7()).await?;
        fail_point!("counting.before_figures");
        store::figures::add(conn, self.changes).await
    }
}

fn place(part: &ExecutionEvents) -> Place {
    Place {
        execution_id: part.execution_id,
        first_seq: part.first_seq,
    }
}

/// What was counted of the execution that `part` is of.
fn read(row: store::ledgers::Row, part: &ExecutionEvents) -> Result<Ledger, Fault> {
    let mut metrics: ExecutionMetrics =
        serde_json::from_str(&row.metrics).map_err(|_| Fault::Ledger)?;
    // Older reports do not say it.
    if metrics.workflow_version == 0 {
        metrics.workflow_version = part.workflow_version;
        metrics.client_id = part.client_id;
    }
    Ok(Ledger {
        id: row.id,
        workflow_id: row.workflow_id,
        execution_id: part.execution_id,
        started_at: row.period_start,
        completed_at: row.period_end,
        applied_seq: row.applied_seq,
        metrics,
    })
}
