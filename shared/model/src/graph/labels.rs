//! How problems name the parts of a definition. Invariant: every step and transition has a label, however
//! broken the definition is.

use std::collections::HashMap;

use serde_json::Value;
use uuid::Uuid;

use crate::definition::{Definition, Transition};

pub(super) struct Labels {
    steps: Vec<String>,
    transitions: Vec<String>,
}

impl Labels {
    pub(super) fn of(definition: &Definition) -> Self {
        let names: HashMap<Uuid, &str> = definition
            .steps
            .iter()
            .map(|step| (step.id, step.name.as_str()))
            .collect();
        let name_of = |id: Uuid| match names.get(&id) {
            Some(name) => quoted(name),
            None => quoted(&id.to_string()),
        };
        let mut seen: HashMap<(Uuid, Uuid), u32> = HashMap::new();
        let mut transition = |transition: &Transition| {
            let ends = (transition.from_step_id, transition.to_step_id);
            let times = seen.entry(ends).or_default();
            *times += 1;
            let again = match *times {
                1 => String::new(),
                times => format!(" #{times}"),
            };
            format!(
                "transitions[{} -> {}{again}]",
                name_of(ends.0),
                name_of(ends.1)
            )
        };
        Self {
            transitions: definition.transitions.iter().map(&mut transition).collect(),
            steps: definition
                .steps
                .iter()
                .enumerate()
                .map(|(at, step)| {
                    let known_by = [&step.name, &step.key];
                    match known_by.into_iter().find(|text| !text.trim().is_empty()) {
                        Some(text) => format!("steps[{}]", quoted(text)),
                        None => format!("steps[{at}]"),
                    }
                })
                .collect(),
        }
    }

    /// For instance `steps["Manager Approval"]`.
    pub(super) fn step(&self, at: usize) -> &str {
        &self.steps[at]
    }

    /// For instance `transitions["A" -> "B"]`, with ` #2` for another one between the same steps.
    pub(super) fn transition(&self, at: usize) -> &str {
        &self.transitions[at]
    }
}

/// A text in quotes, escaped, and no longer than one wants to read.
pub(super) fn quoted(text: &str) -> String {
    Value::String(crate::text::clean(text, 200)).to_string()
}
