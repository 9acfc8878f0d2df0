//! A diff in words. Invariant: a line for each thing that differs, none without.

use model::text::clean;
use serde_json::Value;
use uuid::Uuid;

use super::{Action, Change, Diff, StepDiff, TransitionDiff};

/// Characters of a value that a line shows.
const LONGEST_VALUE: usize = 80;
/// Characters of a name.
const LONGEST_NAME: usize = 100;

impl Diff {
    /// At most `most` lines, and then one that says how many more there are.
    pub fn lines(&self, most: usize) -> Vec<String> {
        let mut lines: Vec<String> = self.workflow.iter().map(Change::line).collect();
        lines.extend(self.steps.iter().flat_map(StepDiff::lines));
        lines.extend(self.transitions.iter().flat_map(TransitionDiff::lines));
        if lines.len() > most {
            let more = lines.len() - most;
            lines.truncate(most);
            lines.push(format!("and {more} more"));
        }
        lines
    }
}

impl Change {
    /// Of a field of the workflow itself.
    pub fn line(&self) -> String {
        format!("changed the workflow: {}", self.tell(&|_| None))
    }

    fn tell(&self, name: &dyn Fn(&Value) -> Option<String>) -> String {
        let show = |value: &Option<Value>| match value {
            None => "nothing".to_owned(),
            Some(value) => name(value).unwrap_or_else(|| clean(&value.to_string(), LONGEST_VALUE)),
        };
        let path = clean(&self.path, LONGEST_NAME);
        format!("{path}: {} -> {}", show(&self.before), show(&self.after))
    }
}

impl StepDiff {
    pub fn lines(&self) -> Vec<String> {
        let name = quoted(&self.name);
        let text = |value: &Option<Value>| value.as_ref().and_then(Value::as_str).map(quoted);
        match self.action {
            Action::Added => vec![format!("added step {name}")],
            Action::Removed => vec![format!("removed step {name}")],
            Action::Changed => (self.changes.iter())
                .map(
                    |change| match (change.path.as_str(), text(&change.before)) {
                        ("name", Some(before)) => format!("renamed step {before} to {name}"),
                        _ => format!("changed step {name}: {}", change.tell(&|_| None)),
                    },
                )
                .collect(),
        }
    }
}

impl TransitionDiff {
    pub fn lines(&self) -> Vec<String> {
        let way = format!("transition {} -> {}", quoted(&self.from), quoted(&self.to));
        let step = |value: &Value| {
            let id: Uuid = value.as_str()?.parse().ok()?;
            let found = self.names.iter().find(|(named, _)| *named == id);
            found.map(|(_, name)| quoted(name))
        };
        match self.action {
            Action::Added => vec![format!("added {way}")],
            Action::Removed => vec![format!("removed {way}")],
            Action::Changed => (self.changes.iter())
                .map(|change| match change.path.as_str() {
                    "id" => format!("replaced {way} by another one"),
                    "fromStepId" | "toStepId" => format!("changed {way}: {}", change.tell(&step)),
                    _ => format!("changed {way}: {}", change.tell(&|_| None)),
                })
                .collect(),
        }
    }
}

fn quoted(name: impl AsRef<str>) -> String {
    format!("{:?}", clean(name.as_ref(), LONGEST_NAME))
}
