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
    pub published_by: Option<Uuid>,
    pub published_at: DateTime<Utc>,
}

/// A version in a list, without its steps and transitions.
#[derive(Debug)]
pub struct VersionSummary {
    pub version: i32,
    pub name: String,
    pub description: Option<String>,
    pub published_by: Option<Uuid>,
    pub published_at: DateTime<Utc>,
}

/// A version that is to be made.
#[derive(Debug)]
pub struct NewVersion<'a> {
    pub workflow_id: Uuid,
    pub version: i32,
    pub definition: &'a str,
    pub digest: &'a [u8],
    pub published_by: Option<Uuid>,
}

pub async fn insert(conn: &mut PgConnection, version: NewVersion<'_>) -> Result<()> {
    sqlx::query!(
        "-- catalog.insert_version
        insert into catalog.workflow_versions
            (workflow_id, version, definition, digest, published_by)
        values ($1, $2, $3::text::json, $4, $5)",
        version.workflow_id,
        version.version,
        version.definition,
        version.digest,
        version.published_by
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
    Ok(sqlx::query_as!(
        Version,
        r#"-- catalog.get_version
        select version, definition::text as "definition!", published_by, published_at
        from catalog.workflow_versions where workflow_id = $1 and version = $2"#,
        workflow_id,
        version
    )
    .fetch_optional(conn)
    .await?)
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

/// A workflow's versions above `after`, oldest first.
pub async fn list_up(
    conn: &mut PgConnection,
    workflow_id: Uuid,
    filter: VersionFilter,
    after: Option<i32>,
    limit: i64,
) -> Result<Vec<VersionSummary>> {
    Ok(sqlx::query_as!(
        VersionSummary,
        r#"-- catalog.list_versions_up
        select version, definition ->> 'name' as "name!", definition ->> 'description' as description,
            published_by, published_at
        from catalog.workflow_versions
        where workflow_id = $1
          and ($2::uuid is null or published_by = $2)
          and ($3::timestamptz is null or published_at >= $3)
          and ($4::timestamptz is null or published_at < $4)
          and ($5::integer is null or version > $5)
        order by version
        limit $6"#,
        workflow_id,
        filter.published_by,
        filter.published_from,
        filter.published_before,
        after,
        limit
    )
    .fetch_all(conn)
    .await?)
}

/// A workflow's versions below `after`, newest first.
pub async fn list_down(
    conn: &mut PgConnection,
    workflow_id: Uuid,
    filter: VersionFilter,
    after: Option<i32>,
    limit: i64,
) -> Result<Vec<VersionSummary>> {
    Ok(sqlx::query_as!(
        VersionSummary,
        r#"-- catalog.list_versions_down
        select version, definition ->> 'name' as "name!", definition ->> 'description' as description,
            published_by, published_at
        from catalog.workflow_versions
        where workflow_id = $1
          and ($2::uuid is null or published_by = $2)
          and ($3::timestamptz is null or published_at >= $3)
          and ($4::timestamptz is null or published_at < $4)
          and ($5::integer is null or version < $5)
        order by version desc
        limit $6"#,
        workflow_id,
        filter.published_by,
        filter.published_from,
        filter.published_before,
        after,
        limit
    )
    .fetch_all(conn)
    .await?)
}
