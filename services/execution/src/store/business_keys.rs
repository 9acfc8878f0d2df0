//! Business keys of workflows. Invariant: what is read under a key's lock stays so until the transaction that
//! holds it is over, because whoever starts an execution that must be the only one takes the lock first.

use sqlx::PgConnection;
use uuid::Uuid;

/// Who has a key.
#[derive(Debug, Clone)]
pub struct Holder {
    pub workflow_id: Uuid,
    pub business_key: String,
    /// The latest execution with the key that is not over.
    pub open: Option<Uuid>,
    /// The latest execution with the key.
    pub latest: Option<Uuid>,
}

/// Locks keys until the transaction ends, always in the same order.
pub async fn lock(
    conn: &mut PgConnection,
    workflow_ids: &[Uuid],
    business_keys: &[String],
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"-- execution.lock_business_keys
        select pg_advisory_xact_lock(lock) as "locked: ()"
          from (select distinct hashtextextended(workflow_id || ' ' || business_key, 0) as lock
                  from unnest($1::uuid[], $2::text[]) as asked (workflow_id, business_key)
                 order by lock) locks"#,
        workflow_ids,
        business_keys,
    )
    .fetch_all(conn)
    .await
    .map(drop)
}

/// Who has these keys; simulations have none.
pub async fn holders(
    conn: &mut PgConnection,
    workflow_ids: &[Uuid],
    business_keys: &[String],
) -> sqlx::Result<Vec<Holder>> {
    sqlx::query_as!(
        Holder,
        r#"-- execution.business_key_holders
        select asked.workflow_id as "workflow_id!", asked.business_key as "business_key!",
               (select id from execution.workflow_executions e
                 where e.workflow_id = asked.workflow_id and e.business_key = asked.business_key
                   and e.status in ('PENDING', 'RUNNING') and not e.simulation
                 order by e.started_at desc, e.id desc
                 limit 1) as "open",
               (select id from execution.workflow_executions e
                 where e.workflow_id = asked.workflow_id and e.business_key = asked.business_key
                   and not e.simulation
                 order by e.started_at desc, e.id desc
                 limit 1) as "latest"
          from unnest($1::uuid[], $2::text[]) as asked (workflow_id, business_key)"#,
        workflow_ids,
        business_keys,
    )
    .fetch_all(conn)
    .await
}
