//! Questions about a year. Invariant: each is asked over the wire, one call after another.

use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;
use model::wire;
use proto::catalog::v1::Workflow;
use proto::reporting::v1::{
    Dimension, GetReportRequest, QueryReportsRequest, SummarizeReportsRequest,
};

use super::super::drive::histogram;
use super::super::limit::at_most;
use super::super::stage::Stage;
use super::super::{rows, say};
use super::months;

/// How often each is asked.
const TIMES: usize = 20;
/// Milliseconds.
const LIMIT: f64 = 1000.0;
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// What rows are made by.
const QUERIES: [(&str, &[Dimension]); 3] = [
    ("day and step", &[Dimension::Day, Dimension::Step]),
    ("weekday and hour", &[Dimension::Weekday, Dimension::Hour]),
    ("month and version", &[Dimension::Month, Dimension::Version]),
];

pub async fn measure(stage: &Stage, workflow: &Workflow) -> anyhow::Result<()> {
    let session = stage.sign_in(1).await?.remove(0);
    let today = rows::now().date_naive().and_time(chrono::NaiveTime::MIN);
    let (since, today) = (today.and_utc() - YEAR, today.and_utc());
    let (since, today) = (wire::timestamp(since), wire::timestamp(today));
    let client = || session.reports.clone();
    let asked = repeat(async || {
        let request = SummarizeReportsRequest {
            period_start: Some(since),
            period_end: Some(today),
            workflow_id: workflow.id.clone(),
            ..Default::default()
        };
        let summary = client().summarize_reports(request).await?.into_inner();
        let total = summary.total.unwrap_or_default();
        anyhow::ensure!(total.total_executions > 0, "a year without executions");
        Ok(())
    });
    tell("SummarizeReports over a year", &asked.await?)?;
    let asked = repeat(async || months(&session, workflow).await.map(drop));
    tell("ListReports of its months", &asked.await?)?;
    let longest = months(&session, workflow).await?.into_iter();
    let longest = longest.max_by_key(prost::Message::encoded_len);
    let longest = longest.context("a year has months")?.id;
    let asked = repeat(async || {
        let request = GetReportRequest {
            id: longest.clone(),
        };
        client().get_report(request).await?;
        Ok(())
    });
    tell("GetReport of the longest month", &asked.await?)?;
    for (what, by) in QUERIES {
        let request = QueryReportsRequest {
            period_start: Some(since),
            period_end: Some(today),
            workflow_ids: vec![workflow.id.clone()],
            group_by: by.iter().map(|by| i32::from(*by)).collect(),
            ..Default::default()
        };
        let asked = repeat(async || {
            let answer = client().query_reports(request.clone()).await?.into_inner();
            anyhow::ensure!(!answer.rows.is_empty(), "a year without rows by {what}");
            Ok(())
        });
        let what = format!("QueryReports over a year by {what}");
        tell(&what, &asked.await?)?;
    }
    Ok(())
}

/// How long a call takes; microseconds.
async fn repeat(call: impl AsyncFn() -> anyhow::Result<()>) -> anyhow::Result<Histogram<u64>> {
    let mut latency = histogram();
    for _ in 0..TIMES {
        let called = Instant::now();
        call().await?;
        latency.record(called.elapsed().as_micros() as u64)?;
    }
    Ok(latency)
}

fn tell(what: &str, latency: &Histogram<u64>) -> anyhow::Result<()> {
    let p50 = latency.value_at_quantile(0.5) as f64 / 1000.0;
    let line = format!("ms at most, p50 {p50:.1} ms: {what}");
    say(&at_most(latency.max() as f64 / 1000.0, LIMIT, &line))
}
