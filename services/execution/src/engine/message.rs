//! What one execution asks of another. Invariant: nothing is asked of an execution but through a message, which is
//! kept with the change that asks, and done by a commit of its own.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::child::{Call, Ending};

/// What a committed change asks of another execution.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// To begin, for the branch `seq`, from an instant on.
    Start {
        seq: i32,
        at: DateTime<Utc>,
        call: Call,
    },
    /// To end, unless it is over.
    Cancel {
        execution_id: Uuid,
        reason: String,
        /// Whether what was done is undone first.
        compensate: bool,
    },
    /// Nothing of an execution: the branch `seq` waits for a signal that may have been kept for it.
    Await { seq: i32 },
    /// To go on: what one of its branches waits for, which has this execution's id, is over.
    Over { to: Uuid, ended: Ending },
}
