//! Commands that are rows: what one execution asks of another. Invariant: a row goes with its effect, in one
//! transaction; of two replicas that take up the same row, one does it.

use std::collections::HashSet;

use chassis::{Error, Result};
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::batch::Verdict;
use super::load::Loaded;
use super::{Action, Command, Pending, Target};
use crate::engine::{Actor, Message, News};
use crate::store::commands::{self, CommandRow, NewCommands};
use crate::store::locks::Granted;

pub const START: &str = "start";
const CANCEL: &str = "cancel";
const GRANT: &str = "grant";
const OVER: &str = "over";
const AWAIT: &str = "await";
/// A signal is kept: it is no command of its own, but makes those of who waits for it.
pub const KEPT: &str = "kept";

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
    let execution = &loaded.execution;
    for message in messages {
        let mut available_at = execution.memory.last_at;
        let (kind, execution_id, wait_id, payload) = match message {
            Message::Start { seq, at, call } => {
                let mut branches = execution.branches.iter();
                // It may be gone again already.
                let Some(branch) = branches.find(|branch| branch.seq == seq) else {
                    continue;
                };
                available_at = at;
                let payload = serde_json::to_value(call);
                (START, execution.id, Some(branch.id), payload)
            }
            Message::Await { seq } => {
                let mut branches = execution.branches.iter();
                let Some(branch) = branches.find(|branch| branch.seq == seq) else {
                    continue;
                };
                (AWAIT, execution.id, Some(branch.id), Ok(Value::Null))
            }
            Message::Over { to, ended } => {
                (OVER, to, Some(execution.id), serde_json::to_value(ended))
            }
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
        let payload = payload.expect("plain data becomes JSON");
        rows.payload.push((!payload.is_null()).then_some(payload));
        rows.available_at.push(available_at);
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
    let wait = || Target::Wait(row.wait_id.unwrap_or_default());
    let (target, action) = match row.kind.as_str() {
        START => (wait(), Action::Call(parse(payload)?)),
        AWAIT => (wait(), Action::TakeKept),
        OVER => (wait(), Action::Hear(News::Over(parse(payload)?))),
        CANCEL => {
            let Cancel { reason, compensate } = parse(payload)?;
            let action = Action::Cancel { reason, compensate };
            (Target::Execution(row.execution_id), action)
        }
        GRANT => (wait(), Action::Grant),
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

fn parse<T: DeserializeOwned>(payload: Value) -> Result<T> {
    serde_json::from_value(payload).map_err(Error::internal)
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
