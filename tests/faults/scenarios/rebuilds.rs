//! Reports and sums spoiled by hand under load, and a rebuild of all of them that is killed at each of its points.
//! Invariant: whoever goes on with it ends it, and nothing that was spoiled is left.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use proto::reporting::v1::{RebuildReportsRequest, VerifyOutcome, VerifyReportRequest};
use sqlx::Executor;
use uuid::Uuid;

use super::{Call, PATIENCE};
use crate::audit;
use crate::load::Load;
use crate::stage::{Props, Stage, until};
use crate::table::Row;

/// In the order in which a rebuild passes them.
const POINTS: &[&str] = &[
    "rebuild.compared",
    "rebuild.ledgers_placed",
    "rebuild.figures_placed",
    "rebuild.placed",
];

/// No point is reached later than this.
const REACHED: Duration = Duration::from_secs(180);

/// Here reports are replaced by others of the same events.
const UNWATCH: &str = "drop trigger audit on reporting.workflow_reports";

/// Wrong reports, wrong sums, and some that are missing.
const SPOIL: &str = "
begin;
lock table reporting.workflow_reports, reporting.figures in exclusive mode;
update reporting.workflow_reports set metrics = jsonb_set(metrics, '{transitions}', '{}')
 where report_type = 'execution' and random() < 0.3;
delete from reporting.workflow_reports where report_type = 'execution' and random() < 0.1;
update reporting.figures set figures = jsonb_set(figures, '{total}', '7') where random() < 0.3;
delete from reporting.figures where random() < 0.2;
commit;";

/// As if the time had passed for which the killed process had taken it.
const RELEASE: &str =
    "update reporting.rebuilds set held_until = '-infinity' where finished_at is null";

pub async fn play(call: &Call) -> anyhow::Result<Row> {
    let mut chance = call.chance();
    let mut stage = call.stage(&Props::default()).await?;
    stage.admin.execute(UNWATCH).await?;
    let load = Load::begin(&stage, call.seed, &call.plan()).await?;
    let rounds = call.small_or(1, 6);
    for _ in 0..rounds {
        tokio::time::sleep(Duration::from_millis(chance.within(2000..6000))).await;
        killed_everywhere(&mut stage).await?;
    }
    let faults = rounds * (POINTS.len() as u64 + 1);
    let (mut load, last_fault) = (load, Instant::now());
    load.stop_starting();
    load.all_started().await?;
    let settled = audit::until_settled(&stage.admin, last_fault, PATIENCE).await?;
    let ledger = load.end().await?;
    let wrong = differing(&stage).await?;
    let mut row = call.close(stage, &ledger, faults, settled).await?;
    row.violations.extend(wrong);
    Ok(row)
}

/// What the platform itself finds wrong with its reports of days, weeks and months.
async fn differing(stage: &Stage) -> anyhow::Result<Vec<String>> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select id from reporting.workflow_reports where report_type <> 'execution'",
    )
    .fetch_all(&stage.admin)
    .await?;
    let admin = stage.sessions.admin.first().context("there is a replica")?;
    let mut found = Vec::new();
    for id in ids {
        let request = VerifyReportRequest { id: id.to_string() };
        let verified = admin.reports.clone().verify_report(request).await?;
        let verified = verified.into_inner();
        if verified.outcome() != VerifyOutcome::Equal {
            found.push(format!(
                "report {id} is not what it should be: {verified:?}"
            ));
        }
    }
    Ok(found)
}

async fn killed_everywhere(stage: &mut Stage) -> anyhow::Result<()> {
    let mut is_asked_for = false;
    for point in POINTS {
        stage.reporting.start_with(&format!("{point}=kill@1"))?;
        if !is_asked_for {
            stage.reporting.serving().await?;
            stage.admin.execute(SPOIL).await?;
            ask(stage).await?;
            is_asked_for = true;
        }
        let ended = stage.reporting.ended(REACHED).await?;
        let ended = ended.with_context(|| format!("{point} was not passed"))?;
        let signal = std::os::unix::process::ExitStatusExt::signal(&ended);
        ensure!(signal == Some(9), "{point}: it ended with {ended}");
        stage.admin.execute(RELEASE).await?;
    }
    stage.reporting.start()?;
    stage.reporting.serving().await?;
    // What is spoiled while a rebuild is at it is not what it was asked to make right.
    until("the rebuild is over", PATIENCE, async || {
        let open = "select exists (select from reporting.rebuilds where finished_at is null)";
        let open: bool = sqlx::query_scalar(open).fetch_one(&stage.admin).await?;
        Ok(!open)
    })
    .await
}

/// Asks for a rebuild of everything, and leaves.
async fn ask(stage: &Stage) -> anyhow::Result<()> {
    let admin = stage.sessions.admin.first().context("there is a replica")?;
    let request = RebuildReportsRequest::default();
    let progress = admin.reports.clone().rebuild_reports(request).await;
    progress.context("a rebuild is asked for")?;
    Ok(())
}
