//! A draft against a recorded execution: would it have gone the same way? Invariant: nothing is guessed. What
//! the draft asks and nobody has answered ends the comparison, and an unchanged draft always gives SAME.

mod compare;
mod records;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use model::graph::Graph;
use model::status::ExecutionStatus;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::engine;
use crate::simulate::{TooLarge, play};
use crate::store::records::Attempt;
use records::Records;

/// A finished execution, as it went.
pub struct Past {
    pub id: Uuid,
    pub started_at: DateTime<Utc>,
    pub status: ExecutionStatus,
    pub error_code: Option<String>,
    pub input: Map<String, Value>,
    /// In the order in which they ended.
    pub attempts: Vec<Attempt>,
}

/// What the draft makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The same steps end in the same way, and so does the execution.
    Same,
    /// It ends, but by another way or otherwise.
    Diverged,
    /// It needs an answer that nobody gave.
    Undetermined,
    /// It fails, though it did not; or it goes on for longer than a simulation may.
    Failed,
}

/// Where the draft first does something else.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Nil: the end of the execution as a whole.
    pub step_id: Uuid,
    pub activation: i32,
    pub attempt: i32,
    pub was: String,
    pub becomes: String,
}

/// An execution under the draft.
#[derive(Debug, Clone, PartialEq)]
pub struct Previewed {
    pub verdict: Verdict,
    /// The first difference; None if there is none up to where it was compared.
    pub difference: Option<Place>,
    /// Which answer is missing.
    pub missing: Option<Missing>,
    /// Attempts that were run.
    pub attempts: usize,
    /// What judging has cost, in values touched.
    pub effort: u64,
}

/// An answer that nobody gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Missing {
    pub step_id: Uuid,
    pub activation: i32,
    pub attempt: i32,
    pub why: &'static str,
}

/// By step, activation and attempt: what identifies an attempt in the record and in the draft.
type Key = (Uuid, i32, i32);

/// Runs a past execution, which ran `old`, by the rules of `draft`.
pub fn preview(draft: &Graph, old: &Graph, past: &Past) -> Previewed {
    let by_key: HashMap<Key, &Attempt> = (past.attempts.iter())
        .map(|it| ((it.step_id, it.activation, it.attempt), it))
        .collect();
    let execution = engine::begin(draft, past.id, past.input.clone(), past.started_at);
    let mut records = Records::new(draft, old, &by_key);
    let played = match play(draft, execution, &mut records) {
        Ok(played) => played,
        Err(TooLarge) => {
            return Previewed {
                verdict: Verdict::Failed,
                difference: Some(Place {
                    step_id: Uuid::nil(),
                    activation: 0,
                    attempt: 0,
                    was: past.status.to_string(),
                    becomes: "goes on for longer than a simulation may".to_owned(),
                }),
                missing: None,
                attempts: crate::simulate::MOST_ATTEMPTS,
                effort: 0,
            };
        }
    };
    let missing = played.stuck.map(|seq| records.missing(&played, seq));
    let difference = compare::first(draft, old, past, &played);
    let failed = played.execution.status == ExecutionStatus::Failed
        && past.status == ExecutionStatus::Completed;
    let verdict = match (&missing, &difference) {
        (Some(_), _) => Verdict::Undetermined,
        (None, None) => Verdict::Same,
        (None, Some(_)) if failed => Verdict::Failed,
        (None, Some(_)) => Verdict::Diverged,
    };
    Previewed {
        verdict,
        difference,
        missing,
        attempts: played.change.logs.len(),
        effort: played.execution.memory.effort,
    }
}
