//! The audit_events table: who changed what. Invariant: a row commits together with the change it tells
//! of, and is never changed itself.

use chassis::Result;
use chassis::auth::Caller;
use chassis::order::Run;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// Lines an event keeps, and characters a line has: a document of a thousand steps is told of in short.
const MOST_LINES: usize = 200;
const MOST_CHARS: usize = 300;
/// Rows forgotten by one statement, so that none holds the table for long.
const PURGED_AT_ONCE: i64 = 10_000;

/// What was changed. A step or transition is told of as part of its workflow.
#[derive(Debug, Clone, Copy)]
pub enum Object {
    User(Uuid),
    ApiKey(Uuid),
    Client(Uuid),
    Workflow(Uuid),
}

/// A change as it is kept.
#[derive(Debug)]
pub struct Event {
    pub id: Uuid,
    pub occurred_at: DateTime<Utc>,
    pub actor_type: String,
    pub actor_id: Option<Uuid>,
    pub actor_name: String,
    pub action: String,
    pub object_type: String,
    pub object_id: Uuid,
    pub changes: Vec<String>,
}

/// What a list is restricted to.
#[derive(Debug, Default)]
pub struct EventFilter<'a> {
    pub actor_id: Option<Uuid>,
    pub object_id: Option<Uuid>,
    pub object_type: Option<&'a str>,
    pub action: Option<&'a str>,
    /// Inclusive.
    pub from: Option<DateTime<Utc>>,
    /// Exclusive.
    pub until: Option<DateTime<Utc>>,
}

impl Object {
    fn parts(self) -> (&'static str, Uuid) {
        match self {
            Self::User(id) => ("USER", id),
            Self::ApiKey(id) => ("API_KEY", id),
            Self::Client(id) => ("CLIENT", id),
            Self::Workflow(id) => ("WORKFLOW", id),
        }
    }
}

/// Notes that `caller` changed an object by the call `action`. `changes` says what, a line each, and never
/// holds a password, token or key.
pub async fn record(
    conn: &mut PgConnection,
    caller: &Caller,
    action: &'static str,
    object: Object,
    changes: &[String],
) -> Result<()> {
    let (actor_type, actor_id, actor_name) = match caller {
        Caller::User(user) => ("USER", Some(user.id), user.email.as_str()),
        Caller::ApiKey(key) => ("API_KEY", Some(key.id), key.name.as_str()),
        Caller::Internal(name) => ("SERVICE", None, name.as_str()),
    };
    let (object_type, object_id) = object.parts();
    sqlx::query!(
        "-- catalog.insert_audit_event
        insert into catalog.audit_events
            (id, actor_type, actor_id, actor_name, action, object_type, object_id, changes)
        values ($1, $2, $3, $4, $5, $6, $7, $8)",
        Uuid::now_v7(),
        actor_type,
        actor_id,
        actor_name,
        action,
        object_type,
        object_id,
        &shortened(changes)
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn shortened(changes: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = (changes.iter().take(MOST_LINES))
        .map(|line| match line.char_indices().nth(MOST_CHARS) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line.clone(),
        })
        .collect();
    if changes.len() > MOST_LINES {
        lines.push(format!("and {} more", changes.len() - MOST_LINES));
    }
    lines
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
        let (occurred_at, id) = $after.unzip();
        sqlx::query_as!(
            Event,
            "-- catalog.list_audit_events
            select id, occurred_at, actor_type, actor_id, actor_name, action, object_type, object_id, changes
            from catalog.audit_events
            where ($1::uuid is null or actor_id = $1)
              and ($2::uuid is null or object_id = $2)
              and ($3::text is null or object_type = $3)
              and ($4::text is null or action = $4)
              and ($5::timestamptz is null or occurred_at >= $5)
              and ($6::timestamptz is null or occurred_at < $6)
              and ($7::timestamptz is null or (" + $column + ", id) " + $beyond + " (" + $key + ", $8::uuid))
            order by " + $column + $direction + ", id" + $direction + "
            limit $9",
            $filter.actor_id,
            $filter.object_id,
            $filter.object_type,
            $filter.action,
            $filter.from,
            $filter.until,
            occurred_at,
            id,
            $limit
        )
        .fetch_all($conn)
        .await?
    }};
}

/// By time.
pub async fn list(
    conn: &mut PgConnection,
    filter: EventFilter<'_>,
    run: Run<DateTime<Utc>>,
    limit: i64,
) -> Result<Vec<Event>> {
    Ok(statement!(conn, filter, limit, run, "occurred_at", "$7"))
}

/// Forgets some of what happened before `horizon`; the next round forgets more.
pub async fn purge(conn: &mut PgConnection, horizon: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "-- catalog.purge_audit_events
        delete from catalog.audit_events where id in (
            select id from catalog.audit_events where occurred_at < $1
            order by occurred_at, id limit $2)",
        horizon,
        PURGED_AT_ONCE
    )
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_stories_are_shortened_at_characters() {
        let lines = shortened(&["ä".repeat(301), "b".to_owned()]);
        assert_eq!(lines, [format!("{}…", "ä".repeat(300)), "b".to_owned()]);
        let many: Vec<String> = (0..=MOST_LINES).map(|line| line.to_string()).collect();
        assert_eq!(shortened(&many)[MOST_LINES], "and 1 more");
        assert_eq!(shortened(&many[1..]).len(), MOST_LINES);
    }
}
