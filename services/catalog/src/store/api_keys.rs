//! The api_keys table. Invariant: a key is found by its hash, and the hash is never read.

use chassis::Result;
use chassis::order::Run;
use chrono::{DateTime, Utc};
use model::status::KeyScope;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Word;

/// A machine's way in.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiKey {
    pub id: Uuid,
    pub name: String,
    pub scope: KeyScope,
    pub prefix: String,
    pub created_by: Uuid,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub revision: i64,
}

/// A key that is to be made.
#[derive(Debug)]
pub struct NewKey<'a> {
    pub id: Uuid,
    pub name: &'a str,
    pub scope: KeyScope,
    pub hash: &'a [u8],
    pub prefix: &'a str,
    pub created_by: Uuid,
    pub expires_at: Option<DateTime<Utc>>,
}

/// What a list is restricted to.
#[derive(Debug, Default)]
pub struct KeyFilter<'a> {
    pub name: Option<&'a str>,
    pub scope: Option<&'a str>,
    pub is_revoked: Option<bool>,
}

pub async fn insert(conn: &mut PgConnection, key: NewKey<'_>) -> Result<()> {
    sqlx::query!(
        "-- catalog.insert_api_key
        insert into catalog.api_keys (id, name, scope, key_hash, prefix, created_by, expires_at)
        values ($1, $2, $3::text::catalog.api_key_scope, $4, $5, $6, $7)",
        key.id,
        key.name,
        key.scope.as_str(),
        key.hash,
        key.prefix,
        key.created_by,
        key.expires_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn get(conn: &mut PgConnection, id: Uuid) -> Result<Option<ApiKey>> {
    Ok(sqlx::query_as!(
        ApiKey,
        r#"-- catalog.get_api_key
        select id, name, scope::text as "scope!: Word", prefix, created_by, created_at, expires_at,
            revoked_at, revision
        from catalog.api_keys where id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?)
}

/// The same, and nobody else changes it until the transaction ends.
pub async fn lock(conn: &mut PgConnection, id: Uuid) -> Result<Option<ApiKey>> {
    Ok(sqlx::query_as!(
        ApiKey,
        r#"-- catalog.lock_api_key
        select id, name, scope::text as "scope!: Word", prefix, created_by, created_at, expires_at,
            revoked_at, revision
        from catalog.api_keys where id = $1 for no key update"#,
        id
    )
    .fetch_optional(conn)
    .await?)
}

/// The key that is sent so, whether or not it is still good.
pub async fn find(conn: &mut PgConnection, hash: &[u8]) -> Result<Option<ApiKey>> {
    Ok(sqlx::query_as!(
        ApiKey,
        r#"-- catalog.find_api_key
        select id, name, scope::text as "scope!: Word", prefix, created_by, created_at, expires_at,
            revoked_at, revision
        from catalog.api_keys where key_hash = $1"#,
        hash
    )
    .fetch_optional(conn)
    .await?)
}

/// One statement a direction.
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
        let (created_at, id) = $after.unzip();
        sqlx::query_as!(
            ApiKey,
            r#"-- catalog.list_api_keys
            select id, name, scope::text as "scope!: Word", prefix, created_by, created_at, expires_at,
                revoked_at, revision
            from catalog.api_keys
            where ($1::text is null or name = $1)
              and ($2::text is null or scope = $2::text::catalog.api_key_scope)
              and ($3::boolean is null or (revoked_at is not null) = $3)
              and ($4::timestamptz is null or ("# + $column + r#", id) "# + $beyond + r#" ("# + $key + r#", $5::uuid))
            order by "# + $column + $direction + r#", id"# + $direction + r#"
            limit $6"#,
            $filter.name,
            $filter.scope,
            $filter.is_revoked,
            created_at,
            id,
            $limit
        )
        .fetch_all($conn)
        .await?
    }};
}

/// By age.
pub async fn list(
    conn: &mut PgConnection,
    filter: KeyFilter<'_>,
    run: Run<DateTime<Utc>>,
    limit: i64,
) -> Result<Vec<ApiKey>> {
    Ok(statement!(conn, filter, limit, run, "created_at", "$4"))
}

pub async fn count_not_revoked(conn: &mut PgConnection) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"-- catalog.count_api_keys
        select count(*) as "count!" from catalog.api_keys where revoked_at is null"#
    )
    .fetch_one(conn)
    .await?)
}

pub async fn revoke(conn: &mut PgConnection, id: Uuid) -> Result<()> {
    sqlx::query!(
        "-- catalog.revoke_api_key
        update catalog.api_keys set revoked_at = now() where id = $1",
        id
    )
    .execute(conn)
    .await?;
    Ok(())
}
