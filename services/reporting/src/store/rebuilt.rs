//! Reports of executions made anew, beside those that are shown, and all that a day's sums are made of.
//! Invariant: a report is replaced only by one that stands for the same events.

use std::collections::HashSet;

use chassis::Result;
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;
use tokio_stream::StreamExt;
use uuid::Uuid;

use super::ledgers::Columns;
use super::refused;
use crate::projection::execution::ExecutionMetrics;
use crate::projection::fold::Ledger;
use crate::projection::period::midnight;

/// Reports that are read by one statement: no statement may take long.
const READ: i64 = 20_000;

/// Keeps reports that differ from the stored ones, whose seqs are given beside them.
pub async fn keep(
    conn: &mut PgConnection,
    rebuild_id: Uuid,
    ledgers: &[Ledger],
    base_seqs: &[Option<i32>],
) -> Result<()> {
    let columns = Columns::of(ledgers);
    sqlx::query!(
        r#"-- reporting.keep_rebuilt_ledgers
        insert into reporting.rebuilt_ledgers
            (rebuild_id, id, workflow_id, execution_id, metrics, started_at, completed_at, applied_seq, base_seq)
        select $1, l.*
        from unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::jsonb[], $6::timestamptz[], $7::timestamptz[],
            $8::integer[], $9::integer[]) as l
        on conflict (rebuild_id, id) do update
            set metrics = excluded.metrics, completed_at = excluded.completed_at,
                applied_seq = excluded.applied_seq, base_seq = excluded.base_seq"#,
        rebuild_id,
        &columns.ids,
        &ledgers.iter().map(|l| l.workflow_id).collect::<Vec<_>>(),
        &ledgers.iter().map(|l| l.execution_id).collect::<Vec<_>>(),
        &columns.metrics as _,
        &ledgers.iter().map(|l| l.started_at).collect::<Vec<_>>(),
        &columns.completed_at as _,
        &columns.applied_seq,
        base_seqs as &[Option<i32>]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Replaces reports of executions that started on a day, at most `limit`: those that have not gone on since they were
/// kept, and those that are missing. Returns how many.
pub async fn put_in_place(
    conn: &mut PgConnection,
    rebuild_id: Uuid,
    workflow_id: Uuid,
    day: NaiveDate,
    limit: i64,
) -> Result<i64> {
    let ids = sqlx::query_scalar!(
        r#"-- reporting.lock_ledgers_to_replace
        select l.id from reporting.rebuilt_ledgers l
        left join lateral (
            select r.id, r.applied_seq from reporting.workflow_reports r where r.id = l.id
            for no key update) r on true
        where l.rebuild_id = $1 and l.workflow_id = $2 and l.started_at >= $3 and l.started_at < $4
            and r.applied_seq is not distinct from l.base_seq
        order by l.id
        limit $5"#,
        rebuild_id,
        workflow_id,
        midnight(day),
        midnight(day.succ_opt().unwrap_or(day)),
        limit
    )
    .fetch_all(&mut *conn)
    .await?;
    let replaced = sqlx::query_scalar!(
        r#"-- reporting.replace_ledgers
        with kept as (
            delete from reporting.rebuilt_ledgers where rebuild_id = $1 and id = any($2) returning *),
        grown as (
            update reporting.workflow_reports r
            set metrics = l.metrics, period_start = l.started_at, period_end = l.completed_at,
                applied_seq = l.applied_seq, workflow_id = l.workflow_id
            from kept l
            where r.id = l.id and r.applied_seq = l.base_seq
            returning r.id),
        new as (
            insert into reporting.workflow_reports
                (id, workflow_id, execution_id, report_type, metrics, period_start, period_end, applied_seq)
            select id, workflow_id, execution_id, 'execution', metrics, started_at, completed_at, applied_seq
            from kept
            where base_seq is null
            order by id
            on conflict (id) do nothing
            returning id)
        select count(*) as "count!" from (select id from grown union all select id from new) placed"#,
        rebuild_id,
        &ids
    )
    .fetch_one(&mut *conn)
    .await
    .map_err(refused)?;
    Ok(replaced)
}

/// Executions whose reports could not be replaced: the stream has made or continued them since.
pub async fn left(
    conn: &mut PgConnection,
    rebuild_id: Uuid,
    workflow_id: Uuid,
    limit: i64,
) -> Result<Vec<Uuid>> {
    let ids = sqlx::query_scalar!(
        r#"-- reporting.list_rebuilt_ledgers
        select execution_id from reporting.rebuilt_ledgers
        where rebuild_id = $1 and workflow_id = $2
        limit $3"#,
        rebuild_id,
        workflow_id,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// Drops reports that need not be replaced any more.
pub async fn forget(conn: &mut PgConnection, rebuild_id: Uuid, ids: &[Uuid]) -> Result<()> {
    sqlx::query!(
        r#"-- reporting.forget_rebuilt_ledgers
        delete from reporting.rebuilt_ledgers where rebuild_id = $1 and id = any($2)"#,
        rebuild_id,
        ids
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Those of some reports whose executions have been purged.
pub async fn purged(conn: &mut PgConnection, ids: &[Uuid]) -> Result<HashSet<Uuid>> {
    let ids = sqlx::query_scalar!(
        r#"-- reporting.list_purged_ledgers
        select id from reporting.workflow_reports where id = any($1) and execution_id is null"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().collect())
}

/// Gives up reports that were to be made: an execution among them has been purged since it was read.
pub async fn forget_new(
    conn: &mut PgConnection,
    rebuild_id: Uuid,
    workflow_id: Uuid,
) -> Result<()> {
    sqlx::query!(
        r#"-- reporting.forget_new_ledgers
        delete from reporting.rebuilt_ledgers
        where rebuild_id = $1 and workflow_id = $2 and base_seq is null"#,
        rebuild_id,
        workflow_id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether reports wait to be put in place on a day.
pub async fn any_kept(
    conn: &mut PgConnection,
    rebuild_id: Uuid,
    workflow_id: Uuid,
    day: NaiveDate,
) -> Result<bool> {
    let any = sqlx::query_scalar!(
        r#"-- reporting.any_rebuilt_ledger
        select exists (
            select from reporting.rebuilt_ledgers
            where rebuild_id = $1 and workflow_id = $2 and started_at >= $3 and started_at < $4) as "any!""#,
        rebuild_id,
        workflow_id,
        midnight(day),
        midnight(day.succ_opt().unwrap_or(day))
    )
    .fetch_one(conn)
    .await?;
    Ok(any)
}

/// Hands the reports of all executions of a workflow that started on a day to `take`, one by one.
pub async fn for_each_of_day(
    conn: &mut PgConnection,
    workflow_id: Uuid,
    day: NaiveDate,
    mut take: impl FnMut(Ledger) -> Result<()>,
) -> Result<()> {
    let mut after = (midnight(day), Uuid::nil());
    loop {
        let mut rows = sqlx::query!(
            r#"-- reporting.read_ledgers_of_day
            select id, execution_id, period_start, period_end, coalesce(applied_seq, 0) as "applied_seq!",
                metrics as "metrics: Json<ExecutionMetrics>"
            from reporting.workflow_reports
            where workflow_id = $1 and period_start >= $2 and period_start < $3 and report_type = 'execution'
                and (period_start, id) > ($2, $4)
            order by period_start, id
            limit $5"#,
            workflow_id,
            after.0,
            midnight(day.succ_opt().unwrap_or(day)),
            after.1,
            READ
        )
        .fetch(&mut *conn);
        let mut read = 0;
        while let Some(row) = rows.next().await {
            let row = row?;
            read += 1;
            after = (row.period_start, row.id);
            take(Ledger {
                id: row.id,
                workflow_id,
                execution_id: row.execution_id.unwrap_or_default(),
                started_at: row.period_start,
                completed_at: row.period_end,
                applied_seq: row.applied_seq,
                metrics: row.metrics.0,
            })?;
        }
        if read < READ {
            return Ok(());
        }
    }
}

/// How far the report of an execution is counted.
#[derive(Debug, Clone, Copy)]
pub struct Counted {
    /// Absent, if the execution has been purged.
    pub execution_id: Option<Uuid>,
    pub applied_seq: i32,
}

/// Those of a workflow that started in a range.
pub async fn counted(
    conn: &mut PgConnection,
    workflow_id: Uuid,
    range: (DateTime<Utc>, DateTime<Utc>),
    limit: i64,
) -> Result<Vec<Counted>> {
    let counted = sqlx::query_as!(
        Counted,
        r#"-- reporting.list_counted_executions
        select execution_id, coalesce(applied_seq, 0) as "applied_seq!"
        from reporting.workflow_reports
        where workflow_id = $1 and period_start >= $2 and period_start < $3 and report_type = 'execution'
        limit $4"#,
        workflow_id,
        range.0,
        range.1,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(counted)
}
