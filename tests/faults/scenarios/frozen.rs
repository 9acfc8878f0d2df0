//! A replica that stands still past its leases and wakes, as if nothing had happened. Invariant: what the other one did
//! meanwhile stands.

use std::time::{Duration, Instant};

use super::Call;
use crate::load::Load;
use crate::stage::Props;
use crate::table::Row;

pub async fn play(call: &Call) -> anyhow::Result<Row> {
    let mut chance = call.chance();
    let mut stage = call.stage(&Props::default()).await?;
    // Where it stands still is often in the middle of something.
    for (n, execution) in stage.executions.iter_mut().enumerate() {
        let seed = call.seed + n as u64;
        execution.start_with(&format!(
            "committer.before_commit=pause:30%20:{seed};leasing.after_commit=pause:50%20:{seed}"
        ))?;
        execution.serving().await?;
    }
    let load = Load::begin(&stage, call.seed, &call.plan()).await?;
    let faults = call.small_or(2, 6);
    for n in 0..faults {
        tokio::time::sleep(Duration::from_millis(chance.within(300..1500))).await;
        let replica = &stage.executions[usize::try_from(n % 2)?];
        replica.freeze()?;
        // Longer than the workers' leases; once longer than a transaction may stand open.
        let past = if n == 4 {
            35_000
        } else {
            chance.within(2_500..5_000)
        };
        tokio::time::sleep(Duration::from_millis(past)).await;
        replica.wake()?;
    }
    call.finish(stage, load, (faults, Instant::now())).await
}
