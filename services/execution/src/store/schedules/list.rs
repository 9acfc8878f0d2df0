//! Lists schedules. Invariant: they come in the order of their making, so a page never repeats or skips what an
//! earlier page showed.

use chassis::order::Run;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use sqlx::types::Json;
use tokio_stream::Stream;
use uuid::Uuid;

use super::Schedule;

/// What a list is restricted to; `None` restricts nothing.
#[derive(Debug, Default)]
pub struct Filter {
    pub workflow_id: Option<Uuid>,
    pub is_paused: Option<bool>,
}

/// One statement a direction.
macro_rules! statement {
    ($conn:ident, $filter:ident, $limit:ident, $after:ident, $beyond:literal, $direction:literal) => {{
        let (after_instant, after_id) = $after.unzip();
        sqlx::query_as!(
            Schedule,
            r#"-- execution.list_schedules
            select s.id, s.workflow_id, name, cron, time_zone,
                   s.metadata as "metadata: Json<Map<String, Value>>", overlap_policy, catch_up_ms, is_paused,
                   start_at, end_at, next_at, buffered_at, skipped_count, missed_count, last_error,
                   last_error_at, created_by, s.created_at, s.updated_at, s.revision,
                   last.id as "last_execution_id?", last.started_at as "last_started_at?"
              from execution.schedules s
              left join lateral (
                   select e.id, e.started_at from execution.workflow_executions e where e.schedule_id = s.id
                    order by e.started_at desc, e.id desc limit 1) last on true
             where ($1::uuid is null or s.workflow_id = $1)
               and ($2::bool is null or is_paused = $2)
               and ($3::timestamptz is null or (s.created_at, s.id) "# + $beyond + r#" ($3, $4::uuid))
             order by s.created_at"# + $direction + r#", s.id"# + $direction + r#"
             limit $5"#,
            $filter.workflow_id,
            $filter.is_paused,
            after_instant,
            after_id,
            $limit
        )
        .fetch($conn)
    }};
}

/// At most `limit` schedules. A stream, because a page of large metadata is cut short by its reader before it fills
/// the memory.
pub fn list<'c>(
    conn: &'c mut PgConnection,
    filter: &Filter,
    run: Run<DateTime<Utc>>,
    limit: i64,
) -> impl Stream<Item = sqlx::Result<Schedule>> + Send + 'c {
    match run {
        Run::Up(after) => statement!(conn, filter, limit, after, ">", ""),
        Run::Down(after) => statement!(conn, filter, limit, after, "<", " desc"),
    }
}
