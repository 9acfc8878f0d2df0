//! What differs between two definitions of one workflow. Invariant: complete and minimal — what it tells,
//! applied to the one, gives the other, and it tells nothing where nothing differs.

mod lines;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};

use model::definition::{Definition, Step, Transition};
use model::scope;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

/// Everything that differs.
#[derive(Debug, Default, PartialEq)]
pub struct Diff {
    /// In the workflow's own fields.
    pub workflow: Vec<Change>,
    /// Removed ones first, then the others in the order of what is after.
    pub steps: Vec<StepDiff>,
    /// The same.
    pub transitions: Vec<TransitionDiff>,
}

/// What became of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Added,
    Removed,
    Changed,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// For instance `config.retry.maxAttempts`.
    pub path: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// One step that differs.
#[derive(Debug, PartialEq)]
pub struct StepDiff {
    pub action: Action,
    pub id: Uuid,
    pub key: String,
    /// Before, if it was removed.
    pub name: String,
    pub changes: Vec<Change>,
}

/// One transition that differs.
#[derive(Debug, PartialEq)]
pub struct TransitionDiff {
    pub action: Action,
    /// Before, if it was removed; otherwise after.
    pub id: Uuid,
    /// The id that it has before, if it is there.
    pub id_before: Option<Uuid>,
    /// Names of its steps.
    pub from: String,
    pub to: String,
    /// Ids of steps are told as they are.
    pub changes: Vec<Change>,
    /// Names of the steps whose ids `changes` tells.
    pub names: Vec<(Uuid, String)>,
}

impl Diff {
    pub fn is_empty(&self) -> bool {
        self.workflow.is_empty() && self.steps.is_empty() && self.transitions.is_empty()
    }
}

/// Compares two definitions. Steps are the same if their ids are; transitions too, and those left over if
/// they lead between the same steps.
pub fn between(before: &Definition, after: &Definition) -> Diff {
    let mut workflow = Vec::new();
    field("name", &before.name, &after.name, &mut workflow);
    field(
        "description",
        &before.description,
        &after.description,
        &mut workflow,
    );
    field("target", &before.target, &after.target, &mut workflow);
    Diff {
        workflow,
        steps: steps(&before.steps, &after.steps),
        transitions: transitions(before, after),
    }
}

fn field(path: &str, before: &impl Serialize, after: &impl Serialize, into: &mut Vec<Change>) {
    let (before, after) = (json(before), json(after));
    if before != after {
        into.push(Change {
            path: path.to_owned(),
            before: Some(before).filter(|value| !value.is_null()),
            after: Some(after).filter(|value| !value.is_null()),
        });
    }
}

fn steps(before: &[Step], after: &[Step]) -> Vec<StepDiff> {
    let was: HashMap<Uuid, &Step> = before.iter().map(|step| (step.id, step)).collect();
    let is: HashMap<Uuid, &Step> = after.iter().map(|step| (step.id, step)).collect();
    let diff = |action, step: &Step, changes| StepDiff {
        action,
        id: step.id,
        key: step.key.clone(),
        name: step.name.clone(),
        changes,
    };
    let gone = before.iter().filter(|step| !is.contains_key(&step.id));
    let gone = gone.map(|step| diff(Action::Removed, step, whole(step, Side::Before)));
    let rest = after.iter().filter_map(|step| match was.get(&step.id) {
        None => Some(diff(Action::Added, step, whole(step, Side::After))),
        Some(was) => {
            let changes = changes(*was, step);
            (!changes.is_empty()).then(|| diff(Action::Changed, step, changes))
        }
    });
    gone.chain(rest).collect()
}

fn transitions(before: &Definition, after: &Definition) -> Vec<TransitionDiff> {
    let named = [before, after].map(|side| {
        let names = side.steps.iter().map(|step| (step.id, step.name.as_str()));
        names.collect::<HashMap<Uuid, &str>>()
    });
    let [names_before, names_after] = &named;
    let name = |id: &Uuid| {
        let name = names_after.get(id).or_else(|| names_before.get(id));
        name.copied().unwrap_or_default().to_owned()
    };
    let diff = |action, id_before, transition: &Transition, changes: Vec<Change>| {
        let ids = changes
            .iter()
            .flat_map(|change| [&change.before, &change.after]);
        let ids = ids
            .flatten()
            .filter_map(|value| value.as_str()?.parse().ok());
        TransitionDiff {
            action,
            id: transition.id,
            id_before,
            from: name(&transition.from_step_id),
            to: name(&transition.to_step_id),
            names: ids.map(|id: Uuid| (id, name(&id))).collect(),
            changes,
        }
    };
    let (pairs, gone) = pair(&before.transitions, &after.transitions);
    let gone = (gone.into_iter()).map(|transition| {
        let changes = whole(transition, Side::Before);
        diff(Action::Removed, Some(transition.id), transition, changes)
    });
    let rest = pairs.into_iter().filter_map(|(was, transition)| match was {
        None => {
            let changes = whole(transition, Side::After);
            Some(diff(Action::Added, None, transition, changes))
        }
        Some(was) => {
            let changes = changes(was, transition);
            let id_before = Some(was.id);
            (!changes.is_empty()).then(|| diff(Action::Changed, id_before, transition, changes))
        }
    });
    gone.chain(rest).collect()
}

/// Each transition of `after` with the one that it was, and those of `before` that are none any more.
fn pair<'a>(
    before: &'a [Transition],
    after: &'a [Transition],
) -> (
    Vec<(Option<&'a Transition>, &'a Transition)>,
    Vec<&'a Transition>,
) {
    let is: HashMap<Uuid, &Transition> = after.iter().map(|t| (t.id, t)).collect();
    let was: HashMap<Uuid, &Transition> = before.iter().map(|t| (t.id, t)).collect();
    let ends = |transition: &Transition| (transition.from_step_id, transition.to_step_id);
    let mut left: HashMap<(Uuid, Uuid), VecDeque<&Transition>> = HashMap::new();
    for transition in before.iter().filter(|t| !is.contains_key(&t.id)) {
        left.entry(ends(transition))
            .or_default()
            .push_back(transition);
    }
    let pairs = after.iter().map(|transition| {
        let by_id = was.get(&transition.id).copied();
        let found = by_id.or_else(|| left.get_mut(&ends(transition))?.pop_front());
        (found, transition)
    });
    let pairs: Vec<_> = pairs.collect();
    let mut gone: Vec<&Transition> = left.into_values().flatten().collect();
    gone.sort_by_key(|transition| transition.id);
    (pairs, gone)
}

enum Side {
    Before,
    After,
}

/// All that a part consists of, on the one side; its id stands beside.
fn whole(part: &impl Serialize, side: Side) -> Vec<Change> {
    let fields = object(part).into_iter().filter(|(name, _)| name != "id");
    let changes = fields.map(|(path, value)| match side {
        Side::Before => Change {
            path,
            before: Some(value),
            after: None,
        },
        Side::After => Change {
            path,
            before: None,
            after: Some(value),
        },
    });
    changes.collect()
}

/// Field by field; objects within key by key, unless telling where takes longer than telling all.
fn changes<T: Serialize>(before: &T, after: &T) -> Vec<Change> {
    /// Bytes of paths that are never too many.
    const FEW: usize = 4096;
    let (before, after) = (object(before), object(after));
    let mut told = Vec::new();
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let (was, is) = (before.get(name), after.get(name));
        let mut within = Vec::new();
        compare(name.clone(), was, is, &mut within);
        let paths: usize = within.iter().map(|change| change.path.len()).sum();
        let size = |value: Option<&Value>| value.map_or(0, |value| value.to_string().len());
        if paths > FEW && paths > size(was) + size(is) {
            within = vec![Change {
                path: name.clone(),
                before: was.cloned(),
                after: is.cloned(),
            }];
        }
        told.append(&mut within);
    }
    told
}

fn compare(path: String, before: Option<&Value>, after: Option<&Value>, into: &mut Vec<Change>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(was)), Some(Value::Object(is))) => {
            let mut keys: Vec<&String> = was.keys().chain(is.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                compare(scope::below(&path, key), was.get(key), is.get(key), into);
            }
        }
        (before, after) => into.push(Change {
            path,
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

fn object(part: &impl Serialize) -> Map<String, Value> {
    match json(part) {
        Value::Object(fields) => fields,
        _ => unreachable!("steps and transitions are objects"),
    }
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("texts, numbers and JSON are JSON")
}
