//! A leased job as its worker gets it. Invariant: it looks the same whichever way it was leased.

use chrono::{DateTime, Utc};
use model::graph::Graph;
use model::wire;
use prost_types::Struct;
use uuid::Uuid;

pub use proto::execution::v1::Job;

use crate::store::jobs::{Attempt, Locked};

/// A job before it has a holder.
pub fn message(job: &Locked, graph: &Graph, mut data: Struct) -> Job {
    if let Some(item) = &job.item {
        data.fields.extend(wire::struct_from_json(item).fields);
    }
    let step = graph
        .node_of(job.step_id)
        .map(|at| &graph.definition.steps[at]);
    Job {
        id: job.id.to_string(),
        execution_id: job.execution_id.to_string(),
        workflow_id: job.workflow_id.to_string(),
        client_id: job.client_id.to_string(),
        step_id: job.step_id.to_string(),
        step_name: step.map(|step| step.name.clone()).unwrap_or_default(),
        job_type: job.job_type.clone(),
        config: step.map(|step| wire::struct_from_json(&step.config)),
        data: Some(data),
        ..Job::default()
    }
}

/// The id of a job that was made here.
pub fn id(job: &Job) -> Uuid {
    job.id.parse().expect("it was written as a UUID")
}

/// Says which attempt it is and until when it is held.
pub fn hold(message: &mut Job, until: DateTime<Utc>, attempt: &Attempt) {
    message.attempt = attempt.attempt;
    message.lease_expires_at = Some(wire::timestamp(until));
    message.idempotency_key = format!(
        "{}/{}/{}/{}",
        message.execution_id, message.step_id, attempt.activation, attempt.attempt
    );
}
