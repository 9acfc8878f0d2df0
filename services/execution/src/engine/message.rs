//! What one execution asks of another. Invariant: nothing is asked of an execution but through a message, which is
//! kept with the change that asks, and done by a commit of its own.

use uuid::Uuid;

/// What a committed change asks of another execution.
#[derive(Debug, Clone, PartialEq)]
#[expect(dead_code, reason = "no step asks anything of another execution yet")]
pub enum Message {
    /// To end, unless it is over.
    Cancel {
        execution_id: Uuid,
        reason: String,
        /// Whether what was done is undone first.
        compensate: bool,
    },
}
