//! Keeps the daily, weekly and monthly reports up with the sums.
//! Invariant: a report equals the sums at some moment, and never goes back to an older one; and the
//! watermark moves only over what the reports already show.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chassis::{Error, Result, db, fail_point};
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{PgConnection, PgPool};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::meters::Lag;
use crate::projection::metrics::Sums;
use crate::projection::period::{Period, touched};
use crate::store;
use crate::store::days::Stale;
use crate::store::held::Place;

/// The least time between two writes of the same report.
const PAUSE: Duration = Duration::from_secs(1);
/// Days of one transaction: each may stand for three reports, which take up to 37 days' sums.
const DAYS: usize = 32;
/// With more held events than this the watermark stands still.
const MOST_HELD: i64 = 10_000;

#[derive(Debug)]
pub struct Materializer {
    pool: PgPool,
    /// Up to when everything has been counted, as the writer learned.
    complete: watch::Receiver<Option<DateTime<Utc>>>,
    /// Up to when the reports showed everything when this replica last looked.
    shown: Option<DateTime<Utc>>,
    lag: Lag,
}

impl Materializer {
    pub fn new(pool: PgPool, complete: watch::Receiver<Option<DateTime<Utc>>>) -> Self {
        Self {
            pool,
            complete,
            shown: None,
            lag: Lag::new(),
        }
    }

    pub async fn run(mut self, soft: CancellationToken) {
        let mut ticks = tokio::time::interval(PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while soft.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Some(Err(error)) = soft.run_until_cancelled(self.step()).await {
                tracing::warn!(%error, "reports wait");
            }
        }
    }

    /// Writes the reports of all days that are stale now.
    pub async fn step(&mut self) -> Result<()> {
        // Before the marks are read: whatever was counted up to here has left its mark.
        let complete = *self.complete.borrow();
        let look = db::patiently(async {
            let mut conn = db::acquire(&self.pool).await?;
            let now = db::now(&mut conn).await?;
            let held = store::held::older_than(&mut conn, now, MOST_HELD).await?;
            // Whichever replica has moved it: the lag is that of the reports.
            let complete_through = store::watermark::read(&mut conn).await?;
            if let Some(complete_through) = complete_through {
                self.lag.record_shown(now, complete_through);
            }
            Ok((store::days::stale(&mut conn).await?, held))
        });
        let (stale, held) = look.await?;
        self.lag.record_backlog(stale.len(), held.len());
        let (waiting, stale): (Vec<_>, Vec<_>) = stale.into_iter().partition(|day| day.is_replaced);
        for days in stale.chunks(DAYS).map(<[_]>::to_vec) {
            db::transaction(&self.pool, async move |conn| write(conn, &days).await).await?;
        }
        if waiting.is_empty()
            && complete > self.shown
            && db::patiently(self.shows(&stale, &held)).await?
        {
            db::patiently(self.advance(complete)).await?;
        }
        Ok(())
    }

    /// Whether all that was counted or held before this step is in the reports: another replica may be
    /// about to write some of it.
    async fn shows(&self, stale: &[Stale], held: &[Place]) -> Result<bool> {
        if held.len() as i64 == MOST_HELD {
            return Ok(false);
        }
        let mut conn = db::acquire(&self.pool).await?;
        Ok(!store::held::any_left(&mut conn, held).await?
            && !store::days::any_left(&mut conn, stale).await?)
    }

    async fn advance(&mut self, complete: Option<DateTime<Utc>>) -> Result<()> {
        if let Some(instant) = complete {
            let mut conn = db::acquire(&self.pool).await?;
            store::watermark::advance(&mut conn, instant).await?;
        }
        self.shown = complete;
        Ok(())
    }
}

async fn write(conn: &mut PgConnection, stale: &[Stale]) -> Result<()> {
    let days: Vec<_> = stale
        .iter()
        .map(|stale| (stale.workflow_id, stale.day))
        .collect();
    let periods: BTreeMap<Period, Uuid> = touched(&days)
        .into_iter()
        .map(|period| (period, period.id()))
        .collect();
    store::periods::claim(conn, &periods).await?;
    fail_point!("reports.claimed");

    let needed: BTreeSet<(Uuid, NaiveDate)> = periods
        .keys()
        .flat_map(|period| period.days().map(|day| (period.workflow_id, day)))
        .collect();
    let rows = store::figures::of_days(conn, &Vec::from_iter(needed)).await?;
    if store::days::any_replaced(conn, stale).await? {
        let begun = "a rebuild has begun to replace days that were read";
        return Err(Error::unavailable("REPORTS_REBUILT", begun));
    }
    // A period that has lost its last execution is told as empty.
    let mut sums: BTreeMap<Period, Sums> = periods
        .keys()
        .map(|period| (*period, Sums::default()))
        .collect();
    for row in &rows {
        for period in Period::of_day(row.key.workflow_id, row.key.day) {
            if let Some(sums) = sums.get_mut(&period) {
                sums.add(&row.key, &row.label, &row.figures);
            }
        }
    }
    let metrics = sums
        .iter()
        .map(|(period, sums)| (periods[period], sums.metrics()))
        .collect();
    store::periods::write(conn, &metrics).await?;
    fail_point!("reports.before_clear");
    store::days::show(conn, stale).await
}
