//! Reports as they change.
//! Invariant: a report's mark differs whenever its row has been written anew.

use chassis::Result;
use sqlx::PgConnection;
use uuid::Uuid;

use super::reports::{Query, Report};

/// A report as it was looked at.
#[derive(Debug)]
pub struct Place {
    pub id: Uuid,
    /// The transaction that wrote the row: neither its metrics nor a column of its own have to be read to tell.
    pub mark: String,
}

/// Those of the latest periods, as many as the query's limit.
pub async fn latest(conn: &mut PgConnection, query: &Query<'_>) -> Result<Vec<Place>> {
    let places = sqlx::query_as!(
        Place,
        r#"-- reporting.look_at_reports
        select id, xmin::text as "mark!"
        from reporting.workflow_reports
        where ($1::uuid is null or workflow_id = $1)
            and ($2::uuid is null or execution_id = $2)
            and ($3::varchar is null or report_type = $3)
            and ($4::timestamptz is null or period_start >= $4)
            and ($5::timestamptz is null or period_start < $5)
        order by period_start desc, id desc
        limit $6"#,
        query.workflow_id,
        query.execution_id,
        query.report_type,
        query.at_least,
        query.before,
        query.limit
    )
    .fetch_all(conn)
    .await?;
    Ok(places)
}

/// Those that are still there, in the order of lists.
pub async fn get_all(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Report>> {
    let reports = sqlx::query_as!(
        Report,
        r#"-- reporting.get_reports
        select id, workflow_id, execution_id, report_type, metrics, period_start, period_end, created_at
        from reporting.workflow_reports
        where id = any($1)
        order by period_start desc, id desc"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    Ok(reports)
}
