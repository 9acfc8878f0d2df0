//! What an imported execution says of its steps. Invariant: every instant that is missing is filled in before it is
//! compared, and whatever is wrong is told with its field.

use std::collections::HashMap;

use chassis::input::Input;
use chrono::{DateTime, Utc};
use model::graph::Graph;
use model::json::INPUT;
use model::status::StepStatus;
use proto::execution::v1 as pb;
use uuid::Uuid;

use super::said::{Told, failure, instant, text};
use crate::import::Attempt;
use crate::who::done_by;

const LONGEST_MESSAGE: usize = 1000;
const LONGEST_RESOURCE: usize = 200;

/// The steps of a version, as older systems may call them.
pub(super) struct Steps<'a> {
    pub graph: &'a Graph,
    keys: HashMap<&'a str, usize>,
    names: HashMap<&'a str, usize>,
}

impl<'a> Steps<'a> {
    pub fn of(graph: &'a Graph) -> Self {
        let steps = || graph.definition.steps.iter().enumerate();
        Self {
            graph,
            keys: steps().map(|(at, step)| (step.key.as_str(), at)).collect(),
            names: steps().map(|(at, step)| (step.name.as_str(), at)).collect(),
        }
    }

    /// Logs tell names. A key may have been made from another step's name: `decide` from "Decide".
    fn find(&self, called: &str) -> Option<usize> {
        let by_id = || self.graph.node_of(Uuid::try_parse(called).ok()?);
        let known = self.names.get(called).or_else(|| self.keys.get(called));
        known.copied().or_else(by_id)
    }
}

/// Reads one attempt; nothing if it is too wrong to be compared with others.
pub(super) fn read(
    input: &mut Input,
    path: &str,
    steps: &Steps,
    sent: pb::ImportedStep,
) -> Option<Attempt> {
    let field = |name: &str| format!("{path}.{name}");
    let node = steps.find(&sent.step);
    if node.is_none() {
        let version = steps.graph.definition.version;
        let wrong = match sent.step.is_empty() {
            true => "is required".to_owned(),
            false => format!("is no name, key or id of a step in version {version}"),
        };
        input.push(field("step"), wrong);
    }
    let status = match pb::StepStatus::try_from(sent.status) {
        Ok(pb::StepStatus::Unspecified | pb::StepStatus::Completed) => StepStatus::Completed,
        Ok(pb::StepStatus::Failed) => StepStatus::Failed,
        Ok(pb::StepStatus::Skipped) => StepStatus::Skipped,
        _ => {
            input.push(field("status"), "is none of COMPLETED, FAILED, SKIPPED");
            StepStatus::Completed
        }
    };
    if sent.attempt < 0 {
        input.push(field("attempt"), "is negative; 0 or 1 is a new arrival");
    }
    let output = input.json(&field("output"), sent.output.as_ref(), INPUT);
    let told = Told {
        error: &sent.error,
        code: &sent.error_code,
        default: (status == StepStatus::Failed).then_some("FAILED"),
        is_allowed: status != StepStatus::Completed,
    };
    let failure = failure(input, path, told);
    let message = message(input, path, status, &sent);
    let times = times(input, path, &sent)?;
    Some(Attempt {
        node: node?,
        status,
        queued_at: times.queued_at,
        available_at: times.available_at,
        assigned_at: times.assigned_at,
        completed_at: times.completed_at,
        number: sent.attempt.max(1),
        output,
        message,
        failure,
    })
}

/// Who did it, where logs of the platform's own tell it, and what else is said.
fn message(
    input: &mut Input,
    path: &str,
    status: StepStatus,
    sent: &pb::ImportedStep,
) -> Option<String> {
    let said = text(input, path, ("message", &sent.message), LONGEST_MESSAGE);
    match text(input, path, ("resource", &sent.resource), LONGEST_RESOURCE) {
        Some(resource) => Some(done_by(status, &resource, said.as_deref())),
        None => said,
    }
}

struct Times {
    queued_at: DateTime<Utc>,
    available_at: DateTime<Utc>,
    assigned_at: Option<DateTime<Utc>>,
    completed_at: DateTime<Utc>,
}

fn times(input: &mut Input, path: &str, sent: &pb::ImportedStep) -> Option<Times> {
    let mut read = |name: &str, sent| instant(input, path, name, sent);
    let given = [
        ("queued_at", read("queued_at", sent.queued_at.as_ref())),
        (
            "available_at",
            read("available_at", sent.available_at.as_ref()),
        ),
        (
            "assigned_at",
            read("assigned_at", sent.assigned_at.as_ref()),
        ),
        (
            "completed_at",
            read("completed_at", sent.completed_at.as_ref()),
        ),
    ];
    if sent.completed_at.is_none() {
        input.push(format!("{path}.completed_at"), "is required");
    }
    let in_order = given.iter().filter_map(|(name, at)| Some((*name, (*at)?)));
    let in_order: Vec<(&str, DateTime<Utc>)> = in_order.collect();
    for pair in in_order.windows(2) {
        let [(earlier, from), (name, at)] = pair else {
            continue;
        };
        if at < from {
            let wrong =
                format!("is before {earlier}; no instant may be earlier than the one before it");
            input.push(format!("{path}.{name}"), wrong);
        }
    }
    let [
        (_, queued),
        (_, available),
        (_, assigned_at),
        (_, completed),
    ] = given;
    let completed_at = completed?;
    // What is missing is not later than what follows it.
    let queued_at = queued.or(assigned_at.into_iter().chain(available).min());
    let queued_at = queued_at.unwrap_or(completed_at);
    Some(Times {
        queued_at,
        available_at: available.unwrap_or(queued_at),
        assigned_at,
        completed_at,
    })
}
