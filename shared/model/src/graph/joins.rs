//! What joins depend on: from where branches can come to them. Invariant: a join that could never go on
//! is refused; one that waits for nothing is warned of.

use std::collections::HashMap;

use super::Edge;
use super::shape::View;
use crate::kind::{Kind, Needed, Settings};
use crate::problem::Problem;

/// For each join, whether a way leads to it from each step. The join itself counts if it is on a loop.
pub(super) fn sources(
    settings: &[Option<Settings>],
    outgoing: &[Vec<Edge>],
) -> HashMap<usize, Vec<bool>> {
    let mut incoming: Vec<Vec<usize>> = vec![Vec::new(); outgoing.len()];
    for (from, edges) in outgoing.iter().enumerate() {
        for edge in edges {
            incoming[edge.to].push(from);
        }
    }
    let is_join = |at: &usize| matches!(kind(settings, *at), Some(Kind::Join(_)));
    let joins = (0..outgoing.len()).filter(is_join);
    joins
        .map(|join| {
            let mut reached = vec![false; outgoing.len()];
            let mut open = incoming[join].clone();
            while let Some(at) = open.pop() {
                // Whoever is at the join has come: the way on from there is the next round's.
                if !std::mem::replace(&mut reached[at], true) && at != join {
                    open.extend(&incoming[at]);
                }
            }
            (join, reached)
        })
        .collect()
}

pub(super) fn check(
    view: &View<'_>,
    settings: &[Option<Settings>],
    sources: &HashMap<usize, Vec<bool>>,
    problems: &mut Vec<Problem>,
) {
    let forks: Vec<usize> = (0..settings.len())
        .filter(|at| matches!(kind(settings, *at), Some(Kind::Parallel)))
        .collect();
    let mut joins: Vec<(&usize, &Vec<bool>)> = sources.iter().collect();
    joins.sort();
    for (join, from) in joins {
        if forks.iter().any(|fork| from[*fork]) {
            continue;
        }
        let alone = "no parallel step leads here, so only one branch ever comes";
        let path = view.labels.step(*join);
        problems.push(match kind(settings, *join) {
            Some(Kind::Join(wants)) if matches!(wants.needed, Needed::Count(n) if n > 1) => {
                Problem::error(
                    format!("{path}.config.n"),
                    "JOIN_NEVER_FIRES",
                    format!("{alone}: the join would wait for others for ever"),
                )
            }
            _ => Problem::warning(
                path,
                "JOIN_ALONE",
                format!("{alone}: the join has no effect"),
            ),
        });
    }
    for (at, edges) in view.outgoing.iter().enumerate() {
        if matches!(kind(settings, at), Some(Kind::End(_))) && !edges.is_empty() {
            problems.push(Problem::error(
                view.labels.step(at),
                "END_GOES_ON",
                "an end step ends the whole execution: remove the transitions that leave it",
            ));
        }
    }
}

fn kind(settings: &[Option<Settings>], at: usize) -> Option<&Kind> {
    settings[at].as_ref().map(|settings| &settings.kind)
}
