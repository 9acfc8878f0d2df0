//! Jobs that find their worker in the commit that queues them. Invariant: what is written then is what leasing makes
//! of a queued job.

use std::time::Duration;

use chrono::{DateTime, Utc};
use model::graph::Graph;
use model::instant::later;
use model::status::StepStatus;

use super::Change;
use super::state::{Branch, Hold};

/// Whether a branch that is not yet written is a job that may be leased.
pub fn is_up(branch: &Branch, now: DateTime<Utc>) -> bool {
    let is_free = matches!(branch.hold, Hold::Job { held_by: None, .. });
    is_free && branch.id.is_nil() && branch.times.available_at <= now.max(branch.times.queued_at)
}

/// Leases a branch for which [`is_up`] holds, from `now` on.
pub fn lease(
    graph: &Graph,
    branch: &mut Branch,
    change: &mut Change,
    (holder, length): (&str, Duration),
    now: DateTime<Utc>,
) {
    let Hold::Job {
        held_by,
        lease_until,
        wake_at,
        ..
    } = &mut branch.hold
    else {
        unreachable!("only jobs are leased");
    };
    let until = later(now, length);
    let timeout = graph.nodes[branch.step].timeout;
    *held_by = Some(holder.to_owned());
    *lease_until = Some(until);
    *wake_at = Some(timeout.map_or(until, |limit| until.min(later(now, limit))));
    // The clock may be behind the execution's last event, whose time the attempt has.
    let begun = now.max(branch.times.queued_at);
    branch.times.assigned_at = Some(begun);
    branch.times.started_at = begun;
    if let Some(log) = change.logs.get_mut(&branch.seq) {
        log.status = StepStatus::Running;
        log.times = branch.times.clone();
    }
}
