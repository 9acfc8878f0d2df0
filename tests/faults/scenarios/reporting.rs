//! Reporting killed at any moment, cut off, frozen, away for long, and told everything again by two senders. Invariant:
//! every event counts once, and the engine does not notice.

use std::time::{Duration, Instant};

use anyhow::ensure;
use sqlx::{Executor, PgPool};

use super::{Call, PATIENCE, Scale};
use crate::audit;
use crate::load::Load;
use crate::stage::{Props, Stage};
use crate::table::Row;

/// Keeps what was sent, to be sent again.
const KEEP: &str = "
create table audit.sent (payload bytea not null);
create function audit.keep_sent() returns trigger language plpgsql security definer as $$
begin
    insert into audit.sent values (old.payload);
    return null;
end
$$;
create trigger keep_sent after delete on execution.outbox for each row execute function audit.keep_sent();";

const SET_ASIDE: &str = "
create table audit.aside (id uuid, payload bytea);
with gone as (delete from execution.outbox
               where id in (select id from execution.outbox order by created_at limit 10) returning id, payload)
insert into audit.aside select id, payload from gone;";

const PUT_BACK: &str =
    "insert into execution.outbox (id, payload) select id, payload from audit.aside;";

/// Everything once more, in another order, each row twice.
const AGAIN: &str = "
drop trigger keep_sent on execution.outbox;
insert into execution.outbox (id, payload)
select gen_random_uuid(), payload from audit.sent, generate_series(1, 2) order by random();";

pub async fn play(call: &Call) -> anyhow::Result<Row> {
    let mut chance = call.chance();
    let mut stage = call.stage(&Props::default()).await?;
    stage.admin.execute(KEEP).await?;
    let mut load = Load::begin(&stage, call.seed, &call.plan()).await?;
    let faults = call.small_or(6, 40);
    for n in 0..faults {
        tokio::time::sleep(Duration::from_millis(chance.within(100..700))).await;
        match n % 3 {
            0 => {
                let seed = call.seed + n;
                let slow = format!(
                    "counting.before_mark=pause:50%30:{seed};counting.before_ack=pause:50%30:{seed}"
                );
                stage.reporting.start_with(&slow)?;
            }
            1 => chance.pick(&stage.wires).cut(),
            _ => {
                stage.reporting.freeze()?;
                tokio::time::sleep(Duration::from_millis(chance.within(100..1500))).await;
                stage.reporting.wake()?;
            }
        }
    }
    stage.reporting.kill()?;
    let away = match call.scale {
        Scale::Small => 2,
        Scale::Full => 30,
        Scale::Long => 600,
    };
    tokio::time::sleep(Duration::from_secs(away)).await;
    killed_in_repair(&mut stage).await?;
    let last_fault = Instant::now();
    load.stop_starting();
    load.all_started().await?;
    let first = audit::until_settled(&stage.admin, last_fault, PATIENCE).await?;
    let repeated = send_again(&stage.admin).await?;
    let again = audit::until_settled(&stage.admin, Instant::now(), PATIENCE).await?;
    let settled = first.and_then(|time| again.map(|_| time));
    let ledger = load.end().await?;
    call.close(stage, &ledger, faults + 2 + repeated, settled)
        .await
}

/// Some rows are late, so that the events after them are held and at last looked up in the history; in the middle of
/// that reporting is killed. Then the rows come after all.
async fn killed_in_repair(stage: &mut Stage) -> anyhow::Result<()> {
    // What replicas have in memory would be sent whatever the table holds.
    for execution in &mut stage.executions {
        execution.start()?;
    }
    stage.admin.execute(SET_ASIDE).await?;
    for execution in &stage.executions {
        execution.serving().await?;
    }
    stage.reporting.start_with("repair.applied=kill@1")?;
    let ended = stage.reporting.ended(PATIENCE).await?;
    ensure!(ended.is_some(), "no gap was closed from the history");
    stage.reporting.start()?;
    stage.admin.execute(PUT_BACK).await?;
    Ok(())
}

/// How many rows that were.
async fn send_again(admin: &PgPool) -> anyhow::Result<u64> {
    let rows: i64 = sqlx::query_scalar("select count(*) from audit.sent")
        .fetch_one(admin)
        .await?;
    admin.execute(AGAIN).await?;
    Ok(u64::try_from(rows)?)
}
