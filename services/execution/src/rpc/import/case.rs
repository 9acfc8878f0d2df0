//! An imported execution as it was sent. Invariant: what is read of it can be stored and told as it is; whatever is wrong
//! with it is told at once.

use chassis::Result;
use chassis::input::Input;
use chrono::{DateTime, Utc};
use model::json::{INPUT, Limit};
use model::status::ExecutionStatus;
use prost::Message;
use proto::execution::v1 as pb;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::LONGEST_CASE_ID;
use super::said::{Told, failure, instant};
use super::steps::{self, Steps};
use crate::import::{self, Attempt, Case, Target};

const MOST_STEPS: usize = 10_000;
/// It becomes a part of the metadata, which may be one level deeper.
const INPUT_DATA: Limit = Limit {
    depth: INPUT.depth - 1,
    ..INPUT
};

/// Reads the execution at a place of its request.
pub(super) fn read(
    steps: &Steps,
    target: &Target,
    at: usize,
    mut sent: pb::ImportedExecution,
) -> Result<Case> {
    let hash = Sha256::digest(sent.encode_to_vec()).to_vec();
    let mut input = Input::new();
    let path = format!("executions[{at}]");
    let field = |name: &str| format!("{path}.{name}");
    let case_id = input.name(&field("case_id"), &sent.case_id, 1..=LONGEST_CASE_ID);
    let status = status(&mut input, &path, sent.status);
    let input_data = input.json(&field("input_data"), sent.input_data.as_ref(), INPUT_DATA);
    let told = Told {
        error: &sent.error,
        code: &sent.error_code,
        default: (status != ExecutionStatus::Completed).then(|| status.as_str()),
        is_allowed: status != ExecutionStatus::Completed,
    };
    let failure = failure(&mut input, &path, told);
    let attempts = attempts(&mut input, &path, steps, std::mem::take(&mut sent.steps));
    let span = span(&mut input, &path, &sent, &attempts);
    let execution_id = target.execution_id(&case_id);
    let attempts: Option<Vec<Attempt>> = attempts.into_iter().collect();
    let logs = attempts.map(|attempts| import::logs(steps.graph, execution_id, attempts));
    if let Some(Err(lost)) = &logs {
        for at in lost {
            let wrong = "continues no attempt: the one before it is not the last of the step that ended \
                         earlier, or did not fail";
            input.push(format!("{path}.steps[{at}].attempt"), wrong);
        }
    }
    input.finish()?;
    let (Some(Ok(logs)), Some((started_at, completed_at))) = (logs, span) else {
        return Err(chassis::Error::internal(
            "a case that is not wrong is not complete",
        ));
    };
    Ok(Case {
        execution_id,
        case_id,
        status,
        started_at,
        completed_at,
        metadata: input_data
            .map(|data| Map::from_iter([("inputData".to_owned(), Value::Object(data))])),
        failure,
        logs,
        hash,
    })
}

fn status(input: &mut Input, path: &str, sent: i32) -> ExecutionStatus {
    use pb::ExecutionStatus as Sent;
    match Sent::try_from(sent) {
        Ok(Sent::Unspecified | Sent::Completed) => ExecutionStatus::Completed,
        Ok(Sent::Failed) => ExecutionStatus::Failed,
        Ok(Sent::Cancelled) => ExecutionStatus::Cancelled,
        _ => {
            let wrong =
                "is none of COMPLETED, FAILED, CANCELLED: only what is over can be imported";
            input.push(format!("{path}.status"), wrong);
            ExecutionStatus::Completed
        }
    }
}

fn attempts(
    input: &mut Input,
    path: &str,
    steps: &Steps,
    sent: Vec<pb::ImportedStep>,
) -> Vec<Option<Attempt>> {
    let count = sent.len();
    if count > MOST_STEPS {
        let wrong = format!("has {count} elements; at most {MOST_STEPS} are accepted");
        input.push(format!("{path}.steps"), wrong);
        return vec![None];
    }
    let sent = sent.into_iter().enumerate();
    sent.map(|(at, sent)| steps::read(input, &format!("{path}.steps[{at}]"), steps, sent))
        .collect()
}

/// From when to when the execution lasted; its steps lie within that.
fn span(
    input: &mut Input,
    path: &str,
    sent: &pb::ImportedExecution,
    attempts: &[Option<Attempt>],
) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let started = instant(input, path, "started_at", sent.started_at.as_ref());
    let completed = instant(input, path, "completed_at", sent.completed_at.as_ref());
    if attempts.is_empty() {
        let given = [
            ("started_at", sent.started_at.is_some()),
            ("completed_at", sent.completed_at.is_some()),
        ];
        for (name, _) in given.iter().filter(|(_, is_given)| !is_given) {
            input.push(format!("{path}.{name}"), "is required without steps");
        }
    }
    let known = attempts.iter().enumerate();
    let known = known.filter_map(|(at, attempt)| Some((at, attempt.as_ref()?)));
    for (at, attempt) in known.clone() {
        let path = format!("{path}.steps[{at}]");
        if started.is_some_and(|started| attempt.queued_at < started) {
            let wrong = "the attempt begins before the execution's started_at";
            input.push(format!("{path}.queued_at"), wrong);
        }
        if completed.is_some_and(|completed| attempt.completed_at > completed) {
            let wrong = "is after the execution's completed_at";
            input.push(format!("{path}.completed_at"), wrong);
        }
    }
    if let (Some(started), Some(completed)) = (started, completed)
        && completed < started
    {
        input.push(format!("{path}.completed_at"), "is before started_at");
    }
    let started = started.or_else(|| known.clone().map(|(_, it)| it.queued_at).min())?;
    let completed = completed.or_else(|| known.map(|(_, it)| it.completed_at).max())?;
    Some((started, completed))
}
