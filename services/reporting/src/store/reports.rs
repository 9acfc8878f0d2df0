//! Reports, for reading.
//! Invariant: a page is a range of one index order, so that no report is listed twice or left out.

use chassis::Result;
use chassis::order::Run;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use tokio_stream::Stream;
use uuid::Uuid;

#[derive(Debug)]
pub struct Report {
    pub id: Uuid,
    pub workflow_id: Uuid,
    pub execution_id: Option<Uuid>,
    pub report_type: String,
    pub metrics: Value,
    pub period_start: DateTime<Utc>,
    pub period_end: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
}

pub async fn get(conn: &mut PgConnection, id: Uuid) -> Result<Option<Report>> {
    let report = sqlx::query_as!(
        Report,
        r#"-- reporting.get_report
        select id, workflow_id, execution_id, report_type, metrics, period_start, period_end, created_at
        from reporting.workflow_reports
        where id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(report)
}

/// What a list is restricted to, and how it runs.
#[derive(Debug)]
pub struct Query<'a> {
    pub workflow_id: Option<Uuid>,
    pub execution_id: Option<Uuid>,
    pub report_type: Option<&'a str>,
    pub at_least: Option<DateTime<Utc>>,
    pub before: Option<DateTime<Utc>>,
    pub run: Run<DateTime<Utc>>,
    pub limit: i64,
}

/// One statement a direction.
macro_rules! statement {
    ($conn:ident, $query:ident, $run:expr, $column:literal, $key:literal) => {
        match $run {
            Run::Up(after) => statement!($conn, $query, after, $column, $key, ">", ""),
            Run::Down(after) => statement!($conn, $query, after, $column, $key, "<", " desc"),
        }
    };
    (
        $conn:ident, $query:ident, $after:ident,
        $column:literal, $key:literal, $beyond:literal, $direction:literal
    ) => {{
        let (after_start, after_id) = $after.unzip();
        sqlx::query_as!(
            Report,
            r#"-- reporting.list_reports
            select id, workflow_id, execution_id, report_type, metrics, period_start, period_end, created_at
            from reporting.workflow_reports
            where ($1::uuid is null or workflow_id = $1)
                and ($2::uuid is null or execution_id = $2)
                and ($3::varchar is null or report_type = $3)
                and ($4::timestamptz is null or period_start >= $4)
                and ($5::timestamptz is null or period_start < $5)
                and ($6::timestamptz is null or ("# + $column + r#", id) "# + $beyond + r#" ("# + $key + r#", $7::uuid))
            order by "# + $column + $direction + r#", id"# + $direction + r#"
            limit $8"#,
            $query.workflow_id,
            $query.execution_id,
            $query.report_type,
            $query.at_least,
            $query.before,
            after_start,
            after_id,
            $query.limit
        )
        .fetch($conn)
    }};
}

/// By period. A stream, because a page of large reports is cut short by its reader.
pub fn list<'c>(
    conn: &'c mut PgConnection,
    query: Query<'_>,
) -> impl Stream<Item = sqlx::Result<Report>> + Send + 'c {
    statement!(conn, query, query.run, "period_start", "$6")
}
