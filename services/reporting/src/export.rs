//! Reports as a document. Invariant: every row of a table has a field for each column, and each report is one line.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::store::reports::Report;

/// The form of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180.
    Csv,
    /// One array.
    Json,
}

const COLUMNS: [&str; 7] = [
    "id",
    "workflow_id",
    "execution_id",
    "report_type",
    "period_start",
    "period_end",
    "created_at",
];

/// The metrics that are single values: of periods, then of executions.
pub const METRICS: [&str; 22] = [
    "totalExecutions",
    "completedExecutions",
    "failedExecutions",
    "cancelledExecutions",
    "runningExecutions",
    "successRate",
    "averageExecutionTime",
    "minExecutionTime",
    "maxExecutionTime",
    "p50ExecutionTime",
    "p90ExecutionTime",
    "p95ExecutionTime",
    "p99ExecutionTime",
    "targetsMet",
    "targetsMissed",
    "incidents",
    "averageIncidentTime",
    "status",
    "workflowVersion",
    "clientId",
    "executionTime",
    "targetMet",
];

impl Format {
    /// What a document begins with.
    pub fn open(self) -> String {
        match self {
            Self::Csv => row(COLUMNS.into_iter().chain(METRICS).map(str::to_owned)),
            Self::Json => "[".to_owned(),
        }
    }

    pub fn line(self, report: &Report, is_first: bool) -> String {
        match (self, is_first) {
            (Self::Csv, _) => csv(report),
            (Self::Json, true) => format!("\n{}", object(report)),
            (Self::Json, false) => format!(",\n{}", object(report)),
        }
    }

    /// What it ends with.
    pub fn close(self) -> &'static str {
        match self {
            Self::Csv => "",
            Self::Json => "\n]\n",
        }
    }
}

fn csv(report: &Report) -> String {
    let id = |id: Option<uuid::Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    let own = [
        report.id.to_string(),
        report.workflow_id.to_string(),
        id(report.execution_id),
        report.report_type.clone(),
        instant(report.period_start),
        report.period_end.map(instant).unwrap_or_default(),
        instant(report.created_at),
    ];
    let metrics = METRICS.iter().map(|name| match report.metrics.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    });
    row(own.into_iter().chain(metrics))
}

fn row(fields: impl Iterator<Item = String>) -> String {
    let mut row = fields.map(quoted).collect::<Vec<_>>().join(",");
    row.push_str("\r\n");
    row
}

fn quoted(field: String) -> String {
    match field.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field,
    }
}

fn object(report: &Report) -> Value {
    json!({
        "id": report.id,
        "workflowId": report.workflow_id,
        "executionId": report.execution_id,
        "reportType": report.report_type,
        "periodStart": instant(report.period_start),
        "periodEnd": report.period_end.map(instant),
        "createdAt": instant(report.created_at),
        "metrics": report.metrics,
    })
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
