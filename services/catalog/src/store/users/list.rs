//! ListUsers. Invariant: a page is a range of one index order, so no user is listed twice or left out,
//! unless their name changes meanwhile. The password's hash is neither read nor compared.

use chassis::Result;
use chassis::order::Run;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::super::Word;
use super::User;

/// What a list is restricted to; nothing restricts nothing.
#[derive(Debug, Default)]
pub struct UserFilter<'a> {
    /// In lower case.
    pub email: Option<&'a str>,
    pub role: Option<&'a str>,
    pub group: Option<&'a str>,
    pub is_active: Option<bool>,
    /// What name or email are LIKE.
    pub pattern: Option<&'a str>,
    pub created_from: Option<DateTime<Utc>>,
    pub created_before: Option<DateTime<Utc>>,
}

/// What a list is ordered by.
#[derive(Debug)]
pub enum UserOrder {
    Created(Run<DateTime<Utc>>),
    /// By name whatever its case.
    Name(Run<String>),
    Email(Run<String>),
}

/// One statement an order; they differ in where they go on and in which direction. Roles are spelled out
/// because an index on one of them is used only if the planner sees a constant.
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
            User,
            r#"-- catalog.list_users
            select id, email, name, role::text as "role!: Word", groups, is_active, created_at, updated_at,
                   revision
            from catalog.users
            where ($1::text is null or email = $1)
              and ($2::text is null or $2 = 'ADMIN' and role = 'ADMIN' or $2 = 'USER' and role = 'USER')
              and ($3::text is null or groups @> array[$3::text])
              and ($4::boolean is null or is_active = $4)
              and ($5::text is null or lower(' ' || name || E'\n ' || email) like lower($5))
              and ($6::timestamptz is null or created_at >= $6)
              and ($7::timestamptz is null or created_at < $7)
              and ($8::uuid is null or ("# + $column + r#", id) "# + $beyond + r#" ("# + $key + r#", $8))
            order by "# + $column + $direction + r#", id"# + $direction + r#"
            limit $10"#,
            $filter.email,
            $filter.role,
            $filter.group,
            $filter.is_active,
            $filter.pattern,
            $filter.created_from,
            $filter.created_before,
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
    filter: UserFilter<'_>,
    order: UserOrder,
    limit: i64,
) -> Result<Vec<User>> {
    use UserOrder::{Created, Email, Name};
    Ok(match order {
        Created(run) => statement!(conn, filter, limit, run, "created_at", "$9::timestamptz"),
        Name(run) => statement!(
            conn,
            filter,
            limit,
            run,
            r#"lower(name) collate "C""#,
            r#"lower($9::text) collate "C""#
        ),
        Email(run) => statement!(conn, filter, limit, run, "email", "$9::text"),
    })
}
