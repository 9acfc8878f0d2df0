//! The floors: the platform's own statements on the platform's own tables, without an engine, a queue or a
//! wire. Two connections, as the committer has.

use std::time::{Duration, Instant};

use execution::write::{self, Logs, MovedExecutions, NewExecutions, Waits};
use proto::catalog::v1::Workflow;
use sqlx::{PgConnection, PgPool};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::drive::{Measured, histogram};
use super::rows::{self, EVENT_BYTES, Ids};

const CONNECTIONS: usize = 2;
/// Executions of one transaction.
const BATCH: usize = 256;
/// Connections that commit single rows.
const SINGLES: usize = 32;

/// Executions a second whose rows are written at once: execution, five logs, share of the outbox, the
/// call's id, execution report.
pub async fn steps(pool: &PgPool, workflow: &Workflow, executions: usize) -> anyhow::Result<f64> {
    side_by_side(pool, workflow, executions, async |conn, ids, count| {
        finished(conn, ids, count).await
    })
    .await
}

/// Executions a second whose rows are written in eleven transactions each: start, and for each of five
/// jobs its lease and its result.
pub async fn jobs(pool: &PgPool, workflow: &Workflow, executions: usize) -> anyhow::Result<f64> {
    side_by_side(pool, workflow, executions, async |conn, ids, count| {
        job_by_job(conn, ids, count).await
    })
    .await
}

/// One execution a transaction, one after another.
pub async fn one_execution_at_a_time(
    pool: &PgPool,
    workflow: &Workflow,
    executions: usize,
) -> anyhow::Result<Measured> {
    let ids = Ids::of(workflow)?;
    let mut conn = chassis::db::acquire(pool).await?;
    let mut latency = histogram();
    let begun = Instant::now();
    for _ in 0..executions {
        let one = Instant::now();
        finished(&mut conn, &ids, 1).await?;
        latency.record(one.elapsed().as_micros() as u64)?;
    }
    Ok(Measured {
        count: executions,
        elapsed: begun.elapsed(),
        latency,
    })
}

/// Log rows a second, each in a transaction of its own, on many connections.
pub async fn single_rows(
    pool: &PgPool,
    workflow: &Workflow,
    time: Duration,
) -> anyhow::Result<f64> {
    let mut conn = chassis::db::acquire(pool).await?;
    let ids = Ids::of(workflow)?;
    let execution = rows::executions(&ids, 1, "COMPLETED", 7);
    write::write_executions(&mut conn, &MovedExecutions::default(), &execution).await?;
    drop(conn);
    let execution = execution.id[0];
    let begun = Instant::now();
    let mut writers: JoinSet<anyhow::Result<i32>> = JoinSet::new();
    for writer in 0..SINGLES {
        let (pool, ids) = (pool.clone(), Ids::of(workflow)?);
        writers.spawn(async move {
            let mut conn = chassis::db::acquire(&pool).await?;
            let mut written = 0;
            while begun.elapsed() < time {
                let mut log = rows::logs(&ids, &[execution], 0, "COMPLETED");
                log.seq[0] = written * SINGLES as i32 + writer as i32;
                write::write_logs(&mut conn, &Logs::default(), &log).await?;
                written += 1;
            }
            Ok(written)
        });
    }
    let mut written = 0;
    while let Some(ended) = writers.join_next().await {
        written += ended??;
    }
    Ok(f64::from(written) / begun.elapsed().as_secs_f64())
}

async fn side_by_side(
    pool: &PgPool,
    workflow: &Workflow,
    executions: usize,
    write: impl AsyncFn(&mut PgConnection, &Ids, usize) -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let ids = Ids::of(workflow)?;
    let share = executions.div_ceil(CONNECTIONS);
    let one = async || {
        let mut conn = chassis::db::acquire(pool).await?;
        let mut left = share;
        while left > 0 {
            let count = left.min(BATCH);
            write(&mut conn, &ids, count).await?;
            left -= count;
        }
        anyhow::Ok(())
    };
    let begun = Instant::now();
    tokio::try_join!(one(), one())?;
    Ok((share * CONNECTIONS) as f64 / begun.elapsed().as_secs_f64())
}

async fn finished(conn: &mut PgConnection, ids: &Ids, count: usize) -> anyhow::Result<()> {
    let executions = rows::executions(ids, count, "COMPLETED", 7);
    let mut logs = Logs::default();
    for step in 0..ids.steps.len() {
        rows::append(
            &mut logs,
            rows::logs(ids, &executions.id, step, "COMPLETED"),
        );
    }
    let mut tx = sqlx::Connection::begin(conn).await?;
    write::write_executions(&mut tx, &MovedExecutions::default(), &executions).await?;
    write::write_logs(&mut tx, &Logs::default(), &logs).await?;
    outbox(&mut tx, count * 7).await?;
    requests(&mut tx, &executions.id).await?;
    tx.commit().await?;
    // Reporting has transactions of its own.
    reports(conn, ids, &executions.id).await
}

async fn job_by_job(conn: &mut PgConnection, ids: &Ids, count: usize) -> anyhow::Result<()> {
    let executions = rows::executions(ids, count, "RUNNING", 1);
    let mut logs = rows::logs(ids, &executions.id, 0, "PENDING");
    let mut tx = sqlx::Connection::begin(&mut *conn).await?;
    write::write_executions(&mut tx, &MovedExecutions::default(), &executions).await?;
    write::write_logs(&mut tx, &Logs::default(), &logs).await?;
    write::write_waits(&mut tx, &[], &rows::waits(ids, &logs, 0)).await?;
    write::write_memories(&mut tx, &[], &executions.id, &rows::memories(count, 0)).await?;
    outbox(&mut tx, count).await?;
    requests(&mut tx, &executions.id).await?;
    tx.commit().await?;
    let last = ids.steps.len() - 1;
    for step in 0..=last {
        let mut tx = sqlx::Connection::begin(&mut *conn).await?;
        lease(&mut tx, &logs.id).await?;
        tx.commit().await?;
        rows::complete(&mut logs, step);
        let status = if step == last { "COMPLETED" } else { "RUNNING" };
        let mut tx = sqlx::Connection::begin(&mut *conn).await?;
        let moved = rows::moved(&executions.id, status, step as i32 + 2);
        write::write_executions(&mut tx, &moved, &NewExecutions::default()).await?;
        let done = std::mem::take(&mut logs);
        if step < last {
            logs = rows::logs(ids, &executions.id, step + 1, "PENDING");
            let waits = rows::waits(ids, &logs, step + 1);
            write::write_waits(&mut tx, &done.id, &waits).await?;
            let memories = rows::memories(count, step + 1);
            write::write_memories(&mut tx, &[], &executions.id, &memories).await?;
        } else {
            write::write_waits(&mut tx, &done.id, &Waits::default()).await?;
            write::write_memories(&mut tx, &executions.id, &[], &[]).await?;
        }
        write::write_logs(&mut tx, &done, &logs).await?;
        outbox(&mut tx, count).await?;
        tx.commit().await?;
    }
    reports(conn, ids, &executions.id).await
}

async fn lease(conn: &mut PgConnection, ids: &[Uuid]) -> anyhow::Result<()> {
    sqlx::query(
        "-- bench.lease
        update execution.waits set held_by = 'bench/floor', lease_until = now() + interval '30 s',
            wake_at = now() + interval '30 s'
        where id = any($1)",
    )
    .bind(ids)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "-- bench.begin_work
        update execution.execution_logs set status = 'RUNNING', assigned_at = now(), started_at = now()
        where id = any($1)",
    )
    .bind(ids)
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes an outbox row and takes it away, as an acknowledgement does.
async fn outbox(conn: &mut PgConnection, events: usize) -> anyhow::Result<()> {
    let id = Uuid::now_v7();
    write::insert_outbox(conn, &[id], &[vec![0; events * EVENT_BYTES]]).await?;
    sqlx::query(
        "-- bench.settle
        delete from execution.outbox where id = $1",
    )
    .bind(id)
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps the ids of the calls that started executions.
async fn requests(conn: &mut PgConnection, executions: &[Uuid]) -> anyhow::Result<()> {
    sqlx::query(
        "-- bench.requests
        insert into execution.requests (caller, method, request_id, body_hash, resource_id)
        select $1, 'StartExecution', gen_random_uuid(), $2, id from unnest($3::uuid[]) as new (id)",
    )
    .bind(Uuid::nil().to_string())
    .bind([0_u8; 32])
    .bind(executions)
    .execute(conn)
    .await?;
    Ok(())
}

async fn reports(conn: &mut PgConnection, ids: &Ids, executions: &[Uuid]) -> anyhow::Result<()> {
    let metrics = rows::report(ids);
    let report_ids: Vec<Uuid> = executions
        .iter()
        .map(|id| Uuid::new_v5(id, b"report"))
        .collect();
    sqlx::query(
        "-- bench.reports
        insert into reporting.workflow_reports
            (id, workflow_id, execution_id, report_type, metrics, period_start, period_end, applied_seq)
        select id, $3, execution_id, 'execution', $4, now(), now(), 7
        from unnest($1::uuid[], $2::uuid[]) as new (id, execution_id)",
    )
    .bind(report_ids)
    .bind(executions)
    .bind(ids.workflow)
    .bind(metrics)
    .execute(conn)
    .await?;
    Ok(())
}
