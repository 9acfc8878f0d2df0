//! Replicas whose clocks are an hour off, in both directions. A process's own clock judges tokens, so such a replica
//! refuses its callers and is refused by its peers; nothing that is stored or due depends on it.
//! Invariant: what a replica does with a wrong clock is what it would do with the right one.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::{Call, PATIENCE};
use crate::load::{Kind, Load, Plan};
use crate::stage::{Props, until};
use crate::table::Row;

/// What needs no other service on the way: whoever is refused by the catalog puts a start between executions off, for
/// longer each time, and may well be the next to take it up.
const HERE: &[Kind] = &[
    Kind::Steps,
    Kind::Jobs,
    Kind::People,
    Kind::Timers,
    Kind::Signals,
];

const OPEN: &str =
    "select count(*) from execution.workflow_executions where status in ('PENDING', 'RUNNING')";

pub async fn play(call: &Call) -> anyhow::Result<Row> {
    let props = Props {
        replicas: 3,
        clocks: vec![0, 3600, -3600],
        ..Props::default()
    };
    let mut stage = call.stage(&props).await?;
    let plan = Plan {
        kinds: &[Kind::Timers],
        pause: Duration::ZERO,
        ..Plan::of(call.small_or(20, 400))
    };
    let mut load = Load::begin(&stage, call.seed, &plan).await?;
    load.all_started().await?;
    // The only one with the right clock; the others ring what is left.
    stage.executions[0].kill()?;
    until(
        "timers ring at replicas with wrong clocks",
        PATIENCE,
        async || {
            Ok(sqlx::query_scalar::<_, i64>(OPEN)
                .fetch_one(&stage.admin)
                .await?
                == 0)
        },
    )
    .await?;
    let refused = load.ledger.book().refused;
    ensure!(
        refused > 0,
        "a replica with a wrong clock took a token for good"
    );
    stage.executions[0].start()?;
    stage.executions[0].serving().await?;
    load.end().await?;
    // Everything else, while two of three replicas are wrong.
    let plan = Plan {
        kinds: HERE,
        ..Plan::of(call.small_or(24, 300))
    };
    let mut load = Load::begin(&stage, call.seed + 1, &plan).await?;
    load.all_started().await?;
    call.finish(stage, load, (3, Instant::now())).await
}
