//! Reporting killed at any moment, cut off, frozen, away for long, and told everything again by two senders. Invariant:
//! every event counts once, and the engine does not notice.

use std::time::{Duration, Instant};

use sqlx::{Executor, PgPool};

use super::{Call, PATIENCE, Scale};
use crate::audit;
use crate::load::{Load, Plan};
use crate::stage::Props;
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

/// Everything once more, in another order, each row twice.
const AGAIN: &str = "
drop trigger keep_sent on execution.outbox;
insert into execution.outbox (id, payload)
select gen_random_uuid(), payload from audit.sent, generate_series(1, 2) order by random();";

pub async fn play(call: &Call) -> anyhow::Result<Row> {
    let mut chance = call.chance();
    let mut stage = call.stage(&Props::default()).await?;
    stage.admin.execute(KEEP).await?;
    let mut load = Load::begin(&stage, call.seed, &Plan::of(1_000_000)).await?;
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
    stage.reporting.start()?;
    let last_fault = Instant::now();
    load.stop_starting();
    load.all_started().await?;
    let first = audit::until_settled(&stage.admin, last_fault, PATIENCE).await?;
    let repeated = send_again(&stage.admin).await?;
    let again = audit::until_settled(&stage.admin, Instant::now(), PATIENCE).await?;
    let settled = first.and_then(|time| again.map(|_| time));
    let ledger = load.end().await?;
    call.close(stage, &ledger, faults + 1 + repeated, settled)
        .await
}

/// How many rows that were.
async fn send_again(admin: &PgPool) -> anyhow::Result<u64> {
    let rows: i64 = sqlx::query_scalar("select count(*) from audit.sent")
        .fetch_one(admin)
        .await?;
    admin.execute(AGAIN).await?;
    Ok(u64::try_from(rows)?)
}
