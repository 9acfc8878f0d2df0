//! Which steps and transitions of a document are which of the workflow's. Invariant: pure and stable — a
//! document planned against its own outcome finds everything in place.

use std::collections::{HashMap, HashSet};

use model::problem::Problem;
use uuid::Uuid;

use crate::document;
use crate::editing::free_key;
use crate::fields::TransitionFields;
use crate::store::steps::Step;
use crate::store::transitions::Transition;

/// What a step of the document is in the workflow.
#[derive(Debug, Clone, PartialEq)]
pub enum StepMatch {
    /// The existing step at this index.
    Existing(usize),
    New {
        id: Uuid,
        key: String,
    },
}

/// Matches by key, then by name, then by the key that the name would give. Existing steps include
/// removed ones, which are known by their keys only. `new_id` makes an id for each new step.
pub fn match_steps(
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
    pass(&|step, is| step.key.is_none() && model::text::slug(&step.fields.name) == is.key);

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
pub fn fixed_keys(
    wanted: &[document::Step],
    matches: &[StepMatch],
    existing: &[Step],
) -> Vec<Problem> {
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

/// What is to become of the workflow's transitions.
#[derive(Debug, Default)]
pub struct Ways {
    pub kept: Vec<(Transition, TransitionFields)>,
    pub new: Vec<TransitionFields>,
    pub gone: Vec<Transition>,
}

/// Matches by the two ends; several between the same two, in the order in which they were made.
pub fn match_transitions(wanted: Vec<TransitionFields>, existing: Vec<Transition>) -> Ways {
    let mut between: HashMap<(Uuid, Uuid), Vec<Transition>> = HashMap::new();
    for transition in existing {
        let ends = (transition.fields.from_step_id, transition.fields.to_step_id);
        between.entry(ends).or_default().push(transition);
    }
    for equals in between.values_mut() {
        // Ids are ordered by age; the oldest is popped first.
        equals.sort_by_key(|transition| std::cmp::Reverse(transition.id));
    }
    let mut ways = Ways::default();
    for fields in wanted {
        let ends = (fields.from_step_id, fields.to_step_id);
        match between.get_mut(&ends).and_then(Vec::pop) {
            Some(transition) => ways.kept.push((transition, fields)),
            None => ways.new.push(fields),
        }
    }
    ways.gone = between.into_values().flatten().collect();
    ways.gone.sort_by_key(|transition| transition.id);
    ways
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
        let way = |to: u128, is_default| TransitionFields {
            from_step_id: Uuid::from_u128(1),
            to_step_id: Uuid::from_u128(to),
            condition: None,
            is_default,
        };
        let row = |id: u128, fields: TransitionFields| Transition {
            id: Uuid::from_u128(id),
            workflow_id: Uuid::nil(),
            fields,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
            revision: 1,
        };
        let ways = match_transitions(
            vec![way(2, true), way(2, false), way(4, false)],
            vec![
                row(12, way(2, false)),
                row(11, way(2, true)),
                row(13, way(3, false)),
            ],
        );
        let kept: Vec<u128> = ways.kept.iter().map(|(row, _)| row.id.as_u128()).collect();
        assert_eq!(kept, [11, 12]);
        assert_eq!(ways.new, [way(4, false)]);
        assert_eq!(ways.gone.len(), 1);
        assert_eq!(ways.gone[0].id.as_u128(), 13);
    }
}
