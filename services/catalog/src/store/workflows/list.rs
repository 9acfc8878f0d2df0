//! ListWorkflows. Invariant: a page is a range of one index order, so no workflow is listed twice or left
//! out, unless it moves in that order meanwhile.

use chassis::Result;
use chassis::order::Run;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::super::Word;
use super::Workflow;

/// What a list is restricted to; nothing restricts nothing.
#[derive(Debug, Default)]
pub struct WorkflowFilter<'a> {
    pub client_id: Option<Uuid>,
    pub status: Option<&'a str>,
    pub name: Option<&'a str>,
    /// What the name is LIKE.
    pub pattern: Option<&'a str>,
    pub has_unpublished_changes: Option<bool>,
    pub created_from: Option<DateTime<Utc>>,
    pub created_before: Option<DateTime<Utc>>,
    pub updated_from: Option<DateTime<Utc>>,
    pub updated_before: Option<DateTime<Utc>>,
}

/// What a list is ordered by.
#[derive(Debug)]
pub enum WorkflowOrder {
    Created(Run<DateTime<Utc>>),
    Updated(Run<DateTime<Utc>>),
    /// By name whatever its case.
    Name(Run<String>),
}

/// One statement an order; they differ in where they go on and in which direction.
macro_rules! statement {
    ($conn:ident, $filter:ident, $limit:ident, $run:expr, $column:literal, $key:literal) => {
        match $run {
            Run::Up(after) => statement!($conn, $filter, $limit, after, $column, $key, ">", ""),
            Run::Down(after) => statement!($conn, $filter, $limit, after, $column, $key, "<", " desc"),
        }
    };
    (
        $conn:ident, $filter:ident, $limit:ident, $after:ident,
        $column:literal, $key:literal, $beyond:literal, $direction:literal
    ) => {{
        let (key, id) = $after.unzip();
        sqlx::query_as!(
            Workflow,
            r#"-- catalog.list_workflows
            select id, name, description, target, client_id, status::text as "status!: Word", version,
                created_by, created_at, updated_at, revision, has_unpublished_changes
            from catalog.workflows
            where ($1::uuid is null or client_id = $1)
              and ($2::text is null or status = $2::text::catalog.workflow_status)
              and ($3::text is null or name = $3)
              and ($4::text is null or lower(' ' || name) like lower($4))
              and ($5::boolean is null or has_unpublished_changes = $5)
              and ($6::timestamptz is null or created_at >= $6)
              and ($7::timestamptz is null or created_at < $7)
              and ($8::timestamptz is null or updated_at >= $8)
              and ($9::timestamptz is null or updated_at < $9)
              and ($10::uuid is null or ("# + $column + r#", id) "# + $beyond + r#" ("# + $key + r#", $10))
            order by "# + $column + $direction + r#", id"# + $direction + r#"
            limit $12"#,
            $filter.client_id,
            $filter.status,
            $filter.name,
            $filter.pattern,
            $filter.has_unpublished_changes,
            $filter.created_from,
            $filter.created_before,
            $filter.updated_from,
            $filter.updated_before,
            id,
            key,
            $limit
        )
        .fetch_all($conn)
        .await?
    }};
}

pub async fn list(
    conn: &mut PgConnection,
    filter: WorkflowFilter<'_>,
    order: WorkflowOrder,
    limit: i64,
) -> Result<Vec<Workflow>> {
    use WorkflowOrder::{Created, Name, Updated};
    Ok(match order {
        Created(run) => statement!(conn, filter, limit, run, "created_at", "$11::timestamptz"),
        Updated(run) => statement!(conn, filter, limit, run, "updated_at", "$11::timestamptz"),
        Name(run) => statement!(
            conn,
            filter,
            limit,
            run,
            r#"lower(name) collate "C""#,
            r#"lower($11::text) collate "C""#
        ),
    })
}
