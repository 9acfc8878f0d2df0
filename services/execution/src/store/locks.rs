//! Who holds which lock. Invariant: whoever changes who waits for a lock, or frees it, holds its row first, so that
//! a lock that is free and a branch that waits for it are never both left behind.

use sqlx::PgConnection;
use uuid::Uuid;

/// Locks that branches have begun to wait for or that are free again, and whose they were.
#[derive(Debug, Default)]
pub struct Locks {
    /// All that are concerned.
    pub client_id: Vec<Uuid>,
    pub lock_key: Vec<String>,
    pub freed: Freed,
}

/// Locks that an activation no longer needs, column by column.
#[derive(Debug, Default)]
pub struct Freed {
    pub client_id: Vec<Uuid>,
    pub lock_key: Vec<String>,
    pub execution_id: Vec<Uuid>,
    pub step_id: Vec<Uuid>,
    pub activation: Vec<i32>,
}

/// A branch that has a lock from now on.
#[derive(Debug)]
pub struct Granted {
    pub wait_id: Uuid,
    pub execution_id: Uuid,
}

/// Frees what is no longer needed, and gives each lock that is free then to the branch that has waited longest.
pub async fn pass_on(conn: &mut PgConnection, locks: &Locks) -> sqlx::Result<Vec<Granted>> {
    if locks.client_id.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_scalar!(
        r#"-- execution.hold_locks
        select 1 as "one!" from execution.locks
        where (client_id, lock_key) in (select * from unnest($1::uuid[], $2::text[]))
        order by client_id, lock_key
        for update"#,
        &locks.client_id,
        &locks.lock_key,
    )
    .fetch_all(&mut *conn)
    .await?;
    let freed = &locks.freed;
    if !freed.client_id.is_empty() {
        sqlx::query!(
            "-- execution.free_locks
            delete from execution.locks held
            using unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::int[])
                as freed (client_id, lock_key, execution_id, step_id, activation)
            where held.client_id = freed.client_id and held.lock_key = freed.lock_key
              and held.execution_id = freed.execution_id and held.step_id = freed.step_id
              and held.activation = freed.activation",
            &freed.client_id,
            &freed.lock_key,
            &freed.execution_id,
            &freed.step_id,
            &freed.activation,
        )
        .execute(&mut *conn)
        .await?;
    }
    // Whoever meets a lock that is held takes its row, too: its holder frees it only after this is committed, and
    // sees who waits.
    sqlx::query_as!(
        Granted,
        r#"-- execution.give_locks
        with next as (
            select first.*
              from (select distinct * from unnest($1::uuid[], $2::text[])) asked (client_id, lock_key)
             cross join lateral (
                select w.client_id, w.lock_key, w.id, w.execution_id, w.step_id, l.activation
                  from execution.waits w
                  join execution.execution_logs l on l.id = w.id
                 where w.kind = 'lock' and w.client_id = asked.client_id and w.lock_key = asked.lock_key
                 order by w.created_at, w.id
                 limit 1) first
        ), given as (
            insert into execution.locks as held (client_id, lock_key, execution_id, step_id, activation)
            select client_id, lock_key, execution_id, step_id, activation
              from next order by client_id, lock_key
            on conflict (client_id, lock_key) do update set lock_key = held.lock_key
            returning client_id, lock_key, execution_id, step_id, activation
        )
        select next.id as "wait_id!", next.execution_id as "execution_id!"
          from next join given using (client_id, lock_key, execution_id, step_id, activation)"#,
        &locks.client_id,
        &locks.lock_key,
    )
    .fetch_all(conn)
    .await
}
