//! Holds a report against the history of its executions, which other code counts once more.
//! Invariant: what is compared is of one moment: as many events of each execution as its own report had counted
//! when the report was read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::{Error, Result, db};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use crate::history::History;
use crate::projection::metrics::Sums;
use crate::projection::period::{Period, ReportType, cohort, execution_report_id, midnight};
use crate::recount::{Difference, Recount, differences};
use crate::store;
use crate::store::rebuilds::Scope;
use crate::store::rebuilt::Counted;
use crate::store::reports::Report;

/// Executions of one report, and their events: every duration is kept until the quantiles are known.
const MOST_EXECUTIONS: i64 = 1_000_000;
const MOST_EVENTS: i64 = 10_000_000;
/// Reports that are verified at once: each takes up to some hundred megabytes.
const AT_ONCE: usize = 2;
/// How long to wait for the stream before an event that is not counted is a difference.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);
/// When there may be room again.
const RETRY: Duration = Duration::from_secs(5);

/// What came of it.
#[derive(Debug, Default)]
pub struct Verified {
    pub differences: Vec<Difference>,
    pub executions: u64,
    pub events: u64,
    pub uncounted_events: u64,
    pub purged_executions: u64,
    pub complete_through: Option<DateTime<Utc>>,
}

#[derive(Debug)]
pub struct Verifier {
    pool: PgPool,
    history: History,
    room: Arc<Semaphore>,
}

/// A report and what it was made of, of one moment.
struct Subject {
    /// The metrics, or what they are about to become.
    metrics: Value,
    period: Option<Period>,
    counted: Vec<Counted>,
}

impl Verifier {
    pub fn new(pool: PgPool, history: History) -> Self {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        Self {
            pool,
            history,
            room,
        }
    }

    pub async fn verify(&self, id: Uuid) -> Result<Verified> {
        let room = Arc::clone(&self.room).try_acquire_owned();
        let _room = room.map_err(|_| {
            let message = format!("{AT_ONCE} reports are being verified; try again later");
            Error::exhausted("TOO_MANY_VERIFICATIONS", message, RETRY)
        })?;
        let subject = self.subject(id).await?;
        let mut verified = Verified::default();
        let mut counted: HashMap<Uuid, i32> = HashMap::new();
        for own in &subject.counted {
            match own.execution_id {
                Some(id) => drop(counted.insert(id, own.applied_seq)),
                None => verified.purged_executions += 1,
            }
        }
        let mut recount = Recount::default();
        let mut expected = Value::Null;
        let mut ahead: HashMap<Uuid, usize> = HashMap::new();
        let mut history = self.history.clone();
        let mut histories = match subject.period {
            // Nothing to ask for: it has been purged.
            None if counted.is_empty() => None,
            None => Some(history.of(counted.keys().copied().collect()).await?),
            Some(period) => Some(history.within(scope(&period), None).await?),
        };
        while let Some(histories) = &mut histories
            && let Some(told) = histories.next().await?
        {
            let known = counted.remove(&told.execution_id).unwrap_or_default();
            let known = usize::try_from(known).unwrap_or_default();
            let events = told.events.len();
            if known > events {
                let figure = format!("executions.{}", told.execution_id);
                verified.differences.push(differs(figure, known, events));
            }
            if known < events {
                ahead.insert(told.execution_id, events);
                verified.uncounted_events += (events - known) as u64;
            }
            if known > 0 {
                verified.executions += 1;
                verified.events += known.min(events) as u64;
                recount.add(&told, known);
            }
            if subject.period.is_none() {
                expected = recount.execution(&told, known);
            }
        }
        for id in self.purged(counted.keys().copied().collect()).await? {
            counted.remove(&id);
            verified.purged_executions += 1;
        }
        for (id, known) in &counted {
            let figure = format!("executions.{id}");
            let known = usize::try_from(*known).unwrap_or_default();
            verified.differences.push(differs(figure, known, 0));
        }
        if subject.period.is_some() {
            expected = recount.period();
        }
        if verified.purged_executions == 0 && expected != Value::Null {
            let found = differences(&subject.metrics, &expected);
            verified.differences.extend(found);
        }
        self.judge(ahead, &mut verified).await?;
        Ok(verified)
    }

    /// Those of some executions that have been purged since their reports were read.
    async fn purged(&self, executions: Vec<Uuid>) -> Result<Vec<Uuid>> {
        if executions.is_empty() {
            return Ok(Vec::new());
        }
        let ids = executions.iter().map(|id| execution_report_id(*id));
        let ids: Vec<Uuid> = ids.collect();
        let look = db::patiently(async {
            let mut conn = db::acquire(&self.pool).await?;
            store::rebuilt::purged(&mut conn, &ids).await
        });
        let purged = look.await?;
        let is_purged = |id: &Uuid| purged.contains(&execution_report_id(*id));
        Ok(executions.into_iter().filter(is_purged).collect())
    }

    async fn subject(&self, id: Uuid) -> Result<Subject> {
        db::patiently(async {
            let mut snapshot = db::snapshot(&self.pool).await?;
            let report = store::reports::get(&mut snapshot, id).await?;
            let report = report.ok_or_else(|| Error::not_found("report", id))?;
            let subject = match period(&report) {
                Some(period) => of_period(&mut snapshot, report, period).await?,
                None => of_execution(&mut snapshot, report).await?,
            };
            snapshot.commit().await?;
            let events = subject.counted.iter().map(|own| i64::from(own.applied_seq));
            if subject.counted.len() as i64 > MOST_EXECUTIONS || events.sum::<i64>() > MOST_EVENTS {
                let message = format!(
                    "it has more than {MOST_EXECUTIONS} executions or {MOST_EVENTS} events: verify its days"
                );
                return Err(Error::precondition("REPORT_TOO_LARGE", message));
            }
            Ok(subject)
        })
        .await
    }

    /// Events that were not counted when the report was read are differences if they still are not when
    /// everything up to now is.
    async fn judge(&self, ahead: HashMap<Uuid, usize>, verified: &mut Verified) -> Result<()> {
        let now = db::patiently(async {
            let mut conn = db::acquire(&self.pool).await?;
            db::now(&mut conn).await
        });
        let now = now.await?;
        let deadline = Instant::now() + PATIENCE;
        let mut ticks = tokio::time::interval(PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let ids: Vec<Uuid> = ahead.keys().map(|id| execution_report_id(*id)).collect();
            let look = db::patiently(async {
                let mut conn = db::acquire(&self.pool).await?;
                // Before the reports: what is complete by now is in them.
                let complete_through = store::watermark::read(&mut conn).await?;
                let rows = store::ledgers::read(&mut conn, &ids).await?;
                Ok((complete_through, rows))
            });
            let (complete_through, rows) = look.await?;
            verified.complete_through = complete_through;
            let known: HashMap<Uuid, i32> =
                rows.iter().map(|row| (row.id, row.applied_seq)).collect();
            let late = |(id, events): (&Uuid, &usize)| {
                let report_id = execution_report_id(*id);
                let known = known.get(&report_id).copied().unwrap_or_default();
                let known = usize::try_from(known).unwrap_or_default();
                (known < *events).then(|| differs(format!("executions.{id}"), known, *events))
            };
            let late: Vec<Difference> = ahead.iter().filter_map(late).collect();
            if late.is_empty() {
                return Ok(());
            }
            if complete_through.is_some_and(|instant| instant > now) {
                verified.differences.extend(late);
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Ok(());
            }
        }
    }
}

fn period(report: &Report) -> Option<Period> {
    let report_type = ReportType::parse(&report.report_type)?;
    let periods = Period::of_day(report.workflow_id, cohort(report.period_start));
    periods
        .into_iter()
        .find(|period| period.report_type == report_type)
}

fn scope(period: &Period) -> Scope {
    Scope {
        workflow_id: Some(period.workflow_id),
        first: Some(period.first),
        end: Some(period.end),
    }
}

async fn of_period(conn: &mut PgConnection, report: Report, period: Period) -> Result<Subject> {
    let range = (midnight(period.first), midnight(period.end));
    let limit = MOST_EXECUTIONS + 1;
    let counted = store::rebuilt::counted(conn, period.workflow_id, range, limit).await?;
    let mut metrics = report.metrics;
    if store::days::any_stale(conn, period.workflow_id, period.first, period.end).await? {
        let days: Vec<_> = period.days().map(|day| (period.workflow_id, day)).collect();
        let mut sums = Sums::default();
        for row in store::figures::of_days(conn, &days).await? {
            sums.add(&row.key, &row.label, &row.figures);
        }
        metrics = serde_json::to_value(sums.metrics()).map_err(Error::internal)?;
    }
    Ok(Subject {
        metrics,
        period: Some(period),
        counted,
    })
}

async fn of_execution(conn: &mut PgConnection, report: Report) -> Result<Subject> {
    let ledgers = store::ledgers::read(conn, &[report.id]).await?;
    let counted = ledgers.iter().map(|row| Counted {
        execution_id: report.execution_id,
        applied_seq: row.applied_seq,
    });
    Ok(Subject {
        counted: counted.collect(),
        metrics: report.metrics,
        period: None,
    })
}

fn differs(figure: String, stored: usize, recounted: usize) -> Difference {
    Difference {
        figure,
        stored: Some(json!(stored)),
        recounted: Some(json!(recounted)),
    }
}
