//! Which steps and transitions of a document are which of the workflow's. Invariant: pure and stable — a
//! document planned against its own outcome finds everything in place.

use std::collections::{HashMap, HashSet};

use model::definition::{self, Definition, Transition};
use model::problem::Problem;
use uuid::Uuid;

use crate::document::{self, Document};
use crate::editing::free_key;
use crate::store::steps::Step;
use crate::working_copy::fragment;

/// What a step of the document is in the workflow.
#[derive(Debug, Clone, PartialEq)]
enum StepMatch {
    /// The existing step at this index.
    Existing(usize),
    New {
        id: Uuid,
        key: String,
    },
}

/// The workflow as a document wants it, and what is to be said of that. `before` is its working copy,
/// `existing` every step it has, removed ones included.
pub fn wanted(
    document: &Document,
    before: &Definition,
    existing: &[Step],
    mut new_id: impl FnMut() -> Uuid,
) -> (Definition, Vec<Problem>) {
    let matches = match_steps(&document.steps, existing, &mut new_id);
    let steps: Vec<definition::Step> = (document.steps.iter().zip(&matches))
        .map(|(document::Step { fields, .. }, is)| {
            let (id, key) = match is {
                StepMatch::Existing(index) => (existing[*index].id, &existing[*index].key),
                StepMatch::New { id, key } => (*id, key),
            };
            definition::Step {
                id,
                key: key.clone(),
                name: fields.name.clone(),
                description: fields.description.clone(),
                step_type: fields.step_type.clone(),
                order: fields.order,
                config: fields.config.clone(),
                is_required: fields.is_required,
            }
        })
        .collect();
    let ways: Vec<Way> = (document.transitions.iter())
        .map(|way| (steps[way.from].id, steps[way.to].id, way.is_default))
        .collect();
    let ids = transition_ids(&ways, &before.transitions, new_id);
    let transitions = (document.transitions.iter().zip(ways).zip(ids))
        .map(|((transition, way), id)| Transition {
            id,
            from_step_id: way.0,
            to_step_id: way.1,
            condition: transition.condition.clone(),
            is_default: way.2,
        })
        .collect();
    let problems = fixed_keys(&document.steps, &matches, existing);
    let wanted = Definition {
        name: document.name.clone(),
        description: document.description.clone(),
        target: document.target.clone(),
        steps,
        transitions,
        ..before.clone()
    };
    (wanted, problems)
}

/// The document as a workflow of its own, with ids that mean nothing: enough to validate it.
pub fn alone(document: &Document) -> Definition {
    let nothing = fragment(Vec::new(), Vec::new());
    let mut ids = (1..).map(Uuid::from_u128);
    let new_id = || ids.next().expect("there is always another number");
    wanted(document, &nothing, &[], new_id).0
}

/// Matches by key, then by name, then by the key that the name would give. Existing steps include
/// removed ones, which are known by their keys only. `new_id` makes an id for each new step.
fn match_steps(
    wanted: &[document::Step],
    existing: &[Step],
    mut new_id: impl FnMut() -> Uuid,
) -> Vec<StepMatch> {
    let mut found: Vec<Option<usize>> = vec![None; wanted.len()];
    let mut used = HashSet::new();
    let mut pass = |is_same: &dyn Fn(&document::Step, &Step) -> bool| {
        for (found, step) in found.iter_mut().zip(wanted) {
            if found.is_none() {
                *found = (0..existing.len())
                    .find(|index| !used.contains(index) && is_same(step, &existing[*index]));
                used.extend(*found);
            }
        }
    };
    pass(&|step, is| step.key.as_ref() == Some(&is.key));
    pass(&|step, is| !is.removed && step.fields.name == is.fields.name);
    // Only where the key says all of the name: of others, quite different names have the same one.
    pass(&|step, is| {
        let name = &step.fields.name;
        step.key.is_none() && name.is_ascii() && model::text::slug(name) == is.key
    });

    let mut taken: HashSet<String> = existing.iter().map(|step| step.key.clone()).collect();
    taken.extend(wanted.iter().filter_map(|step| step.key.clone()));
    (found.into_iter().zip(wanted))
        .map(|(found, step)| match found {
            Some(index) => StepMatch::Existing(index),
            None => {
                let key = (step.key.clone()).unwrap_or_else(|| free_key(&step.fields.name, &taken));
                taken.insert(key.clone());
                StepMatch::New { id: new_id(), key }
            }
        })
        .collect()
}

/// Keys that the document gives to steps which already have another: they stay as they are.
fn fixed_keys(wanted: &[document::Step], matches: &[StepMatch], existing: &[Step]) -> Vec<Problem> {
    (wanted.iter().zip(matches))
        .filter_map(|(step, is)| {
            let StepMatch::Existing(index) = is else {
                return None;
            };
            let (key, kept) = (step.key.as_deref()?, existing[*index].key.as_str());
            (key != kept).then(|| {
                let path = format!("steps[{:?}].key", step.fields.name);
                let message = format!("the step's key is {kept:?} and stays so: keys never change");
                Problem::warning(path, "KEY_FIXED", message)
            })
        })
        .collect()
}

/// Where a transition of the document leads, and whether it is a default.
type Way = (Uuid, Uuid, bool);

/// Ids for these transitions: those of existing ones between the same two steps, defaults for defaults and
/// others for others, in the order in which they were made; then new ones. So among those between the same
/// steps the document's order is the order in which they are judged, now and whenever it is applied again.
fn transition_ids(
    wanted: &[Way],
    existing: &[Transition],
    mut new_id: impl FnMut() -> Uuid,
) -> Vec<Uuid> {
    let mut by_way: HashMap<Way, Vec<Uuid>> = HashMap::new();
    let mut between: HashMap<(Uuid, Uuid), (usize, Vec<Uuid>)> = HashMap::new();
    for Transition {
        id,
        from_step_id: from,
        to_step_id: to,
        is_default,
        ..
    } in existing
    {
        by_way
            .entry((*from, *to, *is_default))
            .or_default()
            .push(*id);
        between.entry((*from, *to)).or_default().1.push(*id);
    }
    for equals in by_way.values_mut() {
        // Ids are ordered by age; the oldest is popped first.
        equals.sort_by_key(|id| std::cmp::Reverse(*id));
    }
    for (from, to, _) in wanted {
        between.entry((*from, *to)).or_default().0 += 1;
    }
    (wanted.iter())
        .map(|way| match &between[&(way.0, way.1)] {
            // The only way there was is the only way there is, whatever it became.
            (1, ids) if ids.len() == 1 => ids[0],
            _ => (by_way.get_mut(way).and_then(Vec::pop)).unwrap_or_else(&mut new_id),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::fields::StepFields;

    fn wanted(key: Option<&str>, name: &str) -> document::Step {
        document::Step {
            key: key.map(str::to_owned),
            fields: StepFields {
                name: name.to_owned(),
                ..StepFields::default()
            },
        }
    }

    fn existing(key: &str, name: &str, removed: bool) -> Step {
        Step {
            id: Uuid::from_u128(1),
            workflow_id: Uuid::nil(),
            key: key.to_owned(),
            fields: wanted(None, name).fields,
            was_published: removed,
            removed,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
            revision: 1,
        }
    }

    fn new(key: &str) -> StepMatch {
        StepMatch::New {
            id: Uuid::nil(),
            key: key.to_owned(),
        }
    }

    #[test]
    fn names_of_which_keys_say_little_do_not_take_each_others_steps() {
        let before = [existing("step", "审批", false), existing("1", "Ä 1", true)];
        let after = [wanted(None, "支付"), wanted(None, "Ö 1")];
        let matches = match_steps(&after, &before, Uuid::nil);
        assert_eq!(matches, [new("step-2"), new("1-2")]);
    }

    #[test]
    fn steps_are_known_by_key_then_name_then_the_key_of_the_name() {
        use StepMatch::Existing;
        let check = |wanted: &[document::Step], existing: &[Step], want: &[StepMatch]| {
            assert_eq!(match_steps(wanted, existing, Uuid::nil), want);
        };
        let there = [
            existing("a", "Alpha", false),
            existing("b", "Beta", false),
            existing("old", "Old", true),
        ];
        // Renamed, even crosswise.
        check(
            &[wanted(Some("a"), "Beta"), wanted(Some("b"), "Alpha")],
            &there,
            &[Existing(0), Existing(1)],
        );
        check(&[wanted(None, "Beta")], &there, &[Existing(1)]);
        // A name does not take what a key claims.
        check(
            &[wanted(None, "Alpha"), wanted(Some("a"), "Gamma")],
            &there,
            &[new("alpha"), Existing(0)],
        );
        // Removed steps come back by key, given or made, and not by name alone.
        check(&[wanted(Some("old"), "New")], &there, &[Existing(2)]);
        check(&[wanted(None, "Old")], &there, &[Existing(2)]);
        let renamed = [existing("x", "Old", true)];
        check(&[wanted(None, "Old")], &renamed, &[new("old")]);
        // New keys are free of given and of taken ones.
        check(
            &[
                wanted(None, "N"),
                wanted(None, "n!"),
                wanted(Some("n"), "Other"),
            ],
            &there,
            &[new("n-2"), new("n-3"), new("n")],
        );
    }

    #[test]
    fn transitions_between_the_same_steps_keep_their_places() {
        let way = |to: u128, is_default| (Uuid::from_u128(1), Uuid::from_u128(to), is_default);
        let row = |id: u128, to: u128, is_default| Transition {
            id: Uuid::from_u128(id),
            from_step_id: Uuid::from_u128(1),
            to_step_id: Uuid::from_u128(to),
            condition: None,
            is_default,
        };
        let existing = [
            row(12, 2, false),
            row(10, 2, true),
            row(11, 2, false),
            row(13, 3, true),
            row(14, 4, false),
            row(15, 4, false),
        ];
        let check = |wanted: &[Way], want: &[u128]| {
            let ids = transition_ids(wanted, &existing, Uuid::nil);
            let ids: Vec<u128> = ids.iter().map(Uuid::as_u128).collect();
            assert_eq!(ids, want);
        };
        let (way_2, default) = (way(2, false), way(2, true));
        check(&[default, way_2, way_2, way_2], &[10, 11, 12, 0]);
        check(&[way_2, way_2, default, way(5, false)], &[11, 12, 10, 0]);
        // The only one stays itself; of several, a default takes nobody else's place.
        check(&[way(3, false)], &[13]);
        check(&[way(4, true)], &[0]);
    }
}
