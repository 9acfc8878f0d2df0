//! Daily, weekly and monthly reports, for writing.
//! Invariant: whoever writes a report has read its sums under the report's lock, so an older sum never
//! overwrites a younger one.

use std::collections::BTreeMap;

use chassis::Result;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use crate::projection::metrics::PeriodMetrics;
use crate::projection::period::{Period, midnight};

/// Locks the reports; makes the rows that are missing, which nobody sees before the transaction has filled
/// them.
pub async fn claim(conn: &mut PgConnection, periods: &BTreeMap<Period, Uuid>) -> Result<()> {
    let ids: Vec<Uuid> = periods.values().copied().collect();
    sqlx::query!(
        r#"-- reporting.insert_missing_reports
        insert into reporting.workflow_reports (id, workflow_id, report_type, metrics, period_start, period_end)
        select p.id, p.workflow_id, p.report_type, '{}', p.period_start, p.period_end
        from unnest($1::uuid[], $2::uuid[], $3::varchar[], $4::timestamptz[], $5::timestamptz[])
            as p (id, workflow_id, report_type, period_start, period_end)
        order by p.id
        on conflict (id) do nothing"#,
        &ids,
        &periods.keys().map(|period| period.workflow_id).collect::<Vec<_>>(),
        &periods.keys().map(|p| p.report_type.as_str().to_owned()).collect::<Vec<_>>(),
        &periods.keys().map(|period| midnight(period.first)).collect::<Vec<_>>(),
        &periods.keys().map(|period| midnight(period.end)).collect::<Vec<_>>()
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"-- reporting.lock_reports
        select id from reporting.workflow_reports where id = any($1) order by id for no key update"#,
        &ids
    )
    .fetch_all(conn)
    .await?;
    Ok(())
}

/// Writes only what differs.
pub async fn write(conn: &mut PgConnection, metrics: &BTreeMap<Uuid, PeriodMetrics>) -> Result<()> {
    sqlx::query!(
        r#"-- reporting.update_reports
        update reporting.workflow_reports r
        set metrics = m.metrics
        from unnest($1::uuid[], $2::jsonb[]) as m (id, metrics)
        where r.id = m.id and r.metrics <> m.metrics"#,
        &metrics.keys().copied().collect::<Vec<_>>(),
        &metrics.values().map(Json).collect::<Vec<_>>() as _
    )
    .execute(conn)
    .await?;
    Ok(())
}
