//! The rows that the engine writes for the measured workflows, made without the engine.

use chrono::{DateTime, Utc};
use execution::write::{Logs, MovedExecutions, NewExecutions, Waits};
use proto::catalog::v1::Workflow;
use serde_json::{Value, json};
use uuid::Uuid;

/// About what the events of one execution take in the outbox, encoded.
pub const EVENT_BYTES: usize = 70;

/// The ids that rows refer to.
pub struct Ids {
    pub workflow: Uuid,
    pub client: Uuid,
    pub steps: Vec<Uuid>,
    pub transitions: Vec<Uuid>,
}

impl Ids {
    pub fn of(workflow: &Workflow) -> anyhow::Result<Self> {
        let steps = workflow.steps.iter().map(|step| step.id.parse());
        let transitions = workflow.transitions.iter().map(|t| t.id.parse());
        Ok(Self {
            workflow: workflow.id.parse()?,
            client: workflow.client_id.parse()?,
            steps: steps.collect::<Result<_, _>>()?,
            transitions: transitions.collect::<Result<_, _>>()?,
        })
    }
}

pub fn executions(ids: &Ids, count: usize, status: &str, events: i32) -> NewExecutions {
    let now = now();
    let completed = (status == "COMPLETED").then_some(now);
    let metadata = json!({ "inputData": { "amount": 42, "customer": "c-17" } });
    NewExecutions {
        id: (0..count).map(|_| Uuid::now_v7()).collect(),
        workflow_id: vec![ids.workflow; count],
        client_id: vec![ids.client; count],
        status: vec![status.to_owned(); count],
        started_at: vec![now; count],
        completed_at: vec![completed; count],
        metadata: vec![Some(metadata); count],
        updated_at: vec![now; count],
        workflow_version: vec![1; count],
        started_by: vec![Uuid::nil().to_string(); count],
        error: vec![None; count],
        error_code: vec![None; count],
        simulation: vec![false; count],
        event_count: vec![events; count],
        closing_as: vec![None; count],
        business_key: vec![None; count],
        restarted_from_id: vec![None; count],
        schedule_id: vec![None; count],
        parent_execution_id: vec![None; count],
    }
}

/// The present, to the microsecond that the database keeps.
pub fn now() -> DateTime<Utc> {
    let since = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap_or_default();
    DateTime::from_timestamp_micros(since.as_micros() as i64).unwrap_or_default()
}

/// The log of one step for each execution.
pub fn logs(ids: &Ids, executions: &[Uuid], step: usize, status: &str) -> Logs {
    let (count, now) = (executions.len(), now());
    let over = status == "COMPLETED";
    let route = ids.transitions.get(step).map(|id| {
        let told = json!({ "default": true, "holds": true, "to": "s2", "transitionId": id });
        json!({ "candidates": [told], "taken": [id] })
    });
    Logs {
        id: (0..count).map(|_| Uuid::now_v7()).collect(),
        execution_id: executions.to_vec(),
        step_id: vec![ids.steps[step]; count],
        status: vec![status.to_owned(); count],
        message: vec![None; count],
        data: vec![None; count],
        error: vec![None; count],
        error_code: vec![None; count],
        started_at: vec![now; count],
        completed_at: vec![over.then_some(now); count],
        seq: vec![step as i32 + 1; count],
        activation: vec![1; count],
        attempt: vec![1; count],
        queued_at: vec![now; count],
        available_at: vec![now; count],
        assigned_at: vec![None; count],
        route: vec![route.filter(|_| over); count],
        will_retry: vec![false; count],
        event_seq: vec![over.then_some(step as i32 + 2); count],
        item_index: vec![None; count],
        from_seq: vec![(step > 0).then_some(step as i32); count],
        incident: vec![false; count],
        taken_over: vec![false; count],
    }
}

/// What the report of one execution says.
pub fn report(ids: &Ids) -> Value {
    let step = json!({ "activations": 1, "completed": 1, "totalTime": 0 });
    let steps = ids.steps.iter().map(|id| (id.to_string(), step.clone()));
    let taken = ids.transitions.iter().map(|id| {
        (
            id.to_string(),
            json!({ "fromStepId": ids.steps[0], "taken": 1 }),
        )
    });
    json!({
        "status": "COMPLETED",
        "workflowVersion": 1,
        "clientId": ids.client,
        "executionTime": 0,
        "steps": steps.collect::<serde_json::Map<_, _>>(),
        "transitions": taken.collect::<serde_json::Map<_, _>>(),
    })
}

/// Adds `more` to `logs`.
pub fn append(logs: &mut Logs, more: Logs) {
    logs.id.extend(more.id);
    logs.execution_id.extend(more.execution_id);
    logs.step_id.extend(more.step_id);
    logs.status.extend(more.status);
    logs.message.extend(more.message);
    logs.data.extend(more.data);
    logs.error.extend(more.error);
    logs.error_code.extend(more.error_code);
    logs.started_at.extend(more.started_at);
    logs.completed_at.extend(more.completed_at);
    logs.seq.extend(more.seq);
    logs.activation.extend(more.activation);
    logs.attempt.extend(more.attempt);
    logs.queued_at.extend(more.queued_at);
    logs.available_at.extend(more.available_at);
    logs.assigned_at.extend(more.assigned_at);
    logs.route.extend(more.route);
    logs.will_retry.extend(more.will_retry);
    logs.event_seq.extend(more.event_seq);
    logs.item_index.extend(more.item_index);
    logs.from_seq.extend(more.from_seq);
    logs.incident.extend(more.incident);
    logs.taken_over.extend(more.taken_over);
}

/// Ends logs that were written open.
pub fn complete(logs: &mut Logs, step: usize) {
    let now = now();
    logs.status.fill("COMPLETED".to_owned());
    logs.data.fill(Some(json!({ "done": "j1" })));
    logs.completed_at.fill(Some(now));
    logs.assigned_at.fill(Some(now));
    logs.event_seq.fill(Some(step as i32 + 2));
}

/// A job for each log.
pub fn waits(ids: &Ids, logs: &Logs, step: usize) -> Waits {
    let (count, now) = (logs.id.len(), now());
    Waits {
        id: logs.id.clone(),
        execution_id: logs.execution_id.clone(),
        workflow_id: vec![ids.workflow; count],
        client_id: vec![ids.client; count],
        step_id: vec![ids.steps[step]; count],
        kind: vec!["job".to_owned(); count],
        created_at: vec![now; count],
        arrived_at: vec![now; count],
        wake_at: vec![None; count],
        available_at: vec![now; count],
        job_type: vec![Some("floor".to_owned()); count],
        timeout_ms: vec![None; count],
        held_by: vec![None; count],
        lease_until: vec![None; count],
        task_group: vec![None; count],
        assignees: vec![json!([]); count],
        signal_name: vec![None; count],
        correlation: vec![None; count],
        error_code: vec![None; count],
        error: vec![None; count],
        item_of: vec![None; count],
        item: vec![None; count],
        lock_key: vec![None; count],
    }
}

pub fn moved(executions: &[Uuid], status: &str, events: i32) -> MovedExecutions {
    let (count, now) = (executions.len(), now());
    let completed = (status == "COMPLETED").then_some(now);
    MovedExecutions {
        id: executions.to_vec(),
        status: vec![status.to_owned(); count],
        completed_at: vec![completed; count],
        error: vec![None; count],
        error_code: vec![None; count],
        event_count: vec![events; count],
        closing_as: vec![None; count],
        updated_at: vec![now; count],
    }
}

/// What the engine remembers of an execution after some steps.
pub fn memories(count: usize, steps: usize) -> Vec<Value> {
    let memory = json!({
        "lastAt": now(), "logCount": steps, "activations": steps, "contextBytes": 80,
        "arrivals": {}, "outputs": (0..steps).map(|n| json!({ "seq": n, "latest": true })).collect::<Vec<_>>(),
    });
    vec![memory; count]
}
