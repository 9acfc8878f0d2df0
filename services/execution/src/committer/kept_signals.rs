//! Signals that came before anybody waited for them. Invariant: one that is kept goes in the transaction in which a
//! branch takes it.

use std::collections::BTreeMap;

use chassis::Result;
use sqlx::PgConnection;
use uuid::Uuid;

use super::batch::{Unit, Verdict};
use super::load::Found;
use super::refusal::refused;
use super::{Action, Pending, Target};
use crate::engine::{self, Hold, Refusal};
use crate::store::kept_signals::{self, Offer};

/// Name, correlation, and the workflow of who waits.
type Key = (String, String, Uuid);

/// What branches of a batch may take: for each key the oldest signal, which one of them gets.
#[derive(Default)]
pub(super) struct KeptSignals {
    offers: BTreeMap<Key, Offer>,
    taken: Vec<Uuid>,
}

impl KeptSignals {
    /// Looks for what the waits of a batch may take.
    pub async fn look(conn: &mut PgConnection, batch: &[Pending], found: &Found) -> Result<Self> {
        let waits = batch.iter().filter_map(|pending| {
            let command = &pending.command;
            match (&command.target, &command.action) {
                (Target::Wait(id), Action::TakeKept) => awaited(found, *found.branches.get(id)?),
                _ => None,
            }
        });
        let mut keys: Vec<Key> = waits.collect();
        if keys.is_empty() {
            return Ok(Self::default());
        }
        keys.sort();
        keys.dedup();
        let names: Vec<String> = keys.iter().map(|key| key.0.clone()).collect();
        let correlations: Vec<String> = keys.iter().map(|key| key.1.clone()).collect();
        let workflows: Vec<Uuid> = keys.iter().map(|key| key.2).collect();
        kept_signals::lock_keys(conn, &names, &correlations).await?;
        let offers = kept_signals::oldest(conn, &names, &correlations, &workflows).await?;
        let offers = offers.into_iter().map(|offer| {
            let key = (offer.name.clone(), offer.correlation.clone());
            ((key.0, key.1, offer.workflow_id), offer)
        });
        Ok(Self {
            offers: offers.collect(),
            taken: Vec::new(),
        })
    }

    /// Deletes what was taken.
    pub async fn forget(&self, conn: &mut PgConnection) -> Result<()> {
        kept_signals::delete(conn, &self.taken).await?;
        Ok(())
    }
}

/// For what a branch waits, if it is for a signal with a correlation.
fn awaited(found: &Found, (execution_id, seq): (Uuid, i32)) -> Option<Key> {
    let execution = &found.executions.get(&execution_id)?.execution;
    let branch = execution.branches.iter().find(|b| b.seq == seq)?;
    match &branch.hold {
        Hold::Signal {
            name,
            correlation: Some(correlation),
            ..
        } => Some((name.clone(), correlation.clone(), execution.workflow_id)),
        _ => None,
    }
}

impl Unit<'_> {
    /// Gives a branch the signal that was kept for it, if there is one.
    pub(super) fn take_kept(&mut self, (execution_id, seq): (Uuid, i32)) -> Verdict {
        let action = &Action::TakeKept;
        // What it waits for now may not be what it waited for when the batch began.
        let Some(key) = awaited(&self.found, (execution_id, seq)) else {
            return Verdict::Refused(refused(Refusal::BranchGone, action));
        };
        let Some(offer) = self.kept_signals.offers.get(&key) else {
            return Verdict::Done(execution_id.into());
        };
        if self.kept_signals.taken.contains(&offer.id) {
            // There may be another one: the next batch looks.
            return Verdict::Busy;
        }
        let (id, data) = (offer.id, offer.data.0.clone());
        let loaded = self.found.executions.get_mut(&execution_id);
        let loaded = loaded.expect("branches are found with their execution");
        let command = engine::Command::Deliver { seq, data };
        match loaded.advance(command, self.found.now) {
            Ok(()) => {
                self.kept_signals.taken.push(id);
                Verdict::Done(execution_id.into())
            }
            Err(refusal) => Verdict::Refused(refused(refusal, action)),
        }
    }
}
