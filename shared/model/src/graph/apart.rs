//! Steps that other steps' configs name, and those of them that stand apart. Invariant: no transition leads
//! to such a step or from it, so it runs only for the step that names it.

use super::labels::{Labels, quoted};
use crate::definition::Definition;
use crate::kind::{Kind, Settings};
use crate::problem::{Problem, did_you_mean};

/// The steps that one step's config names.
#[derive(Debug, Clone, Default)]
pub(super) struct References {
    /// What undoes it.
    pub(super) undone_by: Option<usize>,
    /// What it does for each item.
    pub(super) each: Option<usize>,
    /// What is left when it is completed.
    pub(super) cancels: Vec<usize>,
}

/// For each step those that it names.
pub(super) fn resolve(
    definition: &Definition,
    labels: &Labels,
    settings: &[Option<Settings>],
    problems: &mut Vec<Problem>,
) -> Vec<References> {
    let mut find = |at: usize, key: &str, word: &str, wrong: &Wrong| {
        let mut steps = definition.steps.iter();
        let (code, message) = match steps.position(|step| step.key == word || step.name == word) {
            Some(to) if to != at => return Some(to),
            Some(_) => (wrong.itself, wrong.message.to_owned()),
            None => {
                let names = definition.steps.iter().map(|step| step.name.as_str());
                let hint = did_you_mean(word, names);
                let message = format!("there is no step {}.{hint}", quoted(word));
                (wrong.unknown, message)
            }
        };
        let path = format!("{}.config.{key}", labels.step(at));
        problems.push(Problem::error(path, code, message));
        None
    };
    let mut references = vec![References::default(); definition.steps.len()];
    for (at, settings) in settings.iter().enumerate() {
        let Some(settings) = settings else {
            continue;
        };
        let named = &mut references[at];
        if let Some(word) = &settings.compensate {
            named.undone_by = find(at, "compensate", word, &COMPENSATE);
        }
        if let Kind::Foreach(foreach) = &settings.kind {
            named.each = find(at, "step", &foreach.step, &EACH);
        }
        for (place, word) in settings.cancels.iter().enumerate() {
            let key = format!("cancels[{place}]");
            named.cancels.extend(find(at, &key, word, &CANCELS));
        }
    }
    for (at, settings) in settings.iter().enumerate() {
        let steers = |kind: &Kind| {
            matches!(kind, Kind::Decision) || !matches!(kind, Kind::Foreach(_)) && steers(kind)
        };
        if (settings.as_ref()).is_some_and(|s| s.lock.is_some() && steers(&s.kind)) {
            let path = format!("{}.config.lock", labels.step(at));
            let message = "this step only steers branches: lock a step that does work";
            problems.push(Problem::error(path, "LOCK_INVALID", message));
        }
    }
    for (at, named) in references.iter().enumerate() {
        let lock = |at: usize| {
            settings[at]
                .as_ref()
                .and_then(|settings| settings.lock.as_ref())
        };
        let (own, inner) = (lock(at), named.each.and_then(lock));
        if own
            .zip(inner)
            .is_some_and(|(own, inner)| own.name == inner.name)
        {
            let path = format!("{}.config.lock", labels.step(at));
            let message =
                "the step that is done for each item would wait for the lock that this one holds";
            problems.push(Problem::error(path, "LOCK_INVALID", message));
        }
    }
    check_undoing(definition, labels, (settings, &references), problems);
    check_items(definition, labels, (settings, &references), problems);
    references
}

/// What is wrong with a name: codes for one that is unknown and for the step's own.
struct Wrong {
    unknown: &'static str,
    itself: &'static str,
    message: &'static str,
}

const COMPENSATE: Wrong = Wrong {
    unknown: "COMPENSATION_UNKNOWN",
    itself: "COMPENSATION_INVALID",
    message: "a step cannot undo itself: name another one",
};
const EACH: Wrong = Wrong {
    unknown: "FOREACH_STEP_UNKNOWN",
    itself: "FOREACH_STEP_INVALID",
    message: "a step cannot be done for each item of itself: name another one",
};
const CANCELS: Wrong = Wrong {
    unknown: "CANCELS_UNKNOWN",
    itself: "CANCELS_INVALID",
    message: "when the step is completed it is left anyway: name others",
};

/// Whether each step stands apart from the flow.
pub(super) fn is_apart(references: &[References]) -> Vec<bool> {
    let mut apart = vec![false; references.len()];
    for named in references {
        for at in named.undone_by.iter().chain(&named.each) {
            apart[*at] = true;
        }
    }
    apart
}

type Known<'a> = (&'a [Option<Settings>], &'a [References]);

fn check_undoing(
    definition: &Definition,
    labels: &Labels,
    (settings, references): Known<'_>,
    problems: &mut Vec<Problem>,
) {
    for at in once(references.iter().filter_map(|named| named.undone_by)) {
        let steers = settings[at].as_ref().is_some_and(|s| steers(&s.kind));
        let message = if steers || references[at].undone_by.is_some() {
            "this step undoes another: it must do work, and is not undone itself"
        } else if is_in_the_flow(definition, at) {
            "this step undoes another and stands apart: remove the transitions to it and from it"
        } else {
            continue;
        };
        let path = labels.step(at);
        problems.push(Problem::error(path, "COMPENSATION_INVALID", message));
    }
}

fn check_items(
    definition: &Definition,
    labels: &Labels,
    (settings, references): Known<'_>,
    problems: &mut Vec<Problem>,
) {
    for at in once(references.iter().filter_map(|named| named.each)) {
        let undoes = references.iter().any(|named| named.undone_by == Some(at));
        let message = if settings[at].as_ref().is_some_and(|s| steers(&s.kind)) {
            "this step is done for each item: it must do work. Several steps for each item are a workflow of \
             their own"
        } else if undoes || references[at].undone_by.is_some() {
            "this step is done for each item: it neither undoes another nor is undone itself"
        } else if is_in_the_flow(definition, at) {
            "this step is done for each item and stands apart: remove the transitions to it and from it"
        } else {
            continue;
        };
        let path = labels.step(at);
        problems.push(Problem::error(path, "FOREACH_STEP_INVALID", message));
    }
}

/// Whether a step only steers branches.
fn steers(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Parallel | Kind::Join(_) | Kind::Foreach(_) | Kind::End(_)
    )
}

fn is_in_the_flow(definition: &Definition, at: usize) -> bool {
    let id = definition.steps[at].id;
    let mut transitions = definition.transitions.iter();
    transitions.any(|way| way.from_step_id == id || way.to_step_id == id)
}

fn once(steps: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut steps: Vec<usize> = steps.collect();
    steps.sort_unstable();
    steps.dedup();
    steps
}
