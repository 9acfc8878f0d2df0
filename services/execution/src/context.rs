//! What an execution knows, as jobs and tasks show it: its input overlaid with the outputs of completed
//! steps. Invariant: equal to the root `data` that conditions see.

use std::collections::HashMap;
use std::pin::pin;

use chassis::{Error, Result};
use model::wire;
use prost::Message;
use prost_types::Struct;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use tokio_stream::StreamExt;
use uuid::Uuid;

use crate::store::contexts;

/// One execution's.
#[derive(Debug, Clone)]
pub struct Context {
    /// The version it runs.
    pub version: i32,
    pub data: Struct,
}

/// An execution being read.
struct Open {
    id: Uuid,
    version: i32,
    data: Map<String, Value>,
}

impl Open {
    fn close(self) -> (Uuid, Context) {
        let data = wire::struct_from_json(&self.data);
        let version = self.version;
        (self.id, Context { version, data })
    }
}

/// The contexts of `executions`, from the first on, until together they have `bytes`.
pub async fn read(
    conn: &mut PgConnection,
    executions: &[Uuid],
    bytes: usize,
) -> Result<HashMap<Uuid, Context>> {
    let mut all = HashMap::new();
    let mut used = 0;
    let mut open: Option<Open> = None;
    let mut pieces = pin!(contexts::pieces(conn, executions));
    while let Some(piece) = pieces.try_next().await? {
        let is_next = open
            .as_ref()
            .is_none_or(|open| open.id != piece.execution_id);
        if is_next {
            let next = Open {
                id: piece.execution_id,
                version: piece.workflow_version,
                data: Map::new(),
            };
            if let Some((id, context)) = open.replace(next).map(Open::close) {
                used += context.data.encoded_len();
                all.insert(id, context);
                if used >= bytes {
                    return Ok(all);
                }
            }
        }
        if let (Some(open), Some(data)) = (&mut open, piece.data) {
            open.data.extend(data.0);
        }
    }
    all.extend(open.map(Open::close));
    Ok(all)
}

/// The context of one execution.
pub async fn of(conn: &mut PgConnection, execution_id: Uuid) -> Result<Context> {
    let mut all = read(conn, &[execution_id], usize::MAX).await?;
    all.remove(&execution_id)
        .ok_or_else(|| Error::not_found("execution", execution_id))
}
