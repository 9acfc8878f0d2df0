//! Present names across tables, for reports that people read. Invariant: nothing but names leaves here.

use chassis::Result;
use sqlx::PgConnection;
use uuid::Uuid;

/// Names of workflows, clients and steps, removed steps included; unknown ids are left out.
pub async fn resolve(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<(Uuid, String)>> {
    let rows = sqlx::query!(
        r#"-- catalog.resolve_names
        select id as "id!", name as "name!" from catalog.workflows where id = any($1)
        union all
        select id, name from catalog.clients where id = any($1)
        union all
        select id, name from catalog.workflow_steps where id = any($1)"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}
