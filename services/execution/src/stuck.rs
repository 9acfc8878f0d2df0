//! How many waits need somebody, as numbers for an alarm. Invariant: they are watched, never read back:
//! nothing depends on them.

use std::time::Duration;

use chassis::{Result, Shutdown, db};
use opentelemetry::metrics::Gauge;
use sqlx::PgPool;

use crate::store;

const PAUSE: Duration = Duration::from_secs(30);
/// Executions without a reason are looked for in all that are open: every so many pauses.
const SELDOM: u32 = 20;
const MOST_BROKEN: i64 = 1000;

struct Gauges {
    incidents: Gauge<u64>,
    overdue: Gauge<u64>,
    broken: Gauge<u64>,
}

/// Measures now and then until told to stop.
pub async fn run(pool: PgPool, shutdown: Shutdown) {
    let meter = opentelemetry::global::meter("execution");
    let gauge = |name, description| {
        let gauge = meter.u64_gauge(name).with_description(description);
        gauge.build()
    };
    let gauges = Gauges {
        incidents: gauge(
            "execution.incidents",
            "Incidents that wait for an operator.",
        ),
        overdue: gauge(
            "execution.overdue_waits",
            "Waits whose instant was more than a minute ago.",
        ),
        broken: gauge(
            "execution.without_reason",
            "Open executions that wait for nothing, and waits of those that are over.",
        ),
    };
    let mut round = 0;
    let soft = &shutdown.soft;
    while soft
        .run_until_cancelled(tokio::time::sleep(PAUSE))
        .await
        .is_some()
    {
        let measured =
            soft.run_until_cancelled(db::patiently(measure(&pool, &gauges, round % SELDOM == 0)));
        if let Some(Err(error)) = measured.await {
            tracing::warn!(%error, "what is stuck was not counted");
        }
        round += 1;
    }
}

async fn measure(pool: &PgPool, gauges: &Gauges, thoroughly: bool) -> Result<()> {
    let mut conn = db::acquire(pool).await?;
    let counts = store::stuck::count(&mut conn).await?;
    gauges
        .incidents
        .record(counts.incidents.unsigned_abs(), &[]);
    gauges.overdue.record(counts.overdue.unsigned_abs(), &[]);
    if thoroughly {
        store::stuck::forget_job_types(&mut conn).await?;
        let mut broken = store::executions::without_reason(&mut conn, MOST_BROKEN).await?;
        broken.extend(store::executions::waiting_though_over(&mut conn, MOST_BROKEN).await?);
        gauges.broken.record(broken.len() as u64, &[]);
        if let Some(first) = broken.first() {
            tracing::error!(count = broken.len(), %first, "executions wait without a reason");
        }
    }
    Ok(())
}
