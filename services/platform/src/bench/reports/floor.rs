//! The floors of counting events: the execution reports that come of them, written into a table with the same indexes
//! and no foreign keys, without anything being counted. Invariant: only the database's work is timed.

use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::{DateTime, Utc};
use proto::catalog::v1::Workflow;
use sqlx::postgres::PgPoolCopyExt;
use sqlx::{PgConnection, PgPool};
use tokio_stream::StreamExt;
use uuid::Uuid;

use super::super::seed::{run, settle};

/// Rows of one statement.
const ROWS: i64 = 2000;
/// Bytes of one message.
const PIECE: usize = 256 * 1024;

/// How long one COPY of all reports takes.
pub async fn copy(pool: &PgPool, workflow: &Workflow, executions: i64) -> anyhow::Result<Duration> {
    let pieces = read(pool, workflow.id.parse()?).await?;
    let mut conn = pool.acquire().await?;
    table(&mut conn, "bench.copied").await?;
    let begun = Instant::now();
    let mut copy = conn
        .copy_in_raw("copy bench.copied from stdin (format binary)")
        .await?;
    for piece in pieces {
        copy.send(piece).await?;
    }
    let rows = copy.finish().await?;
    let took = begun.elapsed();
    anyhow::ensure!(
        i64::try_from(rows)? == executions,
        "{rows} of {executions} reports were copied"
    );
    Ok(took)
}

/// The execution reports of a workflow, as COPY takes them.
async fn read(pool: &PgPool, workflow_id: Uuid) -> anyhow::Result<Vec<Vec<u8>>> {
    let statement = format!(
        "copy (select * from reporting.workflow_reports
          where workflow_id = '{workflow_id}' and report_type = 'execution') to stdout (format binary)"
    );
    let mut rows = pool.copy_out_raw(&statement).await?;
    let (mut pieces, mut piece) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next().await {
        piece.extend_from_slice(&row?);
        if piece.len() >= PIECE {
            pieces.push(std::mem::take(&mut piece));
        }
    }
    pieces.push(piece);
    Ok(pieces)
}

/// An empty table with the columns and indexes of the reports'.
async fn table(conn: &mut PgConnection, name: &str) -> anyhow::Result<()> {
    run(conn, "create schema if not exists bench").await?;
    let statement = format!("create table {name} (like reporting.workflow_reports including all)");
    run(conn, &statement).await?;
    settle(conn, &[name]).await
}

/// How long the statements take that write what was copied once more, each in a transaction of its own.
pub async fn upsert(pool: &PgPool, executions: i64) -> anyhow::Result<Duration> {
    let mut conn = pool.acquire().await?;
    table(&mut conn, "bench.upserted").await?;
    let (mut took, mut written) = (Duration::ZERO, 0);
    let mut after = Uuid::nil();
    loop {
        let reports = Reports::after(&mut conn, after).await?;
        let Some(last) = reports.ids.last() else {
            break;
        };
        after = *last;
        let begun = Instant::now();
        written += reports.write(&mut conn).await?;
        took += begun.elapsed();
    }
    anyhow::ensure!(
        i64::try_from(written)? == executions,
        "{written} of {executions} reports were written"
    );
    for table in ["bench.copied", "bench.upserted"] {
        run(&mut conn, &format!("drop table {table}")).await?;
    }
    Ok(took)
}

/// Execution reports by column.
#[derive(Default)]
struct Reports {
    ids: Vec<Uuid>,
    workflow_ids: Vec<Uuid>,
    execution_ids: Vec<Uuid>,
    metrics: Vec<String>,
    period_starts: Vec<DateTime<Utc>>,
    period_ends: Vec<DateTime<Utc>>,
    applied_seqs: Vec<i32>,
}

type Row = (Uuid, Uuid, Uuid, String, DateTime<Utc>, DateTime<Utc>, i32);

impl Reports {
    /// The next ones of those that were copied.
    async fn after(conn: &mut PgConnection, after: Uuid) -> anyhow::Result<Self> {
        let rows: Vec<Row> = sqlx::query_as(
            "-- bench.read_reports
            select id, workflow_id, execution_id, metrics::text, period_start, period_end, applied_seq
              from bench.copied where id > $1 order by id limit $2",
        )
        .bind(after)
        .bind(ROWS)
        .fetch_all(conn)
        .await?;
        let mut reports = Self::default();
        for row in rows {
            reports.ids.push(row.0);
            reports.workflow_ids.push(row.1);
            reports.execution_ids.push(row.2);
            reports.metrics.push(row.3);
            reports.period_starts.push(row.4);
            reports.period_ends.push(row.5);
            reports.applied_seqs.push(row.6);
        }
        Ok(reports)
    }

    async fn write(&self, conn: &mut PgConnection) -> anyhow::Result<u64> {
        let written = sqlx::query(
            "-- bench.upsert
            insert into bench.upserted
                (id, workflow_id, execution_id, report_type, metrics, period_start, period_end, applied_seq)
            select id, workflow_id, execution_id, 'execution', metrics::jsonb, period_start, period_end,
                applied_seq
              from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[],
                    $6::timestamptz[], $7::integer[])
                as r (id, workflow_id, execution_id, metrics, period_start, period_end, applied_seq)
            on conflict (id) do update
               set metrics = excluded.metrics, period_end = excluded.period_end,
                   applied_seq = excluded.applied_seq",
        )
        .bind(&self.ids)
        .bind(&self.workflow_ids)
        .bind(&self.execution_ids)
        .bind(&self.metrics)
        .bind(&self.period_starts)
        .bind(&self.period_ends)
        .bind(&self.applied_seqs)
        .execute(conn)
        .await
        .context("writing reports")?;
        Ok(written.rows_affected())
    }
}
