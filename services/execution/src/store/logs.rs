//! Reads logs. Invariant: within an execution logs come in `seq` order, finished ones for events in
//! `event_seq` order; both are gapless.

use chassis::order::Order;
use chrono::{DateTime, Utc};
use model::status::StepStatus;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use sqlx::types::Json;
use tokio_stream::Stream;
use uuid::Uuid;

use crate::engine;

/// A row of `execution_logs`.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    pub id: Uuid,
    pub execution_id: Uuid,
    pub step_id: Option<Uuid>,
    /// A word of `execution.step_status`.
    pub status: String,
    pub message: Option<String>,
    pub data: Option<Json<Map<String, Value>>>,
    pub error: Option<String>,
    pub started_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
    pub seq: i32,
    pub activation: i32,
    pub attempt: i32,
    pub queued_at: DateTime<Utc>,
    pub available_at: DateTime<Utc>,
    pub assigned_at: Option<DateTime<Utc>>,
    pub route: Option<Json<Map<String, Value>>>,
    pub error_code: Option<String>,
    /// Null while the attempt is open.
    pub event_seq: Option<i32>,
    pub item_index: Option<i32>,
    pub from_seq: Option<i32>,
}

/// What a list is restricted to; `None` restricts nothing.
#[derive(Debug, Default)]
pub struct Filter {
    pub step_id: Option<Uuid>,
    /// Words of `execution.step_status`: one of these.
    pub statuses: Option<Vec<String>>,
}

/// Which way a list runs, and behind which seq it begins.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub order: Order,
    pub after: Option<i32>,
}

/// One statement a direction.
macro_rules! statement {
    ($conn:ident, $id:ident, $filter:ident, $after:expr, $limit:ident, $beyond:literal, $order:literal) => {
        sqlx::query_as!(
            Log,
            r#"-- execution.list_logs
            select id, execution_id, step_id, status::text as "status!", message,
                   data as "data: Json<Map<String, Value>>", error, started_at, completed_at, seq,
                   activation, attempt, queued_at, available_at, assigned_at,
                   route as "route: Json<Map<String, Value>>", error_code, event_seq, item_index, from_seq
              from execution.execution_logs
             where execution_id = $1
               and ($2::uuid is null or step_id = $2)
               and ($3::text[] is null or status::text = any($3))
               and ($4::int4 is null or "# + $beyond + r#")
             order by "# + $order + r#"
             limit $5"#,
            $id,
            $filter.step_id,
            $filter.statuses.as_deref(),
            $after,
            $limit
        )
        .fetch($conn)
    };
}

/// At most `limit` logs of an execution. A stream, because a page of large outputs is cut short by its
/// reader before it fills the memory.
pub fn list<'c>(
    conn: &'c mut PgConnection,
    execution_id: Uuid,
    filter: &Filter,
    place: Place,
    limit: i64,
) -> impl Stream<Item = sqlx::Result<Log>> + Send + 'c {
    if place.order.descending {
        statement!(
            conn,
            execution_id,
            filter,
            place.after,
            limit,
            "seq < $4",
            "seq desc"
        )
    } else {
        statement!(
            conn,
            execution_id,
            filter,
            place.after,
            limit,
            "seq > $4",
            "seq"
        )
    }
}

/// Logs that ended after the event `after_event`, in the order in which they did.
pub async fn ended_after(
    conn: &mut PgConnection,
    execution_id: Uuid,
    after_event: i32,
    limit: i64,
) -> sqlx::Result<Vec<Log>> {
    sqlx::query_as!(
        Log,
        r#"-- execution.list_logs_ended_after
        select id, execution_id, step_id, status::text as "status!", message,
               data as "data: Json<Map<String, Value>>", error, started_at, completed_at, seq,
               activation, attempt, queued_at, available_at, assigned_at,
               route as "route: Json<Map<String, Value>>", error_code, event_seq, item_index, from_seq
          from execution.execution_logs
         where execution_id = $1 and event_seq > $2
         order by event_seq
         limit $3"#,
        execution_id,
        after_event,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Logs that have had no event: open ones, and all of a simulation.
pub async fn without_event(conn: &mut PgConnection, execution_id: Uuid) -> sqlx::Result<Vec<Log>> {
    sqlx::query_as!(
        Log,
        r#"-- execution.list_logs_without_event
        select id, execution_id, step_id, status::text as "status!", message,
               data as "data: Json<Map<String, Value>>", error, started_at, completed_at, seq,
               activation, attempt, queued_at, available_at, assigned_at,
               route as "route: Json<Map<String, Value>>", error_code, event_seq, item_index, from_seq
          from execution.execution_logs
         where execution_id = $1 and event_seq is null
         order by seq"#,
        execution_id
    )
    .fetch_all(conn)
    .await
}

/// One log as its event tells it; inputs and outputs stay in the table.
pub struct Ended {
    pub execution_id: Uuid,
    pub event_seq: i32,
    pub log: engine::Log,
}

/// The logs behind the events of `executions`, by execution and event.
pub async fn ended(conn: &mut PgConnection, executions: &[Uuid]) -> sqlx::Result<Vec<Ended>> {
    let rows = sqlx::query!(
        r#"-- execution.list_ended_logs
        select id, execution_id, step_id as "step_id!", status::text as "status!", seq, activation,
               attempt, queued_at, available_at, assigned_at, started_at, completed_at, error_code,
               route, will_retry, incident, taken_over, event_seq as "event_seq!"
          from execution.execution_logs
         where execution_id = any($1) and event_seq is not null and step_id is not null
         order by execution_id, event_seq"#,
        executions
    )
    .fetch_all(conn)
    .await?;
    let ended = rows.into_iter().map(|row| Ended {
        execution_id: row.execution_id,
        event_seq: row.event_seq,
        log: engine::Log {
            id: row.id,
            seq: row.seq,
            step_id: row.step_id,
            status: StepStatus::parse(&row.status).expect("the enum type has the same words"),
            activation: row.activation,
            attempt: row.attempt,
            // No event tells it.
            item_index: None,
            times: engine::Times {
                // Not a column, and no event tells it.
                arrived_at: row.queued_at,
                queued_at: row.queued_at,
                available_at: row.available_at,
                assigned_at: row.assigned_at,
                started_at: row.started_at,
            },
            completed_at: row.completed_at,
            message: None,
            data: None,
            failure: row.error_code.map(|code| engine::Failure::new(&code, "")),
            route: row.route,
            will_retry: row.will_retry,
            incident: row.incident,
            taken_over: row.taken_over,
            event_seq: Some(row.event_seq),
            from: None,
        },
    });
    Ok(ended.collect())
}
