//! Reads what a restart takes over. Invariant: only executions that are over are read, which nothing changes any
//! more; what is taken over is a copy, so that the old one may be purged.

use model::status::StepStatus;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use sqlx::types::Json;
use tokio_stream::Stream;
use uuid::Uuid;

use crate::engine::Past;

/// All attempts of an execution that is over, without their outputs.
pub async fn attempts(conn: &mut PgConnection, execution_id: Uuid) -> sqlx::Result<Vec<Past>> {
    let rows = sqlx::query!(
        r#"-- execution.list_past_attempts
        select seq, step_id as "step_id!", activation, attempt, status::text as "status!",
               event_seq as "event_seq!", from_seq, item_index, message
          from execution.execution_logs
         where execution_id = $1 and step_id is not null and event_seq is not null
         order by seq"#,
        execution_id
    )
    .fetch_all(conn)
    .await?;
    let past = rows.into_iter().map(|row| Past {
        seq: row.seq,
        step_id: row.step_id,
        activation: row.activation,
        attempt: row.attempt,
        status: StepStatus::parse(&row.status).expect("the enum type has the same words"),
        event_seq: row.event_seq,
        from: row.from_seq,
        item_index: row.item_index,
        message: row.message,
    });
    Ok(past.collect())
}

/// An attempt's output.
#[derive(Debug)]
pub struct Output {
    pub seq: i32,
    pub data: Json<Map<String, Value>>,
}

/// The outputs of these attempts, in their order. A stream, because its reader stops when they are too many.
pub fn outputs<'c>(
    conn: &'c mut PgConnection,
    execution_id: Uuid,
    seqs: &[i32],
) -> impl Stream<Item = sqlx::Result<Output>> + Send + 'c {
    sqlx::query_as!(
        Output,
        r#"-- execution.list_past_outputs
        select seq, data as "data!: Json<Map<String, Value>>"
          from execution.execution_logs
         where execution_id = $1 and seq = any($2) and data is not null
         order by seq"#,
        execution_id,
        seqs
    )
    .fetch(conn)
}
