//! The login_failures table. Invariant: its rows are locked in the order of their keys, so that attempts
//! at once wait for each other in a line and never in a circle.

use chassis::Result;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// How often something failed since when.
#[derive(Debug, Clone, PartialEq)]
pub struct Failures {
    pub key: String,
    pub count: i32,
    pub since: DateTime<Utc>,
}

/// What was counted after `horizon`.
pub async fn list(
    conn: &mut PgConnection,
    keys: &[String],
    horizon: DateTime<Utc>,
) -> Result<Vec<Failures>> {
    Ok(sqlx::query_as!(
        Failures,
        "-- catalog.list_login_failures
        select key, count, since from catalog.login_failures
        where key = any($1) and since > $2",
        keys,
        horizon
    )
    .fetch_all(conn)
    .await?)
}

/// Counts one more for each key; what began at `horizon` or before begins anew.
pub async fn add(
    conn: &mut PgConnection,
    keys: &[String],
    now: DateTime<Utc>,
    horizon: DateTime<Utc>,
) -> Result<Vec<Failures>> {
    Ok(sqlx::query_as!(
        Failures,
        "-- catalog.add_login_failures
        insert into catalog.login_failures as f (key, count, since)
        select key, 1, $2 from unnest($1::varchar[]) as wanted (key) order by key
        on conflict (key) do update set
            count = case when f.since > $3 then f.count + 1 else 1 end,
            since = case when f.since > $3 then f.since else excluded.since end
        returning key, count, since",
        keys,
        now,
        horizon
    )
    .fetch_all(conn)
    .await?)
}

/// Takes one back of each, unless counting has begun anew.
pub async fn take_back(conn: &mut PgConnection, added: &[Failures]) -> Result<()> {
    let keys: Vec<String> = added.iter().map(|one| one.key.clone()).collect();
    let since: Vec<DateTime<Utc>> = added.iter().map(|one| one.since).collect();
    sqlx::query!(
        "-- catalog.take_back_login_failures
        with mine as (
            select f.key from catalog.login_failures f
            join unnest($1::varchar[], $2::timestamptz[]) as added (key, since)
                on f.key = added.key and f.since = added.since
            order by f.key for no key update of f
        )
        update catalog.login_failures f set count = f.count - 1
        from mine where f.key = mine.key and f.count > 0",
        &keys,
        &since
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "-- catalog.forget_no_login_failures
        delete from catalog.login_failures where key = any($1) and count = 0",
        &keys
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets what began before `horizon`.
pub async fn purge(conn: &mut PgConnection, horizon: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "-- catalog.purge_login_failures
        delete from catalog.login_failures where since < $1",
        horizon
    )
    .execute(conn)
    .await?;
    Ok(())
}
