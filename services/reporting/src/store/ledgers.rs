//! Execution reports, which are the ledger of what was counted.
//! Invariant: `applied_seq` and the figures that it stands for change in one transaction.

use chassis::Result;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::refused;
use crate::projection::execution::ExecutionMetrics;
use crate::projection::fold::Ledger;

/// A ledger whose figures are still text: most repetitions are known by the number alone.
#[derive(Debug)]
pub struct Row {
    pub id: Uuid,
    pub workflow_id: Uuid,
    pub period_start: DateTime<Utc>,
    pub period_end: Option<DateTime<Utc>>,
    pub applied_seq: i32,
    pub metrics: String,
}

pub async fn lock(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Row>> {
    let rows = sqlx::query_as!(
        Row,
        r#"-- reporting.lock_ledgers
        select r.id, r.workflow_id, r.period_start, r.period_end, r.applied_seq as "applied_seq!",
            r.metrics::text as "metrics!"
        from (select id from unnest($1::uuid[]) as wanted (id) order by id) wanted
        -- Each by its key: of a table that has just begun to grow the planner would walk all.
        cross join lateral (
            select * from reporting.workflow_reports where id = wanted.id
            for no key update) r"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// The same without a lock, for a look.
pub async fn read(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Row>> {
    let rows = sqlx::query_as!(
        Row,
        r#"-- reporting.read_ledgers
        select id, workflow_id, period_start, period_end, coalesce(applied_seq, 0) as "applied_seq!",
            metrics::text as "metrics!"
        from reporting.workflow_reports
        where id = any($1)"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Returns how many were new: fewer than given means that another transaction was first.
pub async fn insert(conn: &mut PgConnection, ledgers: &[Ledger]) -> Result<usize> {
    let columns = Columns::of(ledgers);
    let done = sqlx::query!(
        r#"-- reporting.insert_ledgers
        insert into reporting.workflow_reports
            (id, workflow_id, execution_id, report_type, metrics, period_start, period_end, applied_seq)
        select l.id, l.workflow_id, l.execution_id, 'execution', l.metrics, l.started_at, l.completed_at,
            l.applied_seq
        from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::jsonb[], $5::timestamptz[], $6::timestamptz[],
                $7::integer[])
            as l (id, workflow_id, execution_id, metrics, started_at, completed_at, applied_seq)
        order by l.id
        on conflict (id) do nothing"#,
        &columns.ids,
        &ledgers.iter().map(|l| l.workflow_id).collect::<Vec<_>>(),
        &ledgers.iter().map(|l| l.execution_id).collect::<Vec<_>>(),
        &columns.metrics as _,
        &ledgers.iter().map(|l| l.started_at).collect::<Vec<_>>(),
        &columns.completed_at as _,
        &columns.applied_seq
    )
    .execute(conn)
    .await
    .map_err(refused)?;
    Ok(usize::try_from(done.rows_affected()).expect("not more rows than were given"))
}

/// The ledgers must be locked.
pub async fn update(conn: &mut PgConnection, ledgers: &[Ledger]) -> Result<()> {
    let columns = Columns::of(ledgers);
    sqlx::query!(
        r#"-- reporting.update_ledgers
        update reporting.workflow_reports r
        set metrics = l.metrics, period_end = l.completed_at, applied_seq = l.applied_seq
        from unnest($1::uuid[], $2::jsonb[], $3::timestamptz[], $4::integer[])
            as l (id, metrics, completed_at, applied_seq)
        where r.id = l.id"#,
        &columns.ids,
        &columns.metrics as _,
        &columns.completed_at as _,
        &columns.applied_seq
    )
    .execute(conn)
    .await
    .map_err(refused)?;
    Ok(())
}

/// Ledgers by column.
pub(super) struct Columns<'a> {
    pub ids: Vec<Uuid>,
    pub metrics: Vec<Json<&'a ExecutionMetrics>>,
    pub completed_at: Vec<Option<DateTime<Utc>>>,
    pub applied_seq: Vec<i32>,
}

impl<'a> Columns<'a> {
    pub fn of(ledgers: &'a [Ledger]) -> Self {
        Self {
            ids: ledgers.iter().map(|l| l.id).collect(),
            metrics: ledgers.iter().map(|l| Json(&l.metrics)).collect(),
            completed_at: ledgers.iter().map(|l| l.completed_at).collect(),
            applied_seq: ledgers.iter().map(|l| l.applied_seq).collect(),
        }
    }
}
