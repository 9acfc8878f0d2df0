//! Steps that undo others. Invariant: such a step stands apart: no transition leads to it or from it, so
//! it runs only to undo.

use super::labels::{Labels, quoted};
use crate::definition::Definition;
use crate::kind::{Kind, Settings};
use crate::problem::{Problem, did_you_mean};

/// For each step the one that undoes it.
pub(super) fn resolve(
    definition: &Definition,
    labels: &Labels,
    settings: &[Option<Settings>],
    problems: &mut Vec<Problem>,
) -> Vec<Option<usize>> {
    let named = |word: &str| {
        let mut steps = definition.steps.iter();
        steps.position(|step| step.key == word || step.name == word)
    };
    let mut undone_by = vec![None; definition.steps.len()];
    for (at, settings) in settings.iter().enumerate() {
        let Some(word) = settings.as_ref().and_then(|s| s.compensate.as_deref()) else {
            continue;
        };
        let path = format!("{}.config.compensate", labels.step(at));
        match named(word) {
            None => {
                let names = definition.steps.iter().map(|step| step.name.as_str());
                let hint = did_you_mean(word, names);
                let message = format!("there is no step {}.{hint}", quoted(word));
                problems.push(Problem::error(path, "COMPENSATION_UNKNOWN", message));
            }
            Some(to) if to == at => {
                let message = "a step cannot undo itself: name another one";
                problems.push(Problem::error(path, "COMPENSATION_INVALID", message));
            }
            Some(to) => undone_by[at] = Some(to),
        }
    }
    let mut undoing: Vec<usize> = undone_by.iter().flatten().copied().collect();
    undoing.sort_unstable();
    undoing.dedup();
    for at in undoing {
        let steers = settings[at].as_ref().is_some_and(|settings| {
            matches!(settings.kind, Kind::Parallel | Kind::Join(_) | Kind::End(_))
                || settings.compensate.is_some()
        });
        let id = definition.steps[at].id;
        let mut transitions = definition.transitions.iter();
        let message = if steers {
            "this step undoes another: it must do work, and is not undone itself"
        } else if transitions.any(|way| way.from_step_id == id || way.to_step_id == id) {
            "this step undoes another and stands apart: remove the transitions to it and from it"
        } else {
            continue;
        };
        problems.push(Problem::error(
            labels.step(at),
            "COMPENSATION_INVALID",
            message,
        ));
    }
    undone_by
}
