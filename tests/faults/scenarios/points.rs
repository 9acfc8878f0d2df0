//! kill -9 at every point where something is committed, answered, sent or acknowledged. Invariant: every fail point in
//! the source is in one of these lists or in another scenario's, and is reached.

use std::time::{Duration, Instant};

use super::Call;
use crate::chance::Chance;
use crate::load::Load;
use crate::stage::{Process, Props};
use crate::table::Row;

pub const OF_EXECUTION: &[&str] = &[
    "committer.locked",
    "committer.before_write",
    "committer.before_commit",
    "committer.after_commit",
    "leasing.before_commit",
    "leasing.after_commit",
    "transaction.before_commit",
    "transaction.after_commit",
    "outbox.before_send",
    "outbox.before_delete",
    "outbox.after_delete",
    "pump.before_take_up",
    "pump.after_take_up",
    "timers.due",
];

pub const OF_REPORTING: &[&str] = &[
    "counting.locked",
    "counting.ledgers_made",
    "counting.ledgers_grown",
    "counting.before_figures",
    "counting.before_mark",
    "transaction.before_commit",
    "transaction.after_commit",
    "counting.before_ack",
    "counting.after_ack",
    "reports.claimed",
    "reports.before_clear",
];

/// No point is reached later than this under load.
const REACHED: Duration = Duration::from_secs(180);

pub async fn play(call: &Call) -> anyhow::Result<Row> {
    let mut stage = call.stage(&Props::default()).await?;
    let load = Load::begin(&stage, call.seed, &call.plan()).await?;
    let rounds = call.small_or(1, 4);
    let [first, second] = stage.executions.as_mut_slice() else {
        anyhow::bail!("there are two replicas");
    };
    // At small scale each replica has half of the points.
    let half = |n: usize| -> Vec<&str> {
        let points = OF_EXECUTION.iter().enumerate();
        let own = points.filter(|(at, _)| rounds > 1 || at % 2 == n);
        own.map(|(_, point)| *point).collect()
    };
    let lane = |name: &str| Chance::part(call.seed, name);
    let (first, second, third) = tokio::join!(
        kill_at(first, half(0), rounds, lane("first")),
        kill_at(second, half(1), rounds, lane("second")),
        kill_at(
            &mut stage.reporting,
            OF_REPORTING.to_vec(),
            rounds,
            lane("reporting")
        ),
    );
    let faults = first? + second? + third?;
    call.finish(stage, load, (faults, Instant::now())).await
}

/// Starts the process with each point in turn, waits for its end, and starts it once more.
async fn kill_at(
    process: &mut Process,
    points: Vec<&str>,
    rounds: u64,
    mut chance: Chance,
) -> anyhow::Result<u64> {
    let mut faults = 0;
    for round in 0..rounds {
        for point in &points {
            let pass = if round == 0 {
                1 + chance.below(2)
            } else {
                chance.within(1..40)
            };
            process.start_with(&format!("{point}=kill@{pass}"))?;
            let ended = process.ended(REACHED).await?;
            let ended =
                ended.ok_or_else(|| anyhow::anyhow!("{point} was not passed {pass} times"))?;
            let signal = std::os::unix::process::ExitStatusExt::signal(&ended);
            anyhow::ensure!(signal == Some(9), "{point}: it ended with {ended}");
            faults += 1;
        }
        process.start()?;
        process.serving().await?;
    }
    Ok(faults)
}
