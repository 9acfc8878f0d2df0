//! Jobs that go from the commit that queues them straight to a worker whose stream waits here. Invariant: a job is
//! handed over only after the commit that leased it, and with its full lease or not at all.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::load::Loaded;
use crate::dispatch::{Dispatch, Reserved};
use crate::engine::{self, Hold};
use crate::rpc::jobs::job::{self, Job};
use crate::store::jobs::{Attempt, Locked};

/// Bytes of a context with which a job is queued instead: what a worker's stream holds is known only afterwards.
const LARGEST: usize = 16 * 1024;
/// Which part of a lease the commit may take.
const PART: u32 = 10;

/// Jobs that are leased with this transaction.
pub(super) struct Handing {
    /// When the clock was read from which leases run.
    began: Instant,
    leased: Vec<Leased>,
}

struct Leased {
    execution: Uuid,
    seq: i32,
    reserved: Reserved,
}

impl Handing {
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            leased: Vec::new(),
        }
    }

    /// Leases new jobs of an execution for which there is credit.
    pub fn lease(&mut self, dispatch: &Dispatch, loaded: &mut Loaded, now: DateTime<Utc>) {
        if loaded.execution.memory.context_bytes > LARGEST {
            return;
        }
        for branch in &mut loaded.execution.branches {
            if !engine::is_up(branch, now) {
                continue;
            }
            let Hold::Job { job_type, .. } = &branch.hold else {
                continue;
            };
            let Some(reserved) = dispatch.reserve(job_type) else {
                continue;
            };
            let taker = (&*reserved.holder, reserved.lease);
            engine::lease(&loaded.graph, branch, &mut loaded.change, taker, now);
            self.leased.push(Leased {
                execution: loaded.execution.id,
                seq: branch.seq,
                reserved,
            });
        }
    }

    /// After the commit.
    pub fn hand_over(self, dispatch: &Dispatch, executions: &HashMap<Uuid, Loaded>) {
        let took = self.began.elapsed();
        let mut jobs = Vec::with_capacity(self.leased.len());
        for Leased {
            execution,
            seq,
            reserved,
        } in self.leased
        {
            let Some(loaded) = executions.get(&execution) else {
                continue;
            };
            let mut branches = loaded.execution.branches.iter();
            let Some(branch) = branches.find(|branch| branch.seq == seq) else {
                continue;
            };
            if took > part(reserved.lease) {
                dispatch.take_back(reserved, branch.id);
                continue;
            }
            jobs.push((reserved, message(loaded, branch)));
        }
        dispatch.hand_over(jobs);
    }
}

fn part(lease: Duration) -> Duration {
    lease / PART
}

fn message(loaded: &Loaded, branch: &engine::Branch) -> Job {
    let (job_type, until) = match &branch.hold {
        Hold::Job {
            job_type,
            lease_until,
            ..
        } => (job_type.clone(), *lease_until),
        _ => unreachable!("it was leased as a job"),
    };
    let execution = &loaded.execution;
    let row = Locked {
        id: branch.id,
        execution_id: execution.id,
        workflow_id: execution.workflow_id,
        client_id: execution.client_id,
        step_id: loaded.graph.definition.steps[branch.step].id,
        job_type,
        item: branch.item.as_ref().map(|item| Json(item.fields.clone())),
    };
    let data = model::wire::struct_from_json(&execution.context.data);
    let mut message = job::message(&row, &loaded.graph, data);
    let attempt = Attempt {
        id: branch.id,
        activation: branch.activation,
        attempt: branch.attempt,
    };
    job::hold(&mut message, until.unwrap_or_default(), &attempt);
    message
}
