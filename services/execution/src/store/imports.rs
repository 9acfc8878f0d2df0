//! What was imported. Invariant: a row stands and goes with its execution.

use sqlx::PgConnection;
use uuid::Uuid;

/// An execution that was imported earlier.
#[derive(Debug, Clone)]
pub struct Known {
    pub execution_id: Uuid,
    pub workflow_version: i32,
    pub content_hash: Vec<u8>,
}

/// Those of `executions` that are there.
pub async fn known(conn: &mut PgConnection, executions: &[Uuid]) -> sqlx::Result<Vec<Known>> {
    sqlx::query_as!(
        Known,
        r#"-- execution.get_imports
        select i.execution_id, e.workflow_version, i.content_hash
          from execution.imports i
          join execution.workflow_executions e on e.id = i.execution_id
         where i.execution_id = any($1)"#,
        executions
    )
    .fetch_all(conn)
    .await
}

pub async fn insert(
    conn: &mut PgConnection,
    executions: &[Uuid],
    hashes: &[Vec<u8>],
) -> sqlx::Result<()> {
    sqlx::query!(
        "-- execution.insert_imports
        insert into execution.imports (execution_id, content_hash)
        select * from unnest($1::uuid[], $2::bytea[])",
        executions,
        hashes
    )
    .execute(conn)
    .await
    .map(drop)
}
