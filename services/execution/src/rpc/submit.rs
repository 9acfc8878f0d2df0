//! What the calls that change an execution do in the end. Invariant: what is shown is what was committed, or later.

use chassis::{Error, Result, db};
use proto::execution::v1 as pb;
use uuid::Uuid;

use super::view;
use crate::committer::Command;
use crate::state::Service;
use crate::store::executions::{self, Execution};

/// Does it and shows what the execution is then.
pub(super) async fn submit(service: &Service, command: Command) -> Result<pb::Execution> {
    let done = service.committer.submit(command).await?;
    match done.born {
        Some(row) => show(service, *row).await,
        None => read(service, done.execution_id).await,
    }
}

/// An execution as it is now.
pub(super) async fn read(service: &Service, id: Uuid) -> Result<pb::Execution> {
    let mut conn = db::acquire(&service.pool).await?;
    let found = executions::get(&mut conn, id).await?;
    drop(conn);
    let row = found.ok_or_else(|| Error::not_found("execution", id))?;
    show(service, row).await
}

/// An execution with what it waits for.
pub(super) async fn show(service: &Service, mut row: Execution) -> Result<pb::Execution> {
    let waits = row.waits.take().map(|waits| waits.0).unwrap_or_default();
    if waits.is_empty() {
        return Ok(view::execution(row, Vec::new()));
    }
    let graph = service
        .definitions
        .graph(row.workflow_id, row.workflow_version)
        .await?;
    let waits = waits.iter().map(|wait| view::wait(wait, &graph)).collect();
    Ok(view::execution(row, waits))
}
