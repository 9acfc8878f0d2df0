//! What is wrong with steps by themselves. Invariant: afterwards ids, keys and names are unique, or there
//! is a problem that says which are not.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::facts::{Facts, Place};
use super::labels::{Labels, quoted};
use crate::definition::Definition;
use crate::kind::{Foreach, Items, Kind, Settings, WaitUntil};
use crate::problem::Problem;

const MOST_STEPS: usize = 1000;
const MOST_TRANSITIONS: usize = 10_000;

/// Whether it makes sense to look closer.
pub(super) fn check_counts(definition: &Definition, problems: &mut Vec<Problem>) -> bool {
    let count = definition.steps.len();
    if count == 0 {
        let message = "a workflow needs at least one step";
        problems.push(Problem::error("steps", "NO_STEPS", message));
    }
    if count > MOST_STEPS {
        let message = format!("there are {count}; at most {MOST_STEPS} are allowed");
        problems.push(Problem::error("steps", "TOO_MANY_STEPS", message));
    }
    let count = definition.transitions.len();
    if count > MOST_TRANSITIONS {
        let message = format!("there are {count}; at most {MOST_TRANSITIONS} are allowed");
        problems.push(Problem::error(
            "transitions",
            "TOO_MANY_TRANSITIONS",
            message,
        ));
    }
    problems.is_empty()
}

/// Returns where each id stands.
pub(super) fn check(
    definition: &Definition,
    labels: &Labels,
    problems: &mut Vec<Problem>,
) -> HashMap<Uuid, usize> {
    let mut by_id = HashMap::new();
    let (mut names, mut keys) = (HashSet::new(), HashSet::new());
    for (at, step) in definition.steps.iter().enumerate() {
        let mut error = |field: &str, code: &'static str, message: String| {
            let path = format!("{}.{field}", labels.step(at));
            problems.push(Problem::error(path, code, message));
        };
        if by_id.insert(step.id, at).is_some() {
            error(
                "id",
                "DUPLICATE_ID",
                format!("another step has the id {}", step.id),
            );
        }
        let length = step.name.chars().count();
        if step.name.trim().is_empty() {
            error("name", "EMPTY_NAME", "must not be empty".to_owned());
        } else if length > 200 {
            error(
                "name",
                "NAME_TOO_LONG",
                format!("has {length} characters; at most 200 are allowed"),
            );
        } else if !names.insert(step.name.as_str()) {
            let message = "another step has this name; conditions could not tell them apart";
            error("name", "DUPLICATE_NAME", message.to_owned());
        }
        if step.key.trim().is_empty() {
            error("key", "EMPTY_KEY", "must not be empty".to_owned());
        } else if !keys.insert(step.key.as_str()) {
            let message = format!("another step has the key {}", quoted(&step.key));
            error("key", "DUPLICATE_KEY", message);
        }
        if step.order < 0 {
            error("order", "ORDER_NEGATIVE", "must be 0 or more".to_owned());
        }
    }
    by_id
}

/// Warns of expressions that read what is never there.
pub(super) fn check_references(
    labels: &Labels,
    settings: &[Option<Settings>],
    facts: &Facts<'_>,
    problems: &mut Vec<Problem>,
) {
    for (at, settings) in settings.iter().enumerate() {
        let config = format!("{}.config", labels.step(at));
        if let Some(lock) = settings
            .as_ref()
            .and_then(|settings| settings.lock.as_ref())
        {
            let path = format!("{config}.lock.key");
            facts.warn(&lock.key, Place::Config, &path, problems);
        }
        match settings.as_ref().map(|settings| &settings.kind) {
            Some(Kind::Transform(output)) => {
                for (key, expression) in output {
                    let path = format!("{config}.output.{key}");
                    facts.warn(expression.paths(), Place::Config, &path, problems);
                }
            }
            Some(Kind::Foreach(Foreach {
                items: Items::Of(field),
                ..
            })) => {
                let path = format!("{config}.items");
                facts.warn([field], Place::Config, &path, problems);
            }
            Some(Kind::Subworkflow(called)) => {
                for (key, expression) in called.input.iter().flatten() {
                    let path = format!("{config}.input.{key}");
                    facts.warn(expression.paths(), Place::Config, &path, problems);
                }
                if called.workflow_id == facts.workflow_id() {
                    problems.push(Problem::warning(
                        format!("{config}.workflowId"),
                        "SUBWORKFLOW_CALLS_ITSELF",
                        "this workflow runs itself: executions that are started by each other may be 8 deep",
                    ));
                }
            }
            Some(Kind::Wait(WaitUntil::Field(field))) => {
                let path = format!("{config}.untilField");
                facts.warn([field], Place::Config, &path, problems);
            }
            Some(Kind::Signal {
                correlation: Some(field),
                ..
            }) => {
                let path = format!("{config}.correlation");
                facts.warn([field], Place::Config, &path, problems);
            }
            _ => {}
        }
    }
}
