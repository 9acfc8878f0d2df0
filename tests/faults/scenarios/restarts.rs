//! Replicas and reporting that are killed, or told to stop, again and again at any moment. Invariant: who is told to
//! stop ends with success, whatever it was doing.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use super::Call;
use crate::load::Load;
use crate::stage::{Process, Props};
use crate::table::Row;

/// A drain may take its whole grace period.
const STOPS: Duration = Duration::from_secs(20);

pub async fn play(call: &Call) -> anyhow::Result<Row> {
    let mut chance = call.chance();
    let mut stage = call.stage(&Props::default()).await?;
    let load = Load::begin(&stage, call.seed, &call.plan()).await?;
    let faults = call.small_or(8, 60);
    for _ in 0..faults {
        tokio::time::sleep(Duration::from_millis(chance.within(50..800))).await;
        let kills = chance.percent(70);
        match chance.below(5) {
            0 => again(&mut stage.reporting, kills).await?,
            n => {
                let replica = usize::try_from(n % 2)?;
                again(&mut stage.executions[replica], kills).await?;
            }
        }
    }
    for process in stage.executions.iter().chain([&stage.reporting]) {
        process.serving().await?;
    }
    call.finish(stage, load, (faults, Instant::now())).await
}

async fn again(process: &mut Process, kills: bool) -> anyhow::Result<()> {
    if kills {
        process.kill()?;
    } else {
        let status = process.stop(STOPS).await?;
        // Until it listens to signals there is nothing to drain.
        let too_early = status.signal() == Some(15);
        let is_well = status.success() || too_early;
        anyhow::ensure!(is_well, "told to stop, it ended with {status}");
    }
    process.start()
}
