//! A year of finished executions that reporting has never heard of: copies of a real one, in the execution
//! service's tables alone. Invariant: their histories are as true as any, each with a pace of its own.

use sqlx::PgPool;

use super::seed::{self, AT, Copies, ID, LOG_ID, OF_EXECUTION, Table};

/// Seconds of the days before today.
const YEAR: u32 = 365 * 24 * 3600;

/// Steps of a copy take as long as its pace says: from a millisecond to 100 seconds, so that percentiles are made
/// of many durations.
const PACE: &str =
    "create or replace function bench.pace(n bigint) returns interval language sql immutable
    return interval '1 millisecond' * power(10::float8, (5 * (n * 0.618033988749895 % 1))::float8)";
const BEGUN: &str = "bench.at(n) + (t.seq - 1) * bench.pace(n)";
const OVER: &str = "bench.at(n) + t.seq * bench.pace(n)";
/// All events but the first and the last are ends of steps.
const ALL_OVER: &str = "bench.at(n) + (t.event_count - 2) * bench.pace(n)";

const TABLES: [Table; 2] = [
    (
        "execution.workflow_executions",
        "id = $1",
        &[
            ("id", ID),
            ("started_at", AT),
            ("completed_at", ALL_OVER),
            ("created_at", AT),
            ("updated_at", ALL_OVER),
        ],
    ),
    (
        "execution.execution_logs",
        OF_EXECUTION,
        &[
            ("id", LOG_ID),
            ("execution_id", ID),
            ("queued_at", BEGUN),
            ("available_at", BEGUN),
            ("started_at", BEGUN),
            ("completed_at", OVER),
        ],
    ),
];

/// Writes the copies, which start at equal distances over the 365 days before today.
pub async fn write(pool: &PgPool, copies: Copies) -> anyhow::Result<()> {
    let mut conn = pool.acquire().await?;
    let at = format!(
        "date_trunc('day', now(), 'UTC') - interval '1 second' * ({YEAR} - {YEAR}.0 * (n - {}) / {})",
        copies.first, copies.count
    );
    seed::functions(&mut conn, &at).await?;
    seed::run(&mut conn, PACE).await?;
    seed::fill(&mut conn, &TABLES, copies).await
}
