//! Signals that have just been kept. Invariant: whoever began to wait before that gets one; who comes later looks for
//! it by a row of its own.

use chassis::{Result, db};
use sqlx::PgPool;
use tonic::Code;
use uuid::Uuid;

use crate::committer::{Action, Command, Committer, Target};
use crate::engine::Actor;
use crate::store::{commands, kept_signals, load};

/// Waits read at once.
const AT_ONCE: i64 = 100;

/// Lets those take a signal, one after another, who wait for it already; then deletes the row that asked for this.
pub async fn announce(pool: &PgPool, committer: &Committer, row: Uuid, id: Uuid) -> Result<()> {
    let mut after = None;
    loop {
        let mut conn = db::acquire(pool).await?;
        // Taken or expired: nobody else needs to look.
        let Some(signal) = kept_signals::get(&mut conn, id).await? else {
            break;
        };
        let key = (
            signal.name.as_str(),
            Some(signal.correlation.as_str()),
            signal.workflow_id,
        );
        let now = db::now(&mut conn).await?;
        let waits = load::signal_waits(&mut conn, key, (now, after), AT_ONCE).await?;
        drop(conn);
        let Some(last) = waits.last() else { break };
        after = Some(*last);
        for id in waits {
            let command = Command {
                target: Target::Wait(id),
                action: Action::TakeKept,
                request: None,
                actor: Actor::default(),
            };
            match committer.submit(command).await {
                Ok(_) => {}
                // It stopped waiting meanwhile, or has no room for the data.
                Err(error) if error.code() == Code::FailedPrecondition => {}
                Err(error) => return Err(error),
            }
        }
    }
    let mut conn = db::acquire(pool).await?;
    commands::delete_commands(&mut conn, &[row]).await?;
    Ok(())
}
