//! Reads what executions know. Invariant: the input comes first, then outputs in the order of their
//! events, as the engine overlays them.

use serde_json::{Map, Value};
use sqlx::PgConnection;
use sqlx::types::Json;
use tokio_stream::Stream;
use uuid::Uuid;

/// A piece of what an execution knows: its input first, then outputs in the order of their events.
#[derive(Debug)]
pub struct Piece {
    pub execution_id: Uuid,
    pub workflow_version: i32,
    pub data: Option<Json<Map<String, Value>>>,
}

/// The contexts of `executions`, one after another in the given order. A stream, because its reader
/// stops when an answer is full.
pub fn pieces<'c>(
    conn: &'c mut PgConnection,
    executions: &[Uuid],
) -> impl Stream<Item = sqlx::Result<Piece>> + Send + 'c {
    sqlx::query_as!(
        Piece,
        r#"-- execution.list_contexts
        select e.id as "execution_id!", e.workflow_version as "workflow_version!",
               piece.data as "data: Json<Map<String, Value>>"
          from unnest($1::uuid[]) with ordinality asked (id, place)
          join execution.workflow_executions e on e.id = asked.id
         cross join lateral (
            select 0 as event_seq, e.metadata -> 'inputData' as data
            union all
            select l.event_seq, l.data
              from execution.execution_logs l
             where l.execution_id = e.id and l.status in ('COMPLETED', 'SKIPPED') and l.data is not null
               -- Results of items show in their foreach; what an operator corrected shows here.
               and (l.item_index is null or l.status = 'SKIPPED')) piece
         order by asked.place, piece.event_seq"#,
        executions
    )
    .fetch(conn)
}
