//! The workflow_versions table. Invariant: rows are inserted and read, never changed; a definition's text
//! comes back to the letter.

use chassis::Result;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// A published version.
#[derive(Debug)]
pub struct Version {
    pub version: i32,
    /// A [`model::definition::Definition`] as JSON.
    pub definition: String,
    pub history: History,
}

/// A version in a list, without its steps and transitions.
#[derive(Debug)]
pub struct VersionSummary {
    pub version: i32,
    pub name: String,
    pub description: Option<String>,
    pub target: Option<String>,
    pub history: History,
}

/// How a version came about.
#[derive(Debug)]
pub struct History {
    pub published_by: Option<Uuid>,
    /// As it is today.
    pub published_by_email: Option<String>,
    pub published_at: DateTime<Utc>,
    /// Which version it brought back.
    pub from_version: Option<i32>,
    pub comment: Option<String>,
}

/// A version that is to be made.
#[derive(Debug)]
pub struct NewVersion<'a> {
    pub workflow_id: Uuid,
    pub version: i32,
    pub definition: &'a str,
    pub digest: &'a [u8],
    pub published_by: Option<Uuid>,
    pub from_version: Option<i32>,
    pub comment: Option<&'a str>,
}

pub async fn insert(conn: &mut PgConnection, version: NewVersion<'_>) -> Result<()> {
    sqlx::query!(
        "-- catalog.insert_version
        insert into catalog.workflow_versions
            (workflow_id, version, definition, digest, published_by, from_version, comment)
        values ($1, $2, $3::text::json, $4, $5, $6, $7)",
        version.workflow_id,
        version.version,
        version.definition,
        version.digest,
        version.published_by,
        version.from_version,
        version.comment
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn get(
    conn: &mut PgConnection,
    workflow_id: Uuid,
    version: i32,
) -> Result<Option<Version>> {
    let row = sqlx::query!(
        r#"-- catalog.get_version
        select v.version, v.definition::text as "definition!", v.published_by,
            u.email as "published_by_email?", v.published_at, v.from_version, v.comment
        from catalog.workflow_versions v
        left join catalog.users u on u.id = v.published_by
        where v.workflow_id = $1 and v.version = $2"#,
        workflow_id,
        version
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Version {
        version: row.version,
        definition: row.definition,
        history: History {
            published_by: row.published_by,
            published_by_email: row.published_by_email,
            published_at: row.published_at,
            from_version: row.from_version,
            comment: row.comment,
        },
    }))
}

/// The number and the digest of the latest version.
pub async fn latest(conn: &mut PgConnection, workflow_id: Uuid) -> Result<Option<(i32, Vec<u8>)>> {
    let row = sqlx::query!(
        "-- catalog.latest_version
        select version, digest from catalog.workflow_versions
        where workflow_id = $1 order by version desc limit 1",
        workflow_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.version, row.digest)))
}

/// What a list is restricted to; nothing restricts nothing.
#[derive(Debug, Default)]
pub struct VersionFilter {
    pub published_by: Option<Uuid>,
    pub published_from: Option<DateTime<Utc>>,
    pub published_before: Option<DateTime<Utc>>,
}

/// A row of a list.
struct Row {
    version: i32,
    name: String,
    description: Option<String>,
    target: Option<String>,
    published_by: Option<Uuid>,
    published_by_email: Option<String>,
    published_at: DateTime<Utc>,
    from_version: Option<i32>,
    comment: Option<String>,
}

impl From<Row> for VersionSummary {
    fn from(row: Row) -> Self {
        Self {
            version: row.version,
            name: row.name,
            description: row.description,
            target: row.target,
            history: History {
                published_by: row.published_by,
                published_by_email: row.published_by_email,
                published_at: row.published_at,
                from_version: row.from_version,
                comment: row.comment,
            },
        }
    }
}

/// One statement a direction.
macro_rules! statement {
    (
        $conn:ident, $workflow_id:ident, $filter:ident, $after:ident, $limit:ident,
        $beyond:literal, $direction:literal
    ) => {
        sqlx::query_as!(
            Row,
            r#"-- catalog.list_versions
            select v.version, v.definition ->> 'name' as "name!",
                v.definition ->> 'description' as description,
                v.definition ->> 'target' as target, v.published_by,
                u.email as "published_by_email?", v.published_at, v.from_version, v.comment
            from catalog.workflow_versions v
            left join catalog.users u on u.id = v.published_by
            where v.workflow_id = $1
              and ($2::uuid is null or v.published_by = $2)
              and ($3::timestamptz is null or v.published_at >= $3)
              and ($4::timestamptz is null or v.published_at < $4)
              and ($5::integer is null or v.version "#
                + $beyond
                + r#" $5)
            order by v.version"#
                + $direction
                + r#"
            limit $6"#,
            $workflow_id,
            $filter.published_by,
            $filter.published_from,
            $filter.published_before,
            $after,
            $limit
        )
        .fetch_all($conn)
        .await?
    };
}

/// A workflow's versions behind `after`, the oldest first or the newest.
pub async fn list(
    conn: &mut PgConnection,
    workflow_id: Uuid,
    filter: VersionFilter,
    (after, descending): (Option<i32>, bool),
    limit: i64,
) -> Result<Vec<VersionSummary>> {
    let rows = match descending {
        false => statement!(conn, workflow_id, filter, after, limit, ">", ""),
        true => statement!(conn, workflow_id, filter, after, limit, "<", " desc"),
    };
    Ok(rows.into_iter().map(VersionSummary::from).collect())
}
