//! Sums over a range of days, from several sides.
//! Invariant: every side adds up the same figures, so the workflows' totals are the total.

use std::collections::HashMap;
use std::hash::Hash;

use uuid::Uuid;

use super::figures::{Figures, Grain};

#[derive(Debug, Default)]
pub struct Summary {
    pub total: Figures,
    pub by_workflow: HashMap<Uuid, Figures>,
    pub by_client: HashMap<Uuid, Figures>,
    /// By workflow and step.
    pub by_step: HashMap<(Uuid, Uuid), Figures>,
}

impl Summary {
    pub fn add(&mut self, workflow_id: Uuid, grain: Grain, key: Uuid, figures: &Figures) {
        match grain {
            Grain::Execution => {
                self.total.merge(figures);
                self.by_workflow
                    .entry(workflow_id)
                    .or_default()
                    .merge(figures);
                self.by_client.entry(key).or_default().merge(figures);
            }
            Grain::Step => {
                self.by_step
                    .entry((workflow_id, key))
                    .or_default()
                    .merge(figures);
            }
            Grain::Transition => {}
        }
    }
}

/// The greatest totals first, equal ones by id.
pub fn greatest<K: Ord + Hash>(figures: HashMap<K, Figures>, limit: usize) -> Vec<(K, Figures)> {
    let mut ranked = Vec::from_iter(figures);
    ranked.sort_by(|(a, left), (b, right)| right.total.cmp(&left.total).then_with(|| a.cmp(b)));
    ranked.truncate(limit);
    ranked
}
