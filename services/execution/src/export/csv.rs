//! CSV, as RFC 4180 has it. Invariant: every row has a field for each column.

use super::{Case, Line, instant, resource};
use crate::store::exports::Attempt;

const COLUMNS: [&str; 17] = [
    "case_id",
    "execution_id",
    "workflow_id",
    "workflow_version",
    "execution_status",
    "step_id",
    "step_key",
    "step",
    "activation",
    "attempt",
    "status",
    "queued_at",
    "available_at",
    "started_at",
    "completed_at",
    "resource",
    "error_code",
];

pub(super) fn header() -> Line {
    line(COLUMNS.map(str::to_owned))
}

pub(super) fn rows(case: &Case) -> impl Iterator<Item = Line> + Send + '_ {
    let alone = case.attempts.is_empty().then(|| row(case, None));
    let attempts = case.attempts.iter();
    alone
        .into_iter()
        .chain(attempts.map(|it| row(case, Some(it))))
}

/// One attempt, or an execution without any.
fn row(case: &Case, attempt: Option<&Attempt>) -> Line {
    let step = attempt.and_then(|it| case.step(it));
    let of = |told: fn(&Attempt) -> Option<String>| attempt.and_then(told).unwrap_or_default();
    line([
        case.name(),
        case.row.id.to_string(),
        case.row.workflow_id.to_string(),
        case.row.workflow_version.to_string(),
        case.row.status.clone(),
        of(|it| Some(it.step_id.to_string())),
        step.map(|it| it.key.clone()).unwrap_or_default(),
        step.map(|it| it.name.clone()).unwrap_or_default(),
        of(|it| Some(it.activation.to_string())),
        of(|it| Some(it.attempt.to_string())),
        of(|it| Some(it.status.clone())),
        of(|it| Some(instant(it.queued_at))),
        of(|it| Some(instant(it.available_at))),
        of(|it| it.assigned_at.map(instant)),
        of(|it| it.completed_at.map(instant)),
        of(resource),
        of(|it| it.error_code.clone()),
    ])
}

fn line(fields: [String; COLUMNS.len()]) -> Line {
    let mut line = fields.map(quoted).join(",");
    line.push_str("\r\n");
    line
}

fn quoted(field: String) -> String {
    match field.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field,
    }
}
