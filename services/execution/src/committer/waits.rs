//! What branches wait for, as rows. Invariant: every branch of an open execution has one.

use model::graph::Graph;
use model::kind::Kind;
use serde_json::{Value, json};

use super::load::{Loaded, entered};
use crate::engine::{Branch, Execution, Hold};
use crate::store::executions::Wait;
use crate::store::write::Waits;

/// Adds the rows of branches that are new, or wait for something else than found.
pub(super) fn push(rows: &mut Waits, loaded: &Loaded) {
    for branch in entered(loaded) {
        let timeout = loaded.graph.nodes[branch.step].timeout;
        let timeout = timeout.and_then(|limit| limit.as_millis().try_into().ok());
        rows.timeout_ms.push(timeout);
        rows.arrived_at.push(branch.times.arrived_at);
        let item = branch.item.as_ref();
        rows.item_of.push(item.map(|item| item.of));
        let fields = item.map(|item| Value::Object(item.fields.clone()));
        rows.item.push(fields);
        rows.lease_until.push(match &branch.hold {
            Hold::Job { lease_until, .. } => *lease_until,
            _ => None,
        });
        let wait = row(&loaded.graph, branch);
        add(rows, &loaded.execution, wait);
    }
}

/// What a branch waits for, as its row says it.
pub(super) fn row(graph: &Graph, branch: &Branch) -> Wait {
    let (kind, job_type, held_by) = match &branch.hold {
        Hold::Runnable => ("runnable", None, None),
        Hold::Job {
            job_type, held_by, ..
        } => ("job", Some(job_type.clone()), held_by.clone()),
        Hold::Person { claimed_by, .. } => ("person", None, claimed_by.clone()),
        Hold::Timer { .. } => ("timer", None, None),
        Hold::Join { .. } => ("join", None, None),
        Hold::Items { .. } => ("children", None, None),
        Hold::Lock { .. } => ("lock", None, None),
        Hold::Child { .. } => ("children", None, None),
        Hold::Signal { .. } => ("signal", None, None),
        Hold::Incident { .. } => ("incident", None, None),
    };
    let (signal_name, correlation) = match &branch.hold {
        Hold::Signal {
            name, correlation, ..
        } => (Some(name.clone()), correlation.clone()),
        _ => (None, None),
    };
    let (error_code, error) = match &branch.hold {
        Hold::Incident { failure } => (Some(failure.code.clone()), Some(failure.message.clone())),
        _ => (None, None),
    };
    let audience = match &graph.nodes[branch.step].kind {
        Kind::Approval(audience) | Kind::DataEntry(audience) => Some(audience),
        _ => None,
    };
    Wait {
        id: branch.id,
        step_id: graph.definition.steps[branch.step].id,
        kind: kind.to_owned(),
        created_at: branch.times.queued_at,
        wake_at: branch.hold.wake_at(branch.times.queued_at),
        available_at: branch.times.available_at,
        job_type,
        held_by,
        task_group: audience.and_then(|audience| audience.group.clone()),
        assignees: audience.map_or_else(Vec::new, |audience| audience.assignees.clone()),
        signal_name,
        correlation,
        error_code,
        error,
        lock_key: branch.lock.clone(),
    }
}

fn add(rows: &mut Waits, execution: &Execution, wait: Wait) {
    rows.id.push(wait.id);
    rows.execution_id.push(execution.id);
    rows.workflow_id.push(execution.workflow_id);
    rows.client_id.push(execution.client_id);
    rows.step_id.push(wait.step_id);
    rows.kind.push(wait.kind);
    rows.created_at.push(wait.created_at);
    rows.wake_at.push(wait.wake_at);
    rows.available_at.push(wait.available_at);
    rows.job_type.push(wait.job_type);
    rows.held_by.push(wait.held_by);
    rows.task_group.push(wait.task_group);
    rows.assignees.push(json!(wait.assignees));
    rows.signal_name.push(wait.signal_name);
    rows.correlation.push(wait.correlation);
    rows.error_code.push(wait.error_code);
    rows.error.push(wait.error);
    rows.lock_key.push(wait.lock_key);
}
