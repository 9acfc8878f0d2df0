//! Database sessions that end at random, in the middle of whatever they do. Invariant: a caller learns of it as
//! UNAVAILABLE, or not at all.

use std::time::{Duration, Instant};

use super::Call;
use crate::load::Load;
use crate::stage::Props;
use crate::table::Row;

/// Some sessions of the services, whatever they are doing.
const END: &str = "
select count(pg_terminate_backend(pid)) from (
    select pid from pg_stat_activity
     where datname = current_database() and usename like 'wfp\\_%'
     order by state <> 'active', random() limit $1) victims";

pub async fn play(call: &Call) -> anyhow::Result<Row> {
    let mut chance = call.chance();
    let stage = call.stage(&Props::default()).await?;
    let load = Load::begin(&stage, call.seed, &call.plan()).await?;
    let mut faults = 0;
    for _ in 0..call.small_or(10, 120) {
        tokio::time::sleep(Duration::from_millis(chance.within(50..400))).await;
        let most = i64::try_from(chance.within(1..6))?;
        let ended: i64 = sqlx::query_scalar(END)
            .bind(most)
            .fetch_one(&stage.admin)
            .await?;
        faults += u64::try_from(ended)?;
    }
    call.finish(stage, load, (faults, Instant::now())).await
}
