//! When the executions of a workflow started, by their reports.
//! Invariant: a count stops at its limit, however many there are.

use chassis::Result;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// Executions of a workflow, by their start.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    pub workflow_id: Uuid,
    pub from: Option<DateTime<Utc>>,
    pub before: Option<DateTime<Utc>>,
}

/// How many there are, at most `limit`.
pub async fn count(conn: &mut PgConnection, range: &Range, limit: i64) -> Result<i64> {
    let count = sqlx::query_scalar!(
        r#"-- reporting.count_started
        select count(*) as "count!" from (
            select from reporting.workflow_reports
            where workflow_id = $1 and report_type = 'execution'
                and ($2::timestamptz is null or period_start >= $2)
                and ($3::timestamptz is null or period_start < $3)
            limit $4
        ) started"#,
        range.workflow_id,
        range.from,
        range.before,
        limit
    )
    .fetch_one(conn)
    .await?;
    Ok(count)
}

/// When the one started that has `later` later ones.
pub async fn latest(
    conn: &mut PgConnection,
    range: &Range,
    later: i64,
) -> Result<Option<DateTime<Utc>>> {
    let start = sqlx::query_scalar!(
        r#"-- reporting.latest_start
        select period_start from reporting.workflow_reports
        where workflow_id = $1 and report_type = 'execution'
            and ($2::timestamptz is null or period_start >= $2)
            and ($3::timestamptz is null or period_start < $3)
        order by period_start desc, id desc
        offset $4 limit 1"#,
        range.workflow_id,
        range.from,
        range.before,
        later
    )
    .fetch_optional(conn)
    .await?;
    Ok(start)
}
