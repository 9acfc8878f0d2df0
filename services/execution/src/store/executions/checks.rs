//! What must not be. Invariant: nothing here finds anything unless something is broken.

use sqlx::PgConnection;
use uuid::Uuid;

/// How many executions are not over.
pub async fn count_open(conn: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"-- execution.count_open_executions
        select count(*) as "count!"
          from execution.workflow_executions
         where status in ('PENDING', 'RUNNING')"#
    )
    .fetch_one(conn)
    .await
}

/// Open executions that wait for nothing: there are none unless something is broken.
pub async fn without_reason(conn: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"-- execution.list_executions_without_reason
        select e.id
          from execution.workflow_executions e
         where e.status in ('PENDING', 'RUNNING')
           and not exists (select from execution.waits w where w.execution_id = e.id)
         limit $1"#,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Executions that are over and still wait or remember: there are none unless something is broken.
pub async fn waiting_though_over(conn: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"-- execution.list_waiting_executions_that_are_over
        select e.id
          from execution.workflow_executions e
         where e.status in ('COMPLETED', 'FAILED', 'CANCELLED')
           and e.id in (select execution_id from execution.waits
                        union all
                        select execution_id from execution.execution_states)
         limit $1"#,
        limit
    )
    .fetch_all(conn)
    .await
}
