//! Reads the reports once they know everything that happened, and counts the executions themselves for
//! comparison. Never adjusts one by the other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use proto::execution::v1::{ExecutionStatus, ListExecutionsRequest, ListExecutionsResponse};
use proto::reporting::v1::{
    ExecutionFigures, ListReportsRequest, ListReportsResponse, ReportType, SummarizeReportsRequest,
    SummarizeReportsResponse,
};
use serde_json::Value;

use crate::client::{Session, again};

/// Reports are said to be two seconds behind at most; after this long a difference is one.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);

/// How many executions there are, by how they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub total: i64,
    pub completed: i64,
    pub failed: i64,
    pub cancelled: i64,
    pub open: i64,
}

impl Counts {
    pub fn of(figures: &ExecutionFigures) -> Self {
        Self {
            total: figures.total_executions,
            completed: figures.completed_executions,
            failed: figures.failed_executions,
            cancelled: figures.cancelled_executions,
            open: figures.running_executions,
        }
    }

    fn add(&mut self, other: Self) {
        self.total += other.total;
        self.completed += other.completed;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.open += other.open;
    }
}

/// Figures by kind of period and by the second at which the period starts.
pub type Periods = BTreeMap<(ReportType, i64), Counts>;

/// What the reports say and what is so.
#[derive(Debug)]
pub struct Findings {
    pub summary: SummarizeReportsResponse,
    /// The daily, weekly and monthly rows of the demo's workflows, added up over these.
    pub periods: Periods,
    /// The executions themselves.
    pub executions: Counts,
    /// Whether both are the same, and the periods add up to the summary.
    pub agree: bool,
}

/// Waits until the reports include everything that has happened, and compares.
pub async fn settled(session: &Session, workflows: &[String]) -> anyhow::Result<Findings> {
    let begun = Instant::now();
    loop {
        let (executions, latest) = count(session).await?;
        let summary = summarize(session).await?;
        let periods = periods(session, workflows).await?;
        let known = summary
            .complete_through
            .as_ref()
            .map(|at| (at.seconds, at.nanos));
        let agree = known > latest
            && executions == total(&summary)
            && periods_add_up(&summary, &periods, workflows);
        if agree || begun.elapsed() > PATIENCE {
            return Ok(Findings {
                summary,
                periods,
                executions,
                agree,
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The summary's figures of everything.
pub fn total(summary: &SummarizeReportsResponse) -> Counts {
    summary.total.as_ref().map(Counts::of).unwrap_or_default()
}

fn periods_add_up(
    summary: &SummarizeReportsResponse,
    periods: &Periods,
    workflows: &[String],
) -> bool {
    let mut expected = Counts::default();
    for figures in &summary.by_workflow {
        if workflows.contains(&figures.id) {
            expected.add(Counts::of(figures));
        }
    }
    [ReportType::Daily, ReportType::Weekly, ReportType::Monthly]
        .into_iter()
        .all(|wanted| {
            let mut sum = Counts::default();
            for ((kind, _), counts) in periods {
                if *kind == wanted {
                    sum.add(*counts);
                }
            }
            sum == expected
        })
}

/// Counts every execution that is no simulation, and says when the last of them moved.
async fn count(session: &Session) -> anyhow::Result<(Counts, Option<(i64, i32)>)> {
    let mut counts = Counts::default();
    let mut latest = None;
    let mut request = ListExecutionsRequest {
        page_size: 1000,
        filter: "simulation = false".into(),
        ..Default::default()
    };
    loop {
        let ListExecutionsResponse {
            executions,
            next_page_token,
        } = again(
            &session.executions,
            &request,
            |mut client, request| async move { client.list_executions(request).await },
        )
        .await
        .context("ListExecutions")?;
        for execution in &executions {
            counts.total += 1;
            match execution.status() {
                ExecutionStatus::Completed => counts.completed += 1,
                ExecutionStatus::Failed => counts.failed += 1,
                ExecutionStatus::Cancelled => counts.cancelled += 1,
                _ => counts.open += 1,
            }
            let moved = execution
                .updated_at
                .as_ref()
                .map(|at| (at.seconds, at.nanos));
            latest = latest.max(moved);
        }
        if next_page_token.is_empty() {
            return Ok((counts, latest));
        }
        request.page_token = next_page_token;
    }
}

async fn summarize(session: &Session) -> anyhow::Result<SummarizeReportsResponse> {
    let request = SummarizeReportsRequest::default();
    again(
        &session.reports,
        &request,
        |mut client, request| async move { client.summarize_reports(request).await },
    )
    .await
    .context("SummarizeReports")
}

async fn periods(session: &Session, workflows: &[String]) -> anyhow::Result<Periods> {
    let mut periods = Periods::new();
    for workflow in workflows {
        for kind in ["daily", "weekly", "monthly"] {
            let mut request = ListReportsRequest {
                page_size: 1000,
                filter: format!("workflow_id = \"{workflow}\" AND report_type = \"{kind}\""),
                ..Default::default()
            };
            loop {
                let ListReportsResponse {
                    reports,
                    next_page_token,
                } = again(
                    &session.reports,
                    &request,
                    |mut client, request| async move { client.list_reports(request).await },
                )
                .await
                .context("ListReports")?;
                for report in &reports {
                    let start = report.period_start.as_ref().map_or(0, |at| at.seconds);
                    let figures = report
                        .metrics
                        .as_ref()
                        .and_then(|metrics| model::wire::json_from_struct(metrics).ok())
                        .unwrap_or_default();
                    let number = |key: &str| figures.get(key).and_then(Value::as_i64).unwrap_or(0);
                    periods
                        .entry((report.report_type(), start))
                        .or_default()
                        .add(Counts {
                            total: number("totalExecutions"),
                            completed: number("completedExecutions"),
                            failed: number("failedExecutions"),
                            cancelled: number("cancelledExecutions"),
                            open: number("runningExecutions"),
                        });
                }
                if next_page_token.is_empty() {
                    break;
                }
                request.page_token = next_page_token;
            }
        }
    }
    Ok(periods)
}
