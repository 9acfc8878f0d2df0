//! Connections that go silent without an end: nothing arrives, and nobody is told. Invariant: who depends on one
//! notices within half a minute, says so, and is well again by itself.

use std::time::{Duration, Instant};

use anyhow::ensure;
use proto::execution::v1::StartExecutionRequest;

use super::Call;
use crate::chance::Chance;
use crate::load::{self, Load};
use crate::stage::{Process, Props, Stage, until};
use crate::table::Row;

/// How long until a process tells the truth about itself.
const TRUTH: Duration = Duration::from_secs(30);
/// How long until a replica works again whose connections are silent while new ones are fine.
const WORKS: Duration = Duration::from_secs(150);

pub async fn play(call: &Call) -> anyhow::Result<Row> {
    let stage = call.stage(&Props::default()).await?;
    let load = Load::begin(&stage, call.seed, &call.plan()).await?;
    let mut faults = 0;
    for _ in 0..call.small_or(1, 2) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // What is connected now is lost; whoever connects anew is welcome.
        stage.databases[0].silence(false);
        stage.wires[0].silence(false);
        // Nobody gets through at all.
        stage.databases[1].silence(true);
        stage.reports.silence(true);
        faults += 4;
        let (third, first, second) = tokio::join!(
            works(call, &stage, 0),
            tells(&stage.executions[1], false),
            tells(&stage.reporting, false),
        );
        first?;
        second?;
        third?;
        stage.databases[1].heal();
        stage.reports.heal();
        let (first, second, third) = tokio::join!(
            tells(&stage.executions[1], true),
            tells(&stage.reporting, true),
            works(call, &stage, 1),
        );
        first?;
        second?;
        third?;
    }
    ensure!(load.started() > 0, "nothing was started");
    call.finish(stage, load, (faults, Instant::now())).await
}

async fn tells(process: &Process, serving: bool) -> anyhow::Result<()> {
    let what = if serving {
        "it says that it serves"
    } else {
        "it says that it cannot serve"
    };
    until(what, TRUTH, async || {
        Ok(process.is_serving().await == serving)
    })
    .await
}

/// Whether a replica starts executions.
async fn works(call: &Call, stage: &Stage, replica: usize) -> anyhow::Result<()> {
    let session = &stage.sessions.admin[replica];
    let mut chance = Chance::part(call.seed, &format!("works {replica}"));
    let workflow: String =
        sqlx::query_scalar("select id::text from catalog.workflows where name = 'Steps'")
            .fetch_one(&stage.admin)
            .await?;
    until("the replica starts executions", WORKS, async || {
        let mark = load::request_id(&mut chance);
        let request = StartExecutionRequest {
            workflow_id: workflow.clone(),
            metadata: Some(load::input(&mark, 0)),
            request_id: mark,
            ..StartExecutionRequest::default()
        };
        let mut executions = session.executions.clone();
        let start = executions.start_execution(request);
        Ok(tokio::time::timeout(Duration::from_secs(4), start)
            .await
            .is_ok_and(|it| it.is_ok()))
    })
    .await
}
