//! Purges executions that have been over for long. Invariant: nothing goes that is open, or that reporting may
//! still ask for; an execution goes with all that is its own, or stays.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// From when on executions are kept. `None`: all of them, from the beginning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Horizons {
    pub executions: Option<DateTime<Utc>>,
    /// What the policy alone says: later, if what reporting has not got yet holds it back.
    pub policy: Option<DateTime<Utc>>,
    pub simulations: Option<DateTime<Utc>>,
}

/// What must have been over before which instant, on the database's clock. Reporting reads the history of an
/// execution until it has got all its events: those wait in the outbox, and are an hour older at most than
/// the row that tells them; of imported ones, which ended long ago, that is so of their import.
pub async fn horizons(
    conn: &mut PgConnection,
    days: Option<i32>,
    simulation_days: Option<i32>,
) -> sqlx::Result<Horizons> {
    sqlx::query_as!(
        Horizons,
        r#"-- execution.get_retention_horizons
        select case when $1::int4 is not null then least(
                   now() - make_interval(days => $1),
                   (select min(created_at) from execution.outbox) - interval '1 hour') end as executions,
               now() - make_interval(days => $1) as policy,
               now() - make_interval(days => $2::int4) as simulations"#,
        days,
        simulation_days
    )
    .fetch_one(conn)
    .await
}

/// Where a purge stands in its walk.
pub type Cursor = (DateTime<Utc>, Uuid);

/// What one batch came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Purged {
    pub executions: i64,
    /// The last one that went; nothing if none did: the walk has come to its end.
    pub cursor: Option<Cursor>,
}

/// One statement for executions and one for simulations: each is read through an index of its own.
macro_rules! purge {
    ($conn:ident, $before:ident, $after:ident, $limits:ident, $which:literal) => {{
        let (after_start, after_id) = $after.unzip();
        let (executions, logs) = $limits;
        sqlx::query!(
            r#"-- execution.purge_executions
            with due as materialized (
                select id, started_at
                  from execution.workflow_executions
                 where "#
                + $which
                + r#"
                   and status in ('COMPLETED', 'FAILED', 'CANCELLED')
                   and started_at < $1 and completed_at < $1
                   and not exists (select from execution.imports i
                                    where i.execution_id = workflow_executions.id and i.imported_at >= $1)
                   and ($2::timestamptz is null or (started_at, id) > ($2, $3::uuid))
                 order by started_at, id
                 limit $4
                 for update skip locked
            ), sized as (
                select id, started_at,
                       (sum(logs) over (order by started_at, id) - logs)::int8 as before
                  from due
                  cross join lateral (select count(*) as logs from execution.execution_logs l
                                       where l.execution_id = due.id) of_it
            ), gone as (
                delete from execution.workflow_executions e
                 using sized
                 where e.id = sized.id and sized.before < $5
                returning e.id, e.started_at
            )
            select id, started_at, count(*) over () as "executions!"
              from gone
             order by started_at desc, id desc
             limit 1"#,
            $before,
            after_start,
            after_id,
            executions,
            logs
        )
        .fetch_optional($conn)
        .await?
        .map(|row| (row.executions, (row.started_at, row.id)))
    }};
}

/// Purges a batch of what was over before an instant, the oldest start first. At most so many executions, and
/// no more of them once they have so many logs together. Needs a transaction.
pub async fn purge(
    conn: &mut PgConnection,
    before: DateTime<Utc>,
    simulations: bool,
    after: Option<Cursor>,
    limits: (i64, i64),
) -> sqlx::Result<Purged> {
    // Planned for the values at hand: the walk begins where the last batch ended, not at the beginning.
    sqlx::query!("set local plan_cache_mode = force_custom_plan")
        .execute(&mut *conn)
        .await?;
    let gone = if simulations {
        purge!(conn, before, after, limits, "simulation")
    } else {
        purge!(conn, before, after, limits, "not simulation")
    };
    let (executions, cursor) = gone.unzip();
    Ok(Purged {
        executions: executions.unwrap_or_default(),
        cursor,
    })
}
