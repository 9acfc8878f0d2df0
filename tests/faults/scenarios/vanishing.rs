//! Callers that leave before they are answered, while the database is far and has two connections. Invariant: what is
//! answered afterwards is true, and seen by others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use proto::execution::v1::StartExecutionRequest;
use tonic::Code;

use super::Call;
use crate::chance::Chance;
use crate::load::{self, Kind, Load};
use crate::stage::{Props, Stage};
use crate::table::Row;

const AT_ONCE: u64 = 16;

pub async fn play(call: &Call) -> anyhow::Result<Row> {
    let props = Props {
        replicas: 1,
        connections: 2,
        ..Props::default()
    };
    let stage = call.stage(&props).await?;
    let load = Load::helpers(&stage, call.seed);
    let definitions = load::publish(&stage.sessions, &[Kind::Steps]).await?;
    let workflow_id = definitions[0].workflow_id.clone();
    stage.databases[0].slow(Duration::from_millis(20));
    let faults = call.small_or(200, 2000);
    let mut leaving = tokio::task::JoinSet::new();
    for n in 0..AT_ONCE {
        let executions = stage.sessions.admin[0].executions.clone();
        let workflow_id = workflow_id.clone();
        let mut chance = Chance::part(call.seed, &format!("leaving {n}"));
        leaving.spawn(async move {
            for n in 0..faults / AT_ONCE {
                let mut executions = executions.clone();
                let request = start(&workflow_id, &mut chance, n);
                let patience = Duration::from_millis(chance.within(1..60));
                let _ = tokio::time::timeout(patience, executions.start_execution(request)).await;
            }
        });
    }
    while let Some(left) = leaving.join_next().await {
        left?;
    }
    let last_fault = Instant::now();
    ordinary(call, &stage, &load, &workflow_id).await?;
    stage.databases[0].heal();
    call.finish(stage, load, (faults, last_fault)).await
}

/// A hundred starts (thirty at small scale) by callers who wait, each read back through another connection.
async fn ordinary(
    call: &Call,
    stage: &Stage,
    load: &Load,
    workflow_id: &str,
) -> anyhow::Result<()> {
    let mut starting = tokio::task::JoinSet::new();
    for n in 0..10 {
        let ordinary = Ordinary {
            sessions: stage.sessions.admin.clone(),
            ledger: Arc::clone(&load.ledger),
            admin: stage.admin.clone(),
            workflow_id: workflow_id.to_owned(),
            chance: Chance::part(call.seed, &format!("ordinary {n}")),
        };
        starting.spawn(ordinary.starts(call.small_or(3, 10)));
    }
    while let Some(started) = starting.join_next().await {
        started??;
    }
    Ok(())
}

struct Ordinary {
    sessions: load::Everywhere,
    ledger: Arc<load::Ledger>,
    admin: sqlx::PgPool,
    workflow_id: String,
    chance: Chance,
}

impl Ordinary {
    async fn starts(mut self, count: u64) -> anyhow::Result<()> {
        for n in 0..count {
            let request = start(&self.workflow_id, &mut self.chance, n);
            let mark = request.request_id.clone();
            let id = self.answered(request).await;
            let outcome = id.clone();
            self.ledger
                .book()
                .starts
                .push(load::Start { mark, outcome });
            let id = id.map_err(|fate| anyhow::anyhow!("an ordinary start ended with {fate:?}"))?;
            let seen: i64 = sqlx::query_scalar(
                "select count(*) from execution.workflow_executions where id = $1::uuid",
            )
            .bind(&id)
            .fetch_one(&self.admin)
            .await?;
            ensure!(seen == 1, "start {id} was OK, and nobody else sees it");
        }
        Ok(())
    }

    /// The far database makes everything slow: what is refused for want of room, or not answered, is asked
    /// again by a patient caller.
    async fn answered(&mut self, request: StartExecutionRequest) -> Result<String, load::Fate> {
        let mut last = Err(load::Fate::Unknown);
        for _ in 0..30 {
            let mut executions = self.sessions[0].executions.clone();
            let call = executions.start_execution(request.clone());
            let patience = Duration::from_secs(30);
            let answer = self.ledger.call_within(patience, "start", call).await;
            last = answer.map(|execution| execution.id);
            match last {
                Err(load::Fate::Unknown) => {}
                Err(load::Fate::Refused(Code::ResourceExhausted)) => {
                    let pause = self.chance.within(500..2000);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                _ => break,
            }
        }
        last
    }
}

fn start(workflow_id: &str, chance: &mut Chance, n: u64) -> StartExecutionRequest {
    let mark = load::request_id(chance);
    StartExecutionRequest {
        workflow_id: workflow_id.to_owned(),
        metadata: Some(load::input(&mark, n)),
        request_id: mark,
        ..StartExecutionRequest::default()
    }
}
