//! Turns transitions into edges. Invariant: each step's edges come out in the order in which they are
//! judged, on every machine the same.

use std::collections::HashMap;

use serde_json::Value;
use uuid::Uuid;

use super::Edge;
use super::facts::{Facts, Place};
use super::labels::{Labels, quoted};
use crate::condition::Condition;
use crate::definition::{Definition, Transition};
use crate::problem::Problem;

/// The outgoing edges of each step. A transition whose condition is malformed still has its edge, so that
/// what lies behind it is not reported as unreachable.
pub(super) fn build(
    definition: &Definition,
    labels: &Labels,
    (by_id, apart, facts): (&HashMap<Uuid, usize>, &[bool], &Facts<'_>),
    problems: &mut Vec<Problem>,
) -> Vec<Vec<Edge>> {
    if definition.transitions.is_empty() {
        return by_order(definition, apart);
    }
    let mut outgoing: Vec<Vec<(usize, Edge)>> =
        definition.steps.iter().map(|_| Vec::new()).collect();
    for (at, transition) in definition.transitions.iter().enumerate() {
        let path = labels.transition(at);
        check_ends(transition, by_id, path, problems);
        let (from, to) = (
            by_id.get(&transition.from_step_id),
            by_id.get(&transition.to_step_id),
        );
        let condition = condition(transition, path, (from, facts), problems);
        if let (Some(from), Some(to)) = (from, to) {
            let edge = Edge {
                id: transition.id,
                to: *to,
                is_default: transition.is_default,
                is_catch: condition.as_ref().is_some_and(Condition::names_failure),
                condition,
            };
            outgoing[*from].push((at, edge));
        }
    }
    (outgoing.into_iter().enumerate())
        .map(|(from, mut edges)| {
            edges.sort_by_key(|(_, edge)| {
                (edge.is_default, definition.steps[edge.to].order, edge.id)
            });
            let takes_all = definition.steps[from].step_type == "parallel";
            check_order(definition, labels, (&edges, takes_all), problems);
            edges.into_iter().map(|(_, edge)| edge).collect()
        })
        .collect()
}

/// A workflow without any transition runs its steps one after another, but for those that stand apart.
fn by_order(definition: &Definition, apart: &[bool]) -> Vec<Vec<Edge>> {
    let mut order: Vec<usize> = (0..definition.steps.len())
        .filter(|at| !apart[*at])
        .collect();
    order.sort_by_key(|at| (definition.steps[*at].order, definition.steps[*at].id));
    let mut outgoing: Vec<Vec<Edge>> = definition.steps.iter().map(|_| Vec::new()).collect();
    for pair in order.windows(2) {
        outgoing[pair[0]].push(Edge {
            id: Uuid::nil(),
            to: pair[1],
            condition: None,
            is_default: false,
            is_catch: false,
        });
    }
    outgoing
}

fn check_ends(
    transition: &Transition,
    by_id: &HashMap<Uuid, usize>,
    path: &str,
    problems: &mut Vec<Problem>,
) {
    for (field, id) in [
        ("fromStepId", transition.from_step_id),
        ("toStepId", transition.to_step_id),
    ] {
        if !by_id.contains_key(&id) {
            problems.push(Problem::error(
                format!("{path}.{field}"),
                "DANGLING_TRANSITION",
                format!("no step of this workflow has the id {id}"),
            ));
        }
    }
}

fn condition(
    transition: &Transition,
    path: &str,
    (from, facts): (Option<&usize>, &Facts<'_>),
    problems: &mut Vec<Problem>,
) -> Option<Condition> {
    let source = given(transition)?;
    let path = format!("{path}.condition");
    if transition.is_default {
        problems.push(Problem::error(
            &path,
            "DEFAULT_WITH_CONDITION",
            "a default is taken when nothing else is: remove its condition, or isDefault",
        ));
    }
    match Condition::parse(source, &path) {
        Ok(condition) => {
            for read in condition.paths() {
                facts.warn_of_unknown_step(read, &path, problems);
            }
            if let Some(step) = from {
                let caught = condition.names_failure();
                let place = Place::Leaving {
                    step: *step,
                    caught,
                };
                condition.check(&|read| facts.known(read, place), &path, problems);
            }
            Some(condition)
        }
        Err(found) => {
            problems.extend(found);
            None
        }
    }
}

fn given(transition: &Transition) -> Option<&Value> {
    transition
        .condition
        .as_ref()
        .filter(|value| !value.is_null())
}

/// What is wrong with the order in which one step's edges, each with its transition, are judged. A step
/// that takes all that hold judges them all.
fn check_order(
    definition: &Definition,
    labels: &Labels,
    (edges, takes_all): (&[(usize, Edge)], bool),
    problems: &mut Vec<Problem>,
) {
    for (at, _) in edges.iter().filter(|(_, edge)| edge.is_default).skip(1) {
        problems.push(Problem::error(
            format!("{}.isDefault", labels.transition(*at)),
            "TWO_DEFAULTS",
            "another transition of the same step is its default; there can be one",
        ));
    }
    let mut always: Option<&Edge> = None;
    // Catches are judged after a failure, when an ordinary transition stands in nobody's way.
    for (at, edge) in edges.iter().filter(|(_, edge)| !edge.is_catch) {
        if let Some(always) = always {
            let before = quoted(&definition.steps[always.to].name);
            problems.push(Problem::warning(
                labels.transition(*at),
                "NEVER_JUDGED",
                format!(
                    "is never judged: the transition to {before} comes first (by the order of its step) and \
                     has no condition; make that one the default"
                ),
            ));
        } else if !takes_all && !edge.is_default && given(&definition.transitions[*at]).is_none() {
            always = Some(edge);
        }
    }
}
