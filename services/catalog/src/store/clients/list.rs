//! ListClients. Invariant: a page is a range of one index order, so no client is listed twice or left out,
//! unless it moves in that order meanwhile.

use chassis::Result;
use chassis::order::Run;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Client, Row};

/// What a list is restricted to; nothing restricts nothing.
#[derive(Debug, Default)]
pub struct ClientFilter<'a> {
    pub name: Option<&'a str>,
    pub is_active: Option<bool>,
    /// What name, email or company are LIKE.
    pub pattern: Option<&'a str>,
    pub created_from: Option<DateTime<Utc>>,
    pub created_before: Option<DateTime<Utc>>,
    pub updated_from: Option<DateTime<Utc>>,
    pub updated_before: Option<DateTime<Utc>>,
}

/// What a list is ordered by.
#[derive(Debug)]
pub enum ClientOrder {
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
            Row,
            "-- catalog.list_clients
            select id, name, email, phone, address, company, notes, is_active, created_at, updated_at,
                revision
            from catalog.clients
            where ($1::text is null or name = $1)
              and ($2::boolean is null or is_active = $2)
              and ($3::text is null or lower(' ' || name || E'\\n ' || coalesce(email, '') || E'\\n '
                || coalesce(company, '')) like lower($3))
              and ($4::timestamptz is null or created_at >= $4)
              and ($5::timestamptz is null or created_at < $5)
              and ($6::timestamptz is null or updated_at >= $6)
              and ($7::timestamptz is null or updated_at < $7)
              and ($8::uuid is null or (" + $column + ", id) " + $beyond + " (" + $key + ", $8))
            order by " + $column + $direction + ", id" + $direction + "
            limit $10",
            $filter.name,
            $filter.is_active,
            $filter.pattern,
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
    filter: ClientFilter<'_>,
    order: ClientOrder,
    limit: i64,
) -> Result<Vec<Client>> {
    use ClientOrder::{Created, Name, Updated};
    let rows = match order {
        Created(run) => statement!(conn, filter, limit, run, "created_at", "$9::timestamptz"),
        Updated(run) => statement!(conn, filter, limit, run, "updated_at", "$9::timestamptz"),
        Name(run) => statement!(
            conn,
            filter,
            limit,
            run,
            r#"lower(name) collate "C""#,
            r#"lower($9::text) collate "C""#
        ),
    };
    Ok(rows.into_iter().map(Client::from).collect())
}
