//! What a commit means for locks. Invariant: a lock is freed in the transaction that ends the activation that
//! held it, and its next holder is told by a row of commands.

use super::load::{Loaded, entered};
use crate::engine::{Branch, Hold};
use crate::store::locks::Locks;

/// Adds the locks that an execution has begun to wait for, and those that it no longer needs.
pub(super) fn push(rows: &mut Locks, loaded: &Loaded) {
    let client = loaded.execution.client_id;
    for branch in entered(loaded) {
        if let (Hold::Lock { .. }, Some(key)) = (&branch.hold, &branch.lock) {
            rows.client_id.push(client);
            rows.lock_key.push(key.clone());
        }
    }
    for branch in &loaded.before {
        let Some(key) = branch.lock.as_ref().filter(|_| !is_kept(loaded, branch)) else {
            continue;
        };
        rows.client_id.push(client);
        rows.lock_key.push(key.clone());
        let freed = &mut rows.freed;
        freed.client_id.push(client);
        freed.lock_key.push(key.clone());
        freed.execution_id.push(loaded.execution.id);
        freed
            .step_id
            .push(loaded.graph.definition.steps[branch.step].id);
        freed.activation.push(branch.activation);
    }
}

/// Whether the activation goes on with its lock, perhaps with another attempt.
fn is_kept(loaded: &Loaded, before: &Branch) -> bool {
    let mut branches = loaded.execution.branches.iter();
    branches.any(|now| {
        let same = (now.step, now.activation) == (before.step, before.activation);
        same && now.lock == before.lock
    })
}

#[cfg(test)]
mod tests;
