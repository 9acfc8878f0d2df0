//! Commands that are rows: what one execution asks of another. Invariant: a row goes with its effect, in one
//! transaction; of two replicas that take up the same row, one does it.

use std::collections::HashSet;

use chassis::{Error, Result};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::batch::Verdict;
use super::load::Loaded;
use super::{Action, Command, Pending, Target};
use crate::engine::{Actor, Message};
use crate::store::commands::{self, CommandRow, NewCommands};
use crate::store::locks::Granted;

const CANCEL: &str = "cancel";
const GRANT: &str = "grant";

/// The payload of a `cancel`.
#[derive(Debug, Serialize, Deserialize)]
struct Cancel {
    reason: String,
    compensate: bool,
}

/// What an execution asks of others, as rows.
pub(super) fn push(rows: &mut NewCommands, loaded: &mut Loaded) {
    let messages = std::mem::take(&mut loaded.change.messages);
    // What a simulation asks has no effect.
    if loaded.simulation {
        return;
    }
    for message in messages {
        let (kind, execution_id, wait_id, payload) = match message {
            Message::Cancel {
                execution_id,
                reason,
                compensate,
            } => {
                let payload = Cancel { reason, compensate };
                (CANCEL, execution_id, None, serde_json::to_value(payload))
            }
        };
        rows.id.push(Uuid::now_v7());
        rows.kind.push(kind.to_owned());
        rows.execution_id.push(execution_id);
        rows.wait_id.push(wait_id);
        rows.payload
            .push(Some(payload.expect("plain data becomes JSON")));
        rows.available_at.push(loaded.execution.memory.last_at);
    }
}

/// That branches have their locks from now on, as rows.
pub(super) fn grant(rows: &mut NewCommands, granted: Vec<Granted>, at: DateTime<Utc>) {
    for lock in granted {
        rows.id.push(Uuid::now_v7());
        rows.kind.push(GRANT.to_owned());
        rows.execution_id.push(lock.execution_id);
        rows.wait_id.push(Some(lock.wait_id));
        rows.payload.push(None);
        rows.available_at.push(at);
    }
}

/// The command that a row asks for.
pub fn read(row: CommandRow) -> Result<Command> {
    let payload = row.payload.unwrap_or(Value::Null);
    let (target, action) = match row.kind.as_str() {
        CANCEL => {
            let Cancel { reason, compensate } =
                serde_json::from_value(payload).map_err(Error::internal)?;
            let action = Action::Cancel { reason, compensate };
            (Target::Execution(row.execution_id), action)
        }
        GRANT => {
            let wait = row
                .wait_id
                .ok_or_else(|| Error::internal("a lock for nobody"))?;
            (Target::Wait(wait), Action::Grant)
        }
        // Written by a newer release, which does it.
        other => return Err(Error::unavailable("COMMAND_UNKNOWN", other)),
    };
    Ok(Command {
        target,
        action,
        request: None,
        actor: Actor::default(),
    })
}

/// The rows that a batch takes up.
#[derive(Default)]
pub(super) struct Asked {
    there: HashSet<Uuid>,
    done: Vec<Uuid>,
}

impl Asked {
    pub async fn lock(conn: &mut PgConnection, batch: &[Pending]) -> Result<Self> {
        let rows: Vec<Uuid> = batch.iter().filter_map(|pending| pending.row).collect();
        let there = commands::lock_commands(conn, &rows).await?;
        Ok(Self {
            there: there.into_iter().collect(),
            done: Vec::new(),
        })
    }

    /// Whether somebody else has done it, or is doing it at this moment.
    pub fn is_taken(&self, pending: &Pending) -> bool {
        pending.row.is_some_and(|row| !self.there.contains(&row))
    }

    /// Notes what became of a command. One that is a row and is refused can have no effect any more.
    pub fn note(&mut self, pending: &Pending, verdict: Verdict) -> Verdict {
        let Some(row) = pending.row else {
            return verdict;
        };
        match verdict {
            Verdict::Busy => Verdict::Busy,
            Verdict::Done(done) => {
                self.done.push(row);
                Verdict::Done(done)
            }
            Verdict::Refused(error) => {
                tracing::debug!(%row, %error, "a command came too late");
                self.done.push(row);
                Verdict::Done(Uuid::nil().into())
            }
        }
    }

    /// Deletes the rows of what was done.
    pub async fn forget(&self, conn: &mut PgConnection) -> Result<()> {
        commands::delete_commands(conn, &self.done).await?;
        Ok(())
    }
}
