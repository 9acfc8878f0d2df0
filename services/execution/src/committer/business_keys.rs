//! Which executions have which business keys, while a batch is judged. Invariant: a key is read under its lock,
//! which is held until the commit, so that of several starts on several replicas one finds the other.

use std::collections::{BTreeSet, HashMap};

use chassis::{Error, Result};
use sqlx::PgConnection;
use uuid::Uuid;

use super::batch::Verdict;
use super::load::Found;
use super::{BusinessKey, KeyPolicy, NewExecution, Pending, Target};
use crate::engine::Execution;
use crate::store::business_keys;

/// Who has a key: the latest that is open, and the latest.
#[derive(Debug, Default, Clone, Copy)]
struct Holder {
    open: Option<Uuid>,
    latest: Option<Uuid>,
}

/// The keys of a batch that some start wants for itself.
#[derive(Debug, Default)]
pub(super) struct Keys(HashMap<(Uuid, String), Holder>);

impl Keys {
    /// Waits for whoever starts an execution with one of these keys, then reads who has them. Starts that do not
    /// care wait for nobody.
    pub async fn lock(conn: &mut PgConnection, batch: &[Pending]) -> Result<Self> {
        let wanted: BTreeSet<(Uuid, String)> = batch
            .iter()
            .filter_map(|pending| match &pending.command.target {
                Target::New(new) => exclusive(new).map(|it| (new.workflow_id, it.key.clone())),
                _ => None,
            })
            .collect();
        if wanted.is_empty() {
            return Ok(Self::default());
        }
        let (workflows, keys): (Vec<Uuid>, Vec<String>) = wanted.into_iter().unzip();
        business_keys::lock(conn, &workflows, &keys).await?;
        let holders = business_keys::holders(conn, &workflows, &keys).await?;
        let holders = holders.into_iter().map(|row| {
            let holder = Holder {
                open: row.open,
                latest: row.latest,
            };
            ((row.workflow_id, row.business_key), holder)
        });
        Ok(Self(holders.collect()))
    }

    /// What a start's key means for it; nothing if it may go on.
    pub fn judge(&self, new: &NewExecution, found: &Found) -> Option<Verdict> {
        let BusinessKey { key, policy } = exclusive(new)?;
        let holder = self.0.get(&(new.workflow_id, key.clone()))?;
        let open = holder.open.filter(|_| *policy != KeyPolicy::RejectAlways);
        let ended = |id: &Uuid| {
            let loaded = found.executions.get(id);
            loaded.is_some_and(|loaded| loaded.execution.status.is_final())
        };
        if open.as_ref().is_some_and(ended) {
            // It ends with this batch; whether another one is open, the next batch reads.
            return Some(Verdict::Busy);
        }
        match policy {
            KeyPolicy::AllowDuplicate => None,
            KeyPolicy::RejectWhileRunning => open.map(|id| Verdict::Refused(in_use(key, id))),
            KeyPolicy::ReturnRunning => open.map(|id| Verdict::Done(id.into())),
            KeyPolicy::RejectAlways => holder.latest.map(|id| Verdict::Refused(in_use(key, id))),
        }
    }

    /// The start of this batch that has its key from now on.
    pub fn note(&mut self, new: &NewExecution, started: &Execution) {
        let Some(it) = new
            .business_key
            .as_ref()
            .filter(|_| new.simulated.is_none())
        else {
            return;
        };
        // A key that no start of the batch wants for itself is nobody's concern.
        if let Some(holder) = self.0.get_mut(&(new.workflow_id, it.key.clone())) {
            holder.latest = Some(started.id);
            if !started.status.is_final() {
                holder.open = Some(started.id);
            }
        }
    }
}

/// The key of a start that depends on who else has it.
fn exclusive(new: &NewExecution) -> Option<&BusinessKey> {
    let key = new.business_key.as_ref()?;
    (new.simulated.is_none() && key.policy != KeyPolicy::AllowDuplicate).then_some(key)
}

fn in_use(key: &str, id: Uuid) -> Error {
    let message = format!("execution {id} of the workflow has the business key {key:?}");
    Error::already_exists("BUSINESS_KEY_IN_USE", message)
}
