//! Very many executions, written behind the engine's back: copies of real ones under ids and at times of their
//! own. Invariant: a copy is as true as its original, row for row, whatever columns the tables have by now.

use anyhow::Context;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, Row};
use uuid::Uuid;

/// What is copied, how often, and the number of the first copy: no two copies may share one.
#[derive(Clone, Copy)]
pub struct Copies {
    pub of: Uuid,
    pub first: u64,
    pub count: u64,
}

/// Columns of which a copy has its own: name and expression. `t` is the original, `n` the number of the copy.
pub type Own = &'static [(&'static str, &'static str)];

/// A table that holds an execution: which rows are one's, and what of them is each copy's own.
pub type Table = (&'static str, &'static str, Own);

pub const ID: &str = "bench.id(0, n)";
// The first argument tells the rows of one copy apart: 1 and more are its logs'.
pub const LOG_ID: &str = "bench.id(t.seq, n)";
const REPORT_ID: &str = "bench.id(1000, n)";
const REQUEST_ID: &str = "bench.id(1001, n)";
pub const OF_EXECUTION: &str = "execution_id = $1";
pub const AT: &str = "bench.at(n)";
/// The first copy is 30 days old; a second passes between two.
const RECENT: &str = "date_trunc('day', now()) - interval '30 days' + n * interval '1 second'";

/// All tables that hold an execution.
const TABLES: [Table; 6] = [
    (
        "execution.workflow_executions",
        "id = $1",
        &[
            ("id", ID),
            ("started_at", AT),
            (
                "completed_at",
                "bench.at(n) + (t.completed_at - t.started_at)",
            ),
            ("created_at", AT),
            ("updated_at", AT),
        ],
    ),
    (
        "execution.execution_logs",
        OF_EXECUTION,
        &[
            ("id", LOG_ID),
            ("execution_id", ID),
            ("started_at", AT),
            (
                "completed_at",
                "bench.at(n) + (t.completed_at - t.started_at)",
            ),
            ("queued_at", AT),
            ("available_at", AT),
        ],
    ),
    (
        "execution.waits",
        OF_EXECUTION,
        &[
            (
                "id",
                "bench.id((select l.seq from execution.execution_logs l where l.id = t.id), n)",
            ),
            ("execution_id", ID),
            ("created_at", AT),
            ("arrived_at", AT),
            ("wake_at", "t.wake_at + n % 1000000 * interval '1 second'"),
        ],
    ),
    (
        "execution.execution_states",
        OF_EXECUTION,
        &[("execution_id", ID)],
    ),
    (
        "execution.requests",
        "resource_id = $1",
        &[
            ("request_id", REQUEST_ID),
            ("resource_id", ID),
            ("created_at", "now()"),
        ],
    ),
    (
        "reporting.workflow_reports",
        "execution_id = $1 and report_type = 'execution'",
        &[
            ("id", REPORT_ID),
            ("execution_id", ID),
            ("period_start", AT),
            ("period_end", AT),
            ("created_at", AT),
        ],
    ),
];

/// Writes the copies with all that belongs to them, then does what autovacuum does after a while.
pub async fn copy(pool: &PgPool, copies: Copies) -> anyhow::Result<()> {
    let mut conn = pool.acquire().await?;
    functions(&mut conn, RECENT).await?;
    fill(&mut conn, &TABLES, copies).await
}

/// The same into some tables. The functions must be there.
pub async fn fill(conn: &mut PgConnection, tables: &[Table], copies: Copies) -> anyhow::Result<()> {
    let mut tx = conn.begin().await?;
    // The copies refer to what their originals do: checking that again would take most of the time.
    run(&mut tx, "set local session_replication_role = replica").await?;
    for table in tables {
        insert(&mut tx, *table, copies).await?;
    }
    tx.commit().await?;
    let names: Vec<&str> = tables.iter().map(|(name, ..)| *name).collect();
    settle(conn, &names).await
}

/// What was written is none of the business of what is measured next.
pub async fn settle(conn: &mut PgConnection, tables: &[&str]) -> anyhow::Result<()> {
    for table in tables {
        run(conn, &format!("vacuum analyze {table}")).await?;
    }
    run(conn, "checkpoint").await
}

/// `at` is when copy `n` starts. Ids are ordered by time, as the engine's are.
pub async fn functions(conn: &mut PgConnection, at: &str) -> anyhow::Result<()> {
    let starts = format!(
        "create or replace function bench.at(n bigint) returns timestamptz language sql stable
         return {at}"
    );
    for statement in [
        "create schema if not exists bench",
        &starts,
        "create or replace function bench.id(kind int, n bigint) returns uuid language sql stable
         return (lpad(to_hex((extract(epoch from bench.at(n)) * 1000)::bigint), 12, '0') || '7'
             || lpad(to_hex(kind), 3, '0') || '8' || lpad(to_hex(n), 15, '0'))::uuid",
    ] {
        run(conn, statement).await?;
    }
    Ok(())
}

/// The id of a copy.
pub async fn id(pool: &PgPool, copy: u64) -> anyhow::Result<Uuid> {
    let id = sqlx::query_scalar("-- bench.id\nselect bench.id(0, $1)");
    Ok(id.bind(i64::try_from(copy)?).fetch_one(pool).await?)
}

async fn insert(
    conn: &mut PgConnection,
    (table, which, own): Table,
    copies: Copies,
) -> anyhow::Result<()> {
    let columns = sqlx::query(
        "-- bench.columns
        select quote_ident(attname) from pg_attribute
        where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = ''",
    )
    .bind(table)
    .fetch_all(&mut *conn)
    .await?;
    let columns: Vec<String> = columns.iter().map(|row| row.get(0)).collect();
    let values = columns.iter().map(|column| {
        let own = own.iter().find(|(name, _)| name == column);
        own.map_or_else(|| format!("t.{column}"), |(_, value)| (*value).to_owned())
    });
    let statement = format!(
        "-- bench.copy
        insert into {table} ({}) select {}
        from (select * from {table} where {which}) t
        cross join generate_series($2::bigint, $2 + $3::bigint - 1) n",
        columns.join(", "),
        values.collect::<Vec<_>>().join(", "),
    );
    sqlx::query(AssertSqlSafe(statement))
        .bind(copies.of)
        .bind(i64::try_from(copies.first)?)
        .bind(i64::try_from(copies.count)?)
        .execute(conn)
        .await
        .with_context(|| format!("copying {table}"))?;
    Ok(())
}

pub async fn run(conn: &mut PgConnection, statement: &str) -> anyhow::Result<()> {
    let statement = AssertSqlSafe(format!("-- bench.seed\n{statement}"));
    sqlx::query(statement).execute(conn).await?;
    Ok(())
}
