//! A definition of 200 steps that a seed makes, run to its end under random kills of replicas and reporting.
//! Invariant: every execution of it ends COMPLETED.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::wire::struct_from_json;
use proto::execution::v1::{SignalExecutionRequest, StartExecutionRequest};
use serde_json::json;

use super::{Call, generated};
use crate::audit;
use crate::chance::Chance;
use crate::load::{self, Everywhere, Ledger, Load, Start};
use crate::stage::{Props, Stage};
use crate::table::Row;

const CALLERS: u64 = 8;
const INSISTS: Duration = Duration::from_secs(60);
/// Hundreds of commits in a row, however slow the disk.
const SETTLES: Duration = Duration::from_secs(600);

pub async fn play(call: &Call) -> anyhow::Result<Row> {
    let mut stage = call.stage(&Props::default()).await?;
    let load = Load::helpers(&stage, call.seed);
    let part = stage.sessions.publish(generated::PART).await?;
    let document = generated::document(call.seed, &part);
    let workflow_id = stage.sessions.publish(&document.to_string()).await?;
    let count = call.small_or(8, 1000);
    let mut starting = tokio::task::JoinSet::new();
    for n in 0..CALLERS {
        let caller = Caller {
            ledger: Arc::clone(&load.ledger),
            sessions: stage.sessions.admin.clone(),
            workflow_id: workflow_id.clone(),
        };
        let share = count / CALLERS + u64::from(n < count % CALLERS);
        starting.spawn(caller.work(share, Chance::part(call.seed, &format!("endurance {n}"))));
    }
    let faults = kill_about(call, &mut stage, call.small_or(3, 40)).await?;
    while let Some(started) = starting.join_next().await {
        started?;
    }
    let more = kill_until_done(call, &mut stage, call.small_or(1, 40)).await?;
    let last_fault = Instant::now();
    let settled = audit::until_settled(&stage.admin, last_fault, SETTLES).await?;
    let ledger = load.end().await?;
    let mut failed: Vec<String> = sqlx::query_scalar(
        "select id || ' is ' || status || ': ' || coalesce(error, '') from execution.workflow_executions
          where status <> 'COMPLETED' limit 5",
    )
    .fetch_all(&stage.admin)
    .await?;
    let mut row = call.close(stage, &ledger, faults + more, settled).await?;
    row.violations.append(&mut failed);
    Ok(row)
}

async fn kill_about(call: &Call, stage: &mut Stage, count: u64) -> anyhow::Result<u64> {
    let mut chance = call.chance();
    for _ in 0..count {
        kill_one(stage, &mut chance).await?;
    }
    Ok(count)
}

/// While anything is open, but not for ever.
async fn kill_until_done(call: &Call, stage: &mut Stage, most: u64) -> anyhow::Result<u64> {
    let mut chance = Chance::part(call.seed, "until done");
    for count in 0..most {
        if audit::settled(&stage.admin).await?.is_empty() {
            return Ok(count);
        }
        kill_one(stage, &mut chance).await?;
    }
    Ok(most)
}

async fn kill_one(stage: &mut Stage, chance: &mut Chance) -> anyhow::Result<()> {
    tokio::time::sleep(Duration::from_millis(chance.within(300..1200))).await;
    let victim = match chance.below(5) {
        0 => &mut stage.reporting,
        1 | 2 => &mut stage.executions[0],
        _ => &mut stage.executions[1],
    };
    victim.kill()?;
    tokio::time::sleep(Duration::from_millis(chance.below(300))).await;
    victim.start()?;
    if chance.percent(70) {
        victim.serving().await?;
    }
    Ok(())
}

struct Caller {
    ledger: Arc<Ledger>,
    sessions: Everywhere,
    workflow_id: String,
}

impl Caller {
    async fn work(self, count: u64, mut chance: Chance) {
        for n in 0..count {
            let mark = load::request_id(&mut chance);
            let request = StartExecutionRequest {
                workflow_id: self.workflow_id.clone(),
                metadata: Some(load::input(&mark, n)),
                request_id: mark.clone(),
                ..StartExecutionRequest::default()
            };
            let begin = |session: platform::client::Session| {
                let request = request.clone();
                async move { session.executions.clone().start_execution(request).await }
            };
            let own = (&self.sessions, &mut chance);
            let started = self.ledger.insist(("start", INSISTS), own, begin).await;
            let outcome = started.map(|it| it.id);
            let id = outcome.clone();
            self.ledger.book().starts.push(Start { mark, outcome });
            if let Ok(id) = id {
                self.signal(id, &mut chance).await;
            }
        }
    }

    /// Some come early, some never.
    async fn signal(&self, id: String, chance: &mut Chance) {
        for _ in 0..chance.below(4) {
            let data = json!({ "said": "yes" });
            let request = SignalExecutionRequest {
                id: id.clone(),
                name: generated::SIGNAL.into(),
                data: data.as_object().map(struct_from_json),
                request_id: load::request_id(chance),
                ..SignalExecutionRequest::default()
            };
            let call = |session: platform::client::Session| {
                let request = request.clone();
                async move { session.executions.clone().signal_execution(request).await }
            };
            let own = (&self.sessions, &mut *chance);
            let _ = self.ledger.insist(("signal", INSISTS), own, call).await;
        }
    }
}
