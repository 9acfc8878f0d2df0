//! Where two ways part. Invariant: an attempt is what it is by step, activation and attempt; the order in which
//! branches side by side come to theirs does not matter.

use std::collections::HashMap;

use model::graph::Graph;
use model::status::StepStatus;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Key, Past, Place};
use crate::engine::Log;
use crate::simulate::Played;

/// How an attempt ended, in a form that can be compared.
#[derive(PartialEq)]
struct End {
    status: String,
    error_code: Option<String>,
    /// Names of the steps that it went on to, in the order of their ids.
    to: Vec<(Uuid, String)>,
}

/// The first difference between what was and what the draft does, as far as it goes.
pub(super) fn first(draft: &Graph, old: &Graph, past: &Past, played: &Played) -> Option<Place> {
    let is_over = played.stuck.is_none();
    let mut new: HashMap<Key, &Log> = (played.change.finished.iter())
        .map(|seq| &played.change.logs[seq])
        .map(|log| ((log.step_id, log.activation, log.attempt), log))
        .collect();
    for it in &past.attempts {
        let key = (it.step_id, it.activation, it.attempt);
        let was = End {
            status: it.status.clone(),
            error_code: it.error_code.clone(),
            to: targets(old, it.route.as_ref().map(|route| &route.0)),
        };
        match new.remove(&key).map(|log| end(draft, log)) {
            Some(becomes) if becomes == was => {}
            Some(becomes) => return Some(place(key, was.tell(), becomes.tell())),
            None if is_over => return Some(place(key, was.tell(), NOT_REACHED.to_owned())),
            // What it would have come to is not known.
            None => {}
        }
    }
    let by_event = |log: &&&Log| log.event_seq;
    if let Some(log) = new.values().min_by_key(by_event) {
        let key = (log.step_id, log.activation, log.attempt);
        return Some(place(key, NOT_REACHED.to_owned(), end(draft, log).tell()));
    }
    let code = played.execution.failure.as_ref().map(|it| it.code.clone());
    let is_same = (played.execution.status, &code) == (past.status, &past.error_code);
    if !is_over || is_same {
        return None;
    }
    let tell = |status: &str, code: &Option<String>| match code {
        Some(code) => format!("{status} {code}"),
        None => status.to_owned(),
    };
    let was = tell(past.status.as_str(), &past.error_code);
    let becomes = tell(played.execution.status.as_str(), &code);
    Some(place((Uuid::nil(), 0, 0), was, becomes))
}

const NOT_REACHED: &str = "not reached";

fn place((step_id, activation, attempt): Key, was: String, becomes: String) -> Place {
    Place {
        step_id,
        activation,
        attempt,
        was,
        becomes,
    }
}

fn end(draft: &Graph, log: &Log) -> End {
    End {
        status: log.status.to_string(),
        error_code: log.failure.as_ref().map(|failure| failure.code.clone()),
        to: targets(draft, log.route.as_ref().and_then(Value::as_object)),
    }
}

/// The steps that a route leads to. A workflow that runs by order has no transitions, and its steps tell.
fn targets(graph: &Graph, route: Option<&Map<String, Value>>) -> Vec<(Uuid, String)> {
    let taken = route.and_then(|route| route.get("taken")?.as_array());
    let taken = taken.into_iter().flatten().filter_map(Value::as_str);
    let ids: Vec<Uuid> = taken.filter_map(|id| id.parse().ok()).collect();
    let transitions = graph.definition.transitions.iter();
    let mut targets: Vec<(Uuid, String)> = transitions
        .filter(|transition| ids.contains(&transition.id))
        .filter_map(|transition| {
            let at = graph.node_of(transition.to_step_id)?;
            Some((
                transition.to_step_id,
                graph.definition.steps[at].name.clone(),
            ))
        })
        .collect();
    targets.sort();
    targets.dedup_by_key(|target| target.0);
    targets
}

impl End {
    /// `COMPLETED, to "Pay"`
    fn tell(&self) -> String {
        let mut told = self.status.clone();
        if let Some(code) = &self.error_code {
            told.push_str(&format!(" {code}"));
        }
        let names: Vec<String> = self
            .to
            .iter()
            .map(|(_, name)| format!("{name:?}"))
            .collect();
        if !names.is_empty() {
            told.push_str(&format!(", to {}", names.join(", ")));
        } else if self.status == StepStatus::Completed.as_str() {
            told.push_str(", to nothing");
        }
        told
    }
}
