//! A panic in each background loop. Invariant: a process whose loop has died ends with a failure; none goes on half
//! alive.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::Call;
use crate::load::Load;
use crate::stage::{Process, Props};
use crate::table::Row;

const OF_EXECUTION: &[&str] = &["timers.due", "outbox.before_send", "outbox.before_delete"];
const OF_REPORTING: &[&str] = &["counting.locked", "counting.before_ack", "reports.claimed"];

/// No point is reached later than this under load, and a drain takes 10 s at most.
const ENDS: Duration = Duration::from_secs(150);

pub async fn play(call: &Call) -> anyhow::Result<Row> {
    let mut stage = call.stage(&Props::default()).await?;
    let load = Load::begin(&stage, call.seed, &call.plan()).await?;
    let mut faults = 0;
    for _ in 0..call.small_or(1, 3) {
        let (execution, reporting) = (&mut stage.executions[0], &mut stage.reporting);
        let (first, second) = tokio::join!(
            panic_at(execution, OF_EXECUTION),
            panic_at(reporting, OF_REPORTING),
        );
        faults += first? + second?;
    }
    call.finish(stage, load, (faults, Instant::now())).await
}

async fn panic_at(process: &mut Process, points: &[&str]) -> anyhow::Result<u64> {
    for point in points {
        process.start_with(&format!("{point}=panic@2"))?;
        let status = process.ended(ENDS).await?;
        let status = status.with_context(|| format!("it lives on after a panic at {point}"))?;
        ensure!(status.code() == Some(1), "{point}: it ended with {status}");
    }
    process.start()?;
    process.serving().await?;
    Ok(points.len() as u64)
}
