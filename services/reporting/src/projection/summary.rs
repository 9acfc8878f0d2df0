//! Sums over a range of days, from several sides.
//! Invariant: every side adds up the same figures, so the workflows' totals are the total.

use std::collections::HashMap;
use std::hash::Hash;

use uuid::Uuid;

use super::figures::{DayKey, Figures, Grain};

#[derive(Debug, Default)]
pub struct Summary {
    pub total: Figures,
    pub by_workflow: HashMap<Uuid, Figures>,
    pub by_client: HashMap<Uuid, Figures>,
    /// By workflow and step.
    pub by_step: HashMap<(Uuid, Uuid), Figures>,
}

impl Summary {
    pub fn add(&mut self, key: &DayKey, figures: &Figures) {
        match key.grain {
            Grain::Execution => {
                self.total.merge(figures);
                self.by_workflow
                    .entry(key.workflow_id)
                    .or_default()
                    .merge(figures);
                self.by_client.entry(key.key).or_default().merge(figures);
            }
            Grain::Step => {
                self.by_step
                    .entry((key.workflow_id, key.key))
                    .or_default()
                    .merge(figures);
            }
            Grain::Hour | Grain::Transition | Grain::Group => {}
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
