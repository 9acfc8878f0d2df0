//! Walks over executions by start. Invariant: nothing that stays is left out or told twice, however many pages a walk has,
//! and simulations are never among it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Range;

/// Executions that started in a range of time.
#[derive(Debug, Clone, Default)]
pub struct Span {
    /// All workflows if there is none.
    pub workflow_id: Option<Uuid>,
    pub started: Range,
    /// One of these; any if there is none.
    pub statuses: Option<Vec<String>>,
    /// The last one of the walk so far.
    pub after: Option<(DateTime<Utc>, Uuid)>,
}

/// Where an execution stands in a walk, and how long its story is.
#[derive(Debug, Clone, Copy)]
pub struct Stop {
    pub id: Uuid,
    pub started_at: DateTime<Utc>,
    pub event_count: i32,
}

/// The next of a walk, at most `limit`.
pub async fn next(conn: &mut PgConnection, span: &Span, limit: i64) -> sqlx::Result<Vec<Stop>> {
    let (after_start, after_id) = span.after.unzip();
    sqlx::query_as!(
        Stop,
        r#"-- execution.walk_executions
        select id, started_at, event_count
          from execution.workflow_executions
         where ($1::uuid is null or workflow_id = $1)
           and ($2::timestamptz is null or started_at >= $2)
           and ($3::timestamptz is null or started_at < $3)
           and ($4::text[] is null or status::text = any($4))
           and ($5::timestamptz is null or (started_at, id) > ($5, $6::uuid))
           and not simulation
         order by started_at, id
         limit $7"#,
        span.workflow_id,
        span.started.from,
        span.started.before,
        span.statuses.as_deref(),
        after_start,
        after_id,
        limit
    )
    .fetch_all(conn)
    .await
}

/// As many from the front as have at most `most` events together, and one at least.
pub fn front(stops: &[Stop], most: usize) -> &[Stop] {
    let mut events = 0;
    let many = stops.iter().take_while(|stop| {
        events += usize::try_from(stop.event_count).unwrap_or_default();
        events <= most
    });
    let count = many.count().max(1).min(stops.len());
    &stops[..count]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_is_short_but_never_empty() {
        let stops = |counts: &[i32]| -> Vec<Stop> {
            let stop = |event_count: &i32| Stop {
                id: Uuid::nil(),
                started_at: DateTime::UNIX_EPOCH,
                event_count: *event_count,
            };
            counts.iter().map(stop).collect()
        };
        let check = |counts: &[i32], want: usize| {
            assert_eq!(front(&stops(counts), 10).len(), want, "{counts:?}");
        };
        check(&[], 0);
        check(&[3, 3, 4, 1], 3);
        check(&[30, 1], 1);
        check(&[9, 2], 1);
        check(&[1, 1], 2);
    }
}
