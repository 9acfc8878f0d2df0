//! What a version has: its steps, and the ways between them.
//! Invariant: a transition is known by its id, a move by the steps that it joins.

use std::collections::{HashMap, HashSet};

use model::definition::Definition;
use model::graph::Graph;
use uuid::Uuid;

/// The parts of a version that executions are held against.
#[derive(Debug, Default)]
pub struct Map {
    steps: HashSet<Uuid>,
    /// Where each transition leads.
    targets: HashMap<Uuid, Uuid>,
    moves: HashSet<(Uuid, Uuid)>,
    /// Steps that no transition leads to: what undoes others, and what is done for each item.
    apart: HashSet<Uuid>,
}

impl Map {
    pub fn of(definition: Definition) -> Self {
        let mut map = Self {
            steps: definition.steps.iter().map(|step| step.id).collect(),
            ..Self::default()
        };
        for transition in &definition.transitions {
            let (from, to) = (transition.from_step_id, transition.to_step_id);
            map.targets.insert(transition.id, to);
            map.moves.insert((from, to));
        }
        // One of an earlier release may not parse: then its transitions are all there is to know.
        if let Ok((graph, _)) = Graph::parse(definition) {
            map.read(&graph);
        }
        map
    }

    fn read(&mut self, graph: &Graph) {
        let id = |at: usize| graph.definition.steps[at].id;
        for (at, node) in graph.nodes.iter().enumerate() {
            // Where there is no transition, the order of the steps makes the ways.
            let ways = node.outgoing.iter().map(|edge| (id(at), id(edge.to)));
            self.moves.extend(ways);
            let apart = node.undone_by.into_iter().chain(node.each);
            self.apart.extend(apart.map(id));
        }
    }

    pub fn has_step(&self, step: Uuid) -> bool {
        self.steps.contains(&step)
    }

    pub fn has_move(&self, from: Uuid, to: Uuid) -> bool {
        self.moves.contains(&(from, to))
    }

    pub fn is_apart(&self, step: Uuid) -> bool {
        self.apart.contains(&step)
    }

    /// Where a transition leads.
    pub fn target(&self, transition: Uuid) -> Option<Uuid> {
        self.targets.get(&transition).copied()
    }
}
