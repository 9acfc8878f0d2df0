//! Ten times as many starts as can be done, by callers who do not wait for each other. Invariant: what is too much is
//! refused at once and not begun, memory stays bounded, and afterwards everything is as before. How much is still done
//! meanwhile is measured by `workflow-platform bench overload`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use platform::client::{Services, Session};
use proto::execution::v1::StartExecutionRequest;
use tokio::task::JoinSet;
use tonic::Code;

use super::{Call, PATIENCE};
use crate::chance::Chance;
use crate::load::{self, Fate, Kind, Ledger, Load};
use crate::stage::{Props, until};
use crate::table::Row;

/// Each carries only so many calls at once.
const CONNECTIONS: usize = 16;
/// Callers at once of the load that can be carried.
const CARRIED: usize = 256;
/// Callers set off together, so often.
const TICK: Duration = Duration::from_millis(10);
/// Callers that wait at once at most.
const MOST: usize = 5000;
const TIMES: f64 = 10.0;
/// The most that a replica may ever need, in bytes.
const MEMORY: u64 = 512 * 1024 * 1024;
/// So many answers in a row are back to normal.
const NORMAL: usize = 20;

pub async fn play(call: &Call) -> anyhow::Result<Row> {
    let props = Props {
        replicas: 1,
        ..Props::default()
    };
    let stage = call.stage(&props).await?;
    let load = Load::helpers(&stage, call.seed);
    let definitions = load::publish(&stage.sessions, &[Kind::Steps]).await?;
    let admin = &stage.sessions.admin[0];
    let addresses = (&stage.catalog.address, &stage.executions[0].address);
    let connections = (0..CONNECTIONS).map(|_| {
        let services = Services::at(addresses.0, addresses.1, &stage.reporting.address)?;
        Ok(services.bearing("flood", admin.token.clone())?)
    });
    let mut callers = Callers {
        sessions: connections.collect::<anyhow::Result<_>>()?,
        ledger: Arc::clone(&load.ledger),
        workflow_id: definitions[0].workflow_id.clone(),
        chance: call.chance(),
        begun: 0,
    };
    let time = Duration::from_secs(call.small_or(3, 15));
    let rate = callers.carried(time / 3).await?;
    let faults = callers.flood(rate * TIMES, time).await?;
    let last_fault = Instant::now();
    let shed =
        |start: &&load::Start| matches!(start.outcome, Err(Fate::Refused(Code::ResourceExhausted)));
    let shed = load.ledger.book().starts.iter().filter(shed).count();
    ensure!(
        shed > 0,
        "{rate:.0} starts/s can be carried, and of {MOST} at once and ten times as many none was refused"
    );
    let memory = stage.executions[0].peak_memory()?;
    ensure!(memory <= MEMORY, "it needed {memory} bytes");
    callers.back_to_normal().await?;
    call.finish(stage, load, (faults, last_fault)).await
}

struct Callers {
    sessions: Vec<Session>,
    ledger: Arc<Ledger>,
    workflow_id: String,
    chance: Chance,
    begun: u64,
}

impl Callers {
    /// One caller, who asks once.
    fn next(&mut self) -> impl Future<Output = bool> + Send + 'static {
        let mark = load::request_id(&mut self.chance);
        self.begun += 1;
        let request = StartExecutionRequest {
            workflow_id: self.workflow_id.clone(),
            metadata: Some(load::input(&mark, self.begun)),
            request_id: mark.clone(),
            ..StartExecutionRequest::default()
        };
        let session = self.chance.pick(&self.sessions);
        let (mut executions, ledger) = (session.executions.clone(), Arc::clone(&self.ledger));
        async move {
            let answer = ledger
                .call("start", executions.start_execution(request))
                .await;
            let outcome = answer.map(|execution| execution.id);
            let is_done = outcome.is_ok();
            ledger.book().starts.push(load::Start { mark, outcome });
            is_done
        }
    }

    /// Starts a second that are done by callers who wait for their answers.
    async fn carried(&mut self, time: Duration) -> anyhow::Result<f64> {
        let (begun, mut done) = (Instant::now(), 0);
        let mut waiting = JoinSet::new();
        while begun.elapsed() < time {
            while waiting.len() < CARRIED {
                waiting.spawn(self.next());
            }
            if let Some(is_done) = waiting.join_next().await {
                done += u32::from(is_done?);
            }
        }
        waiting.join_all().await;
        Ok(f64::from(done) / begun.elapsed().as_secs_f64())
    }

    /// As many as can wait come at once, and then so many a second. Returns how many called.
    async fn flood(&mut self, rate: f64, time: Duration) -> anyhow::Result<u64> {
        let (begun, before) = (Instant::now(), self.begun);
        let mut came: u64 = 0;
        let mut waiting = JoinSet::new();
        let mut ticks = tokio::time::interval(TICK);
        while begun.elapsed() < time {
            ticks.tick().await;
            let due = MOST as f64 + begun.elapsed().as_secs_f64() * rate;
            while (came as f64) < due && waiting.len() < MOST {
                waiting.spawn(self.next());
                came += 1;
            }
            while let Some(ended) = waiting.try_join_next() {
                ended?;
            }
            // Who finds no room stays away.
            came = came.max(due as u64);
        }
        waiting.join_all().await;
        Ok(self.begun - before)
    }

    async fn back_to_normal(&mut self) -> anyhow::Result<()> {
        let mut in_a_row = 0;
        until("starts are answered as before", PATIENCE, async || {
            in_a_row = if self.next().await { in_a_row + 1 } else { 0 };
            Ok(in_a_row == NORMAL)
        })
        .await
    }
}
