//! PostgreSQL killed as by a power cut, and out of reach for a while. Invariant: no process ends because of it, and
//! nothing that was answered is lost with it.

use std::time::{Duration, Instant};

use super::Call;
use crate::load::Load;
use crate::stage::{Props, Proxy, Stage};
use crate::table::Row;

pub async fn play(call: &Call) -> anyhow::Result<Row> {
    let mut chance = call.chance();
    let stage = call.stage(&Props::default()).await?;
    let load = Load::begin(&stage, call.seed, &call.plan()).await?;
    let kills = call.small_or(2, 6);
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(chance.within(500..2500))).await;
        call.cluster.kill().await?;
    }
    wires(&stage).for_each(|wire| wire.refuse(true));
    tokio::time::sleep(Duration::from_secs(call.small_or(3, 60))).await;
    wires(&stage).for_each(|wire| wire.refuse(false));
    let last_fault = Instant::now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    for process in stage.executions.iter().chain([&stage.reporting]) {
        process.serving().await?;
    }
    call.finish(stage, load, (kills + 1, last_fault)).await
}

/// Execution's and reporting's ways to the database.
fn wires(stage: &Stage) -> impl Iterator<Item = &Proxy> {
    stage.databases.iter().chain([&stage.reports])
}
