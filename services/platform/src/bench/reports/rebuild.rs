//! Reports of a year from history alone. Invariant: a month of them is held against its history afterwards.

use std::time::Instant;

use anyhow::Context;
use model::wire;
use proto::catalog::v1::Workflow;
use proto::reporting::v1::{
    RebuildReportsRequest, RebuildReportsResponse, VerifyOutcome, VerifyReportRequest,
};

use super::super::say;
use super::super::stage::Stage;
use super::{Counted, months, shown};
use crate::client::Session;

pub async fn measure(stage: &Stage, workflow: &Workflow, executions: u32) -> anyhow::Result<()> {
    let session = stage.sign_in(1).await?.remove(0);
    let begun = Instant::now();
    let done = rebuild(&session, workflow).await?;
    let took = begun.elapsed().as_secs_f64();
    let counted = Counted::look(&stage.pool, workflow).await?;
    anyhow::ensure!(
        done.executions == i64::from(executions)
            && (counted.executions, counted.events) == (done.executions, done.events),
        "{done:?} was rebuilt, {counted:?} is there, {executions} executions are to be"
    );
    say(&format!(
        "rebuilt from history: {} executions, {} events in {took:.1} s, {:.0} events/s",
        done.executions,
        done.events,
        done.events as f64 / took
    ))?;
    let late = shown(&stage.pool).await?;
    say(&format!(
        "its daily, weekly and monthly reports were there {:.1} s later",
        late.as_secs_f64()
    ))?;
    verify(&session, workflow).await
}

/// Waits for the end of a rebuild.
async fn rebuild(session: &Session, workflow: &Workflow) -> anyhow::Result<RebuildReportsResponse> {
    let request = RebuildReportsRequest {
        workflow_id: workflow.id.clone(),
        ..Default::default()
    };
    let mut client = session.reports.clone();
    let mut told = client.rebuild_reports(request).await?.into_inner();
    let mut last = None;
    while let Some(message) = told.message().await? {
        last = Some(message);
    }
    let done = last.filter(|message| message.done);
    done.context("a rebuild says when it is done")
}

async fn verify(session: &Session, workflow: &Workflow) -> anyhow::Result<()> {
    // The last that is whole: the year ends in the present one.
    let report = months(session, workflow).await?.remove(1);
    let since = report.period_start.as_ref().map(wire::instant).transpose();
    let since = since.map_err(anyhow::Error::msg)?;
    let since = since.context("a report has its period")?;
    let begun = Instant::now();
    let request = VerifyReportRequest { id: report.id };
    let mut client = session.reports.clone();
    let verified = client.verify_report(request).await?.into_inner();
    anyhow::ensure!(
        verified.outcome() == VerifyOutcome::Equal && verified.executions > 0,
        "the report of a month is not what history says: {verified:?}"
    );
    say(&format!(
        "its report of {} is what {} events of {} executions say, verified in {:.1} s",
        since.format("%B"),
        verified.events,
        verified.executions,
        begun.elapsed().as_secs_f64()
    ))
}
