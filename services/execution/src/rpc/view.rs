//! Rows as the contract shows them. Invariant: what leaves here fits the limits at which common clients
//! refuse a message.

use model::graph::Graph;
use model::json::{self, INPUT};
use model::kind::{Audience, Kind};
use model::status::{ExecutionStatus, StepStatus};
use model::wire;
use proto::execution::v1 as pb;
use serde_json::{Map, Value};
use sqlx::types::Json;
use uuid::Uuid;

use crate::store::executions::{Execution, Wait};
use crate::store::logs::Log;
use crate::store::tasks::Task;

pub fn execution(row: Execution, waits: Vec<pb::Wait>) -> pb::Execution {
    let status = ExecutionStatus::parse(&row.status).expect("the enum type has the same words");
    let closing_as = row.closing_as.as_deref().and_then(ExecutionStatus::parse);
    pb::Execution {
        id: row.id.to_string(),
        workflow_id: row.workflow_id.to_string(),
        client_id: row.client_id.to_string(),
        status: pb::ExecutionStatus::from(status).into(),
        started_at: Some(wire::timestamp(row.started_at)),
        completed_at: row.completed_at.map(wire::timestamp),
        metadata: row.metadata.map(|object| wire::struct_from_json(&object.0)),
        created_at: Some(wire::timestamp(row.created_at)),
        updated_at: Some(wire::timestamp(row.updated_at)),
        workflow_version: row.workflow_version,
        error: row.error.unwrap_or_default(),
        error_code: row.error_code.unwrap_or_default(),
        waits,
        closing_as: closing_as.map_or(0, |status| pb::ExecutionStatus::from(status).into()),
        revision: row.revision,
        business_key: row.business_key.unwrap_or_default(),
        restarted_from_id: id(row.restarted_from_id),
        schedule_id: id(row.schedule_id),
        started_by: row.started_by.unwrap_or_default(),
        parent_execution_id: id(row.parent_execution_id),
    }
}

/// Kinds of waits as filters name them: in the table they are in lower case.
pub const WAIT_KINDS: &[&str] = &[
    "RUNNABLE", "JOB", "PERSON", "TIMER", "JOIN", "CHILDREN", "LOCK", "SIGNAL", "INCIDENT",
];

/// Empty if there is none.
fn id(id: Option<Uuid>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

fn wait_kind(word: &str) -> pb::WaitKind {
    match word {
        "runnable" => pb::WaitKind::Runnable,
        "job" => pb::WaitKind::Job,
        "person" => pb::WaitKind::Person,
        "timer" => pb::WaitKind::Timer,
        "join" => pb::WaitKind::Join,
        "children" => pb::WaitKind::Children,
        "lock" => pb::WaitKind::Lock,
        "incident" => pb::WaitKind::Incident,
        "signal" => pb::WaitKind::Signal,
        _ => pb::WaitKind::Unspecified,
    }
}

pub fn wait(row: &Wait, graph: &Graph) -> pb::Wait {
    let kind = wait_kind(&row.kind);
    pb::Wait {
        id: row.id.to_string(),
        kind: kind.into(),
        step_id: row.step_id.to_string(),
        step_name: step_name(graph, row.step_id),
        since: Some(wire::timestamp(row.created_at)),
        wake_at: row.wake_at.map(wire::timestamp),
        reason: reason(row, kind, graph),
    }
}

/// Whom or what a branch waits for, in words.
fn reason(row: &Wait, kind: pb::WaitKind, graph: &Graph) -> String {
    match kind {
        pb::WaitKind::Runnable => "the engine to go on".to_owned(),
        pb::WaitKind::Job => {
            let job_type = row.job_type.as_deref().unwrap_or_default();
            match row
                .held_by
                .as_deref()
                .and_then(|holder| holder.split_once('/'))
            {
                Some((_, worker)) => format!("worker {worker:?} to finish {job_type:?}"),
                None if row.available_at > row.created_at => {
                    format!(
                        "a worker for {job_type:?}, from {} on",
                        instant(row.available_at)
                    )
                }
                None => format!("a worker for {job_type:?}"),
            }
        }
        pb::WaitKind::Person => {
            let verb = match graph.node_of(row.step_id).map(|at| &graph.nodes[at].kind) {
                Some(Kind::DataEntry(_)) => "enter data",
                _ => "decide",
            };
            format!("{} to {verb}", people(row))
        }
        pb::WaitKind::Timer => match row.wake_at {
            Some(at) => format!("{} to come", instant(at)),
            None => "an instant to come".to_owned(),
        },
        pb::WaitKind::Signal => {
            let name = row.signal_name.as_deref().unwrap_or_default();
            match &row.correlation {
                Some(correlation) => format!("signal {name:?} for {correlation:?}"),
                None => format!("signal {name:?}"),
            }
        }
        pb::WaitKind::Incident => {
            let code = row.error_code.as_deref().unwrap_or_default();
            let message = row.error.as_deref().unwrap_or_default();
            let message = model::text::clean(message, 200);
            format!("an operator, after {code}: {message}")
        }
        pb::WaitKind::Join => "other branches to come".to_owned(),
        pb::WaitKind::Children => {
            match graph.node_of(row.step_id).map(|at| &graph.nodes[at].kind) {
                Some(Kind::Subworkflow(_)) => format!("execution {}", row.id),
                _ => "its items".to_owned(),
            }
        }
        pb::WaitKind::Lock => format!("the lock {:?}", row.lock_key.as_deref().unwrap_or_default()),
        pb::WaitKind::Unspecified => String::new(),
    }
}

fn people(row: &Wait) -> String {
    if let Some(holder) = &row.held_by {
        return holder.clone();
    }
    let mut names: Vec<String> = Vec::new();
    if let Some(group) = &row.task_group {
        names.push(format!("a member of {group:?}"));
    }
    names.extend(row.assignees.iter().cloned());
    if names.is_empty() {
        return "anybody".to_owned();
    }
    names.join(" or ")
}

fn instant(at: chrono::DateTime<chrono::Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

pub fn step_name(graph: &Graph, step_id: Uuid) -> String {
    let step = graph.node_of(step_id).map(|at| &graph.definition.steps[at]);
    step.map(|step| step.name.clone()).unwrap_or_default()
}

pub fn log(row: Log, graph: &Graph) -> pb::ExecutionLog {
    pb::ExecutionLog {
        id: row.id.to_string(),
        execution_id: row.execution_id.to_string(),
        step_id: row.step_id.map(|id| id.to_string()).unwrap_or_default(),
        status: step_status(&row.status).into(),
        message: row.message.unwrap_or_default(),
        data: row.data.map(|object| wire::struct_from_json(&object.0)),
        error: row.error.unwrap_or_default(),
        started_at: Some(wire::timestamp(row.started_at)),
        completed_at: row.completed_at.map(wire::timestamp),
        step_name: row
            .step_id
            .map(|id| step_name(graph, id))
            .unwrap_or_default(),
        seq: row.seq,
        activation: row.activation,
        attempt: row.attempt,
        queued_at: Some(wire::timestamp(row.queued_at)),
        available_at: Some(wire::timestamp(row.available_at)),
        assigned_at: row.assigned_at.map(wire::timestamp),
        route: row
            .route
            .map(|Json(route)| wire::struct_from_json(&showable(route))),
        error_code: row.error_code.unwrap_or_default(),
        item_index: row.item_index,
        from_seq: row.from_seq.unwrap_or_default(),
    }
}

/// A route that looked at a deep or large value tells its choice without what it saw: a Struct that is
/// nested deeper than an input could be is one that its reader cannot decode.
fn showable(mut route: Map<String, Value>) -> Map<String, Value> {
    if json::check_object(&route, INPUT).is_err() {
        let candidates = route.get_mut("candidates").and_then(Value::as_array_mut);
        for candidate in candidates
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            candidate.remove("seen");
        }
    }
    route
}

pub fn step_status(word: &str) -> pb::StepStatus {
    let status = StepStatus::parse(word).expect("the enum type has the same words");
    pb::StepStatus::from(status)
}

/// A log as a task, without `data`; nothing if its step is not a person's.
pub fn task(row: Task, graph: &Graph) -> Option<pb::Task> {
    let at = graph.node_of(row.step_id)?;
    let step = &graph.definition.steps[at];
    let (Kind::Approval(audience) | Kind::DataEntry(audience)) = &graph.nodes[at].kind else {
        return None;
    };
    let Audience { group, assignees } = audience.clone();
    Some(pb::Task {
        id: row.id.to_string(),
        execution_id: row.execution_id.to_string(),
        workflow_id: row.workflow_id.to_string(),
        client_id: row.client_id.to_string(),
        step_id: row.step_id.to_string(),
        step_name: step.name.clone(),
        step_type: step.step_type.clone(),
        status: step_status(&row.status).into(),
        group: group.unwrap_or_default(),
        assignees,
        claimed_by: row.claimed_by.unwrap_or_default(),
        created_at: Some(wire::timestamp(row.created_at)),
        due_at: row.due_at.map(wire::timestamp),
        config: Some(wire::struct_from_json(&step.config)),
        data: None,
        output: row.output.map(|object| wire::struct_from_json(&object.0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_know_every_kind_of_wait() {
        let kinds = (1..).map_while(|number| pb::WaitKind::try_from(number).ok());
        let mut all: Vec<_> = kinds.map(|kind| kind.as_str_name()).collect();
        let mut known: Vec<String> = WAIT_KINDS
            .iter()
            .filter(|word| wait_kind(&word.to_lowercase()) != pb::WaitKind::Unspecified)
            .map(|word| format!("WAIT_KIND_{word}"))
            .collect();
        all.sort_unstable();
        known.sort_unstable();
        assert_eq!(all, known);
    }
}
