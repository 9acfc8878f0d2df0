//! What happened to an attempt and why, in words. Invariant: told from stored rows and the executed
//! definition alone, so that an execution and a simulation with the same answers tell the same.

use model::graph::Graph;
use model::kind::Kind;
use model::status::StepStatus;
use model::text::clean;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::store::executions::Wait;
use crate::store::logs::Log;

/// Characters of a condition, a value or a message that a sentence holds.
const LONGEST: usize = 300;

/// A transition that was judged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choice {
    /// None where a workflow without transitions runs by order.
    pub transition_id: Option<Uuid>,
    pub to: String,
    pub is_default: bool,
    pub holds: bool,
    pub is_taken: bool,
    /// In words; empty if it has none.
    pub condition: String,
    /// The values that the condition saw, by what it calls them.
    pub seen: Map<String, Value>,
    /// What the condition asked for in vain.
    pub missing: Vec<String>,
    /// Why it could not be judged.
    pub error: String,
}

/// The transitions that a log's route judged, in order.
pub fn choices(graph: &Graph, route: Option<&Map<String, Value>>) -> Vec<Choice> {
    let list = |key: &str| route.and_then(|route| route.get(key)?.as_array());
    let taken: Vec<&str> = list("taken")
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let candidates = list("candidates").into_iter().flatten();
    candidates
        .filter_map(Value::as_object)
        .map(|told| choice(graph, told, &taken))
        .collect()
}

fn choice(graph: &Graph, told: &Map<String, Value>, taken: &[&str]) -> Choice {
    let text = |key: &str| told.get(key).and_then(Value::as_str).unwrap_or_default();
    let is = |key: &str| told.get(key) == Some(&Value::Bool(true));
    let id = text("transitionId");
    let transition_id = id.parse().ok();
    let mut transitions = graph.definition.transitions.iter();
    let transition = transitions.find(|t| Some(t.id) == transition_id);
    let condition = transition.and_then(|t| t.condition.as_ref());
    let missing = told.get("missing").and_then(Value::as_array);
    let missing = missing.into_iter().flatten().filter_map(Value::as_str);
    Choice {
        // Where there are no transitions, the only way is the one taken.
        is_taken: is("holds") && (id.is_empty() || taken.contains(&id)),
        transition_id,
        to: text("to").to_owned(),
        is_default: is("default"),
        holds: is("holds"),
        condition: condition.map(describe).unwrap_or_default(),
        seen: told
            .get("seen")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default(),
        missing: missing.map(str::to_owned).collect(),
        error: text("error").to_owned(),
    }
}

/// A condition in words: `amount greaterThan 100 and not (region in ["eu"])`.
fn describe(condition: &Value) -> String {
    clean(&words(condition), LONGEST)
}

fn words(condition: &Value) -> String {
    let get = |key: &str| condition.get(key);
    let text = |key: &str| get(key).and_then(Value::as_str).unwrap_or_default();
    let list = |key: &str, between: &str| {
        let parts = get(key)?.as_array()?;
        let parts: Vec<String> = parts.iter().map(words).collect();
        Some(format!("({})", parts.join(between)))
    };
    if let Some(source) = get("cel").and_then(Value::as_str) {
        return source.to_owned();
    }
    if let Some(told) = list("all", " and ").or_else(|| list("any", " or ")) {
        return told;
    }
    if let Some(inner) = get("not") {
        return format!("not {}", words(inner));
    }
    let (field, operator) = (text("field"), text("operator"));
    match (get("value"), get("valueField").and_then(Value::as_str)) {
        (Some(value), _) => format!("{field} {operator} {value}"),
        (None, Some(other)) => format!("{field} {operator} {other}"),
        (None, None) => format!("{field} {operator}"),
    }
}

/// What would end a waiting, its own instant last.
pub fn ends_by(graph: &Graph, wait: &Wait) -> Vec<String> {
    let node = graph.node_of(wait.step_id).map(|at| &graph.nodes[at]);
    let mut ends: Vec<String> = Vec::new();
    let instant = match wait.kind.as_str() {
        "job" if wait.held_by.is_some() => {
            ends.push("the worker's CompleteJob, FailJob or ThrowJobError".to_owned());
            "the end of its lease or of the step's timeout"
        }
        "job" => {
            ends.push("a worker that takes it (ActivateJobs) and answers".to_owned());
            "the step's queueTimeout"
        }
        "person" => {
            ends.push(match node.map(|node| &node.kind) {
                Some(Kind::DataEntry(_)) => "SubmitTask".to_owned(),
                _ => "ApproveTask or RejectTask".to_owned(),
            });
            "the step's timeout"
        }
        "signal" => {
            let name = wait.signal_name.as_deref().unwrap_or_default();
            ends.push(format!("SignalExecution or BroadcastSignal of {name:?}"));
            "the step's timeout"
        }
        "join" => {
            ends.push("the branches that can still come".to_owned());
            "the step's timeout"
        }
        "children" => {
            ends.push(match node.map(|node| &node.kind) {
                Some(Kind::Subworkflow(_)) => format!("the end of execution {}", wait.id),
                _ => "its items, as they end".to_owned(),
            });
            "the step's timeout"
        }
        "lock" => {
            ends.push("whoever holds the lock, by leaving it".to_owned());
            "the lock's timeout"
        }
        "incident" => {
            ends.push("ResolveIncident".to_owned());
            "its instant"
        }
        "timer" => "the clock",
        _ => {
            ends.push("the engine, by itself".to_owned());
            return ends;
        }
    };
    if let Some(at) = wait.wake_at {
        let at = at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
        ends.push(format!("{instant}, at {at}"));
    }
    ends
}

/// The whole story of an attempt. `waits_for` says what an open one waits for.
pub fn text(graph: &Graph, log: &Log, choices: &[Choice], waits_for: Option<&str>) -> String {
    let at = log.step_id.and_then(|id| graph.node_of(id));
    let step = at.map(|at| &graph.definition.steps[at]);
    let mut told = match step {
        Some(step) => format!("{} ({})", step.name, step.step_type),
        None => "The execution".to_owned(),
    };
    if log.activation > 1 {
        told.push_str(&format!(", arrival {}", log.activation));
    }
    if let Some(item) = log.item_index {
        told.push_str(&format!(", item {item}"));
    }
    if log.attempt > 1 {
        told.push_str(&format!(", attempt {}", log.attempt));
    }
    told.push(' ');
    told.push_str(&happened(log, waits_for));
    for choice in choices {
        told.push_str("; ");
        told.push_str(&went(choice));
    }
    let is_over = StepStatus::parse(&log.status).is_some_and(StepStatus::is_final);
    let goes_on = choices.iter().any(|choice| choice.is_taken);
    let is_done = log.status == StepStatus::Completed.as_str();
    if is_done && choices.is_empty() && log.item_index.is_none() {
        told.push_str("; nothing follows it");
    } else if is_over && !choices.is_empty() && !goes_on {
        told.push_str("; so no way leads on");
    }
    told.push('.');
    told
}

/// What became of the attempt itself.
fn happened(log: &Log, waits_for: Option<&str>) -> String {
    let message = log.message.as_deref().unwrap_or_default();
    let message = clean(message, LONGEST);
    let beside = match message.is_empty() {
        true => String::new(),
        false => format!(": {message}"),
    };
    let code = log.error_code.as_deref().unwrap_or("an error");
    let error = clean(log.error.as_deref().unwrap_or_default(), LONGEST);
    let failure = match error.is_empty() {
        true => code.to_owned(),
        false => format!("{code} ({error})"),
    };
    match StepStatus::parse(&log.status) {
        Some(StepStatus::Completed) => format!("was completed{beside}"),
        Some(StepStatus::Failed) => format!("failed with {failure}{beside}"),
        Some(StepStatus::Skipped) if log.error_code.is_some() => {
            format!("was skipped after {failure}{beside}")
        }
        Some(StepStatus::Skipped) => format!("was skipped{beside}"),
        _ => match waits_for {
            Some(reason) => format!("waits for {reason}"),
            None => "is not over".to_owned(),
        },
    }
}

fn went(choice: &Choice) -> String {
    let to = &choice.to;
    let mut saw: Vec<String> = (choice.seen.iter())
        .map(|(name, value)| format!("{name} = {}", clean(&value.to_string(), LONGEST)))
        .collect();
    // The database keeps keys in an order of its own.
    saw.sort();
    saw.extend(choice.missing.iter().map(|name| format!("{name} missing")));
    if !choice.error.is_empty() {
        saw.push(clean(&choice.error, LONGEST));
    }
    let saw = match saw.is_empty() {
        true => String::new(),
        false => format!(" ({})", saw.join(", ")),
    };
    let condition = &choice.condition;
    match (choice.is_taken, choice.is_default) {
        (true, true) => format!("went on to {to:?} by default"),
        (true, false) if condition.is_empty() => format!("went on to {to:?}"),
        (true, false) => format!("went on to {to:?}, as {condition} holds{saw}"),
        (false, _) => format!("not to {to:?}, as {condition} does not hold{saw}"),
    }
}

#[cfg(test)]
mod tests;
