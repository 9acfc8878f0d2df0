//! XES, as IEEE 1849 has it. Invariant: events of a trace come in the order of time.

use std::fmt::Write;
use std::iter::once;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Case, Line, instant, resource};
use crate::store::exports::Attempt;

const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<log xes.version="1849.2016" xes.features="" xmlns="http://www.xes-standard.org/">
<extension name="Concept" prefix="concept" uri="http://www.xes-standard.org/concept.xesext"/>
<extension name="Lifecycle" prefix="lifecycle" uri="http://www.xes-standard.org/lifecycle.xesext"/>
<extension name="Time" prefix="time" uri="http://www.xes-standard.org/time.xesext"/>
<extension name="Organizational" prefix="org" uri="http://www.xes-standard.org/org.xesext"/>
<global scope="trace">
<string key="concept:name" value=""/>
</global>
<global scope="event">
<string key="concept:name" value=""/>
<string key="lifecycle:transition" value="complete"/>
<date key="time:timestamp" value="1970-01-01T00:00:00.000000Z"/>
</global>
<classifier name="Activity" keys="concept:name"/>
<classifier name="Activity and transition" keys="concept:name lifecycle:transition"/>
"#;

pub(super) fn open(workflow_id: Uuid) -> Line {
    let mut head = HEAD.to_owned();
    attribute(
        &mut head,
        "string",
        "concept:name",
        &workflow_id.to_string(),
    );
    head
}

pub(super) fn close() -> Line {
    "</log>\n".to_owned()
}

pub(super) fn trace(case: &Case) -> impl Iterator<Item = Line> + Send + '_ {
    let moments = moments(&case.attempts).into_iter();
    let events = moments.map(|moment| event(case, &case.attempts[moment.at], &moment));
    once(head(case))
        .chain(events)
        .chain(once("</trace>\n".to_owned()))
}

fn head(case: &Case) -> Line {
    let mut told = "<trace>\n".to_owned();
    let row = &case.row;
    attribute(&mut told, "string", "concept:name", &case.name());
    attribute(&mut told, "string", "execution_id", &row.id.to_string());
    attribute(
        &mut told,
        "int",
        "workflow_version",
        &row.workflow_version.to_string(),
    );
    attribute(&mut told, "string", "status", &row.status);
    attribute(&mut told, "date", "started_at", &instant(row.started_at));
    if let Some(completed_at) = row.completed_at {
        attribute(&mut told, "date", "completed_at", &instant(completed_at));
    }
    told
}

/// When somebody began to work on an attempt, or it was over.
struct Moment {
    time: DateTime<Utc>,
    /// Which attempt.
    at: usize,
    is_end: bool,
}

fn moments(attempts: &[Attempt]) -> Vec<Moment> {
    let all = attempts.iter().enumerate().flat_map(|(at, attempt)| {
        let moment = |time: Option<DateTime<Utc>>, is_end| {
            Some(Moment {
                time: time?,
                at,
                is_end,
            })
        };
        let start = moment(attempt.assigned_at, false);
        start.into_iter().chain(moment(attempt.completed_at, true))
    });
    let mut all: Vec<Moment> = all.collect();
    all.sort_by_key(|moment| (moment.time, moment.at, moment.is_end));
    all
}

fn event(case: &Case, attempt: &Attempt, moment: &Moment) -> Line {
    let mut told = "<event>\n".to_owned();
    let step = case.step(attempt);
    let id = attempt.step_id.to_string();
    attribute(
        &mut told,
        "string",
        "concept:name",
        step.map_or(&id, |it| &it.name),
    );
    let transition = if moment.is_end { "complete" } else { "start" };
    attribute(&mut told, "string", "lifecycle:transition", transition);
    attribute(&mut told, "date", "time:timestamp", &instant(moment.time));
    if let Some(resource) = resource(attempt) {
        attribute(&mut told, "string", "org:resource", &resource);
    }
    attribute(
        &mut told,
        "string",
        "step_key",
        step.map_or("", |it| &it.key),
    );
    attribute(
        &mut told,
        "int",
        "activation",
        &attempt.activation.to_string(),
    );
    attribute(&mut told, "int", "attempt", &attempt.attempt.to_string());
    if moment.is_end {
        attribute(&mut told, "string", "status", &attempt.status);
        attribute(&mut told, "date", "queued_at", &instant(attempt.queued_at));
        attribute(
            &mut told,
            "date",
            "available_at",
            &instant(attempt.available_at),
        );
        if let Some(code) = &attempt.error_code {
            attribute(&mut told, "string", "error_code", code);
        }
    }
    told.push_str("</event>\n");
    told
}

fn attribute(into: &mut String, kind: &str, key: &str, value: &str) {
    let value = escaped(value);
    writeln!(into, "<{kind} key=\"{key}\" value=\"{value}\"/>").expect("a String takes all");
}

/// A text as it stands in an attribute. What XML 1.0 cannot hold, not even escaped, is replaced.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' => escaped.push_str("&#9;"),
            '\n' => escaped.push_str("&#10;"),
            '\r' => escaped.push_str("&#13;"),
            '\0'..'\u{20}' | '\u{FFFE}' | '\u{FFFF}' => escaped.push('\u{FFFD}'),
            c => escaped.push(c),
        }
    }
    escaped
}
