//! Signals to one execution. Invariant: what is answered with OK is taken or kept.

use chassis::{Result, db};
use chrono::TimeDelta;
use model::json::INPUT;
use proto::execution::v1 as pb;
use tonic::Request;

use super::Change;
use crate::committer::{Action, Command, Target};
use crate::engine::Signal;
use crate::state::Service;

/// Characters of a signal's name.
pub(super) const NAME: std::ops::RangeInclusive<usize> = 1..=200;

/// The command that brings a signal to an execution.
pub(super) async fn to_one(
    service: &Service,
    request: Request<pb::SignalExecutionRequest>,
) -> Result<Command> {
    let mut call = Change::read(request, |body| &mut body.request_id)?;
    let target = Target::Execution(call.input.uuid("id", &call.body.id));
    let name = call.input.text("name", &call.body.name, NAME);
    let data = call.input.json("data", call.body.data.as_ref(), INPUT);
    let ttl = call.input.duration("ttl", call.body.ttl.as_ref());
    let ttl = ttl.map(TimeDelta::from_std).transpose();
    if ttl.is_err() || ttl.is_ok_and(|ttl| ttl.is_some_and(|ttl| ttl > TimeDelta::days(3650))) {
        call.input.push("ttl", "must not be longer than 3650 days");
    }
    call.check()?;
    let expires_at = match ttl {
        Ok(Some(ttl)) => {
            let now = db::now(&mut *db::acquire(&service.pool).await?).await?;
            Some(now + ttl)
        }
        _ => None,
    };
    let signal = Signal {
        name,
        data: data.unwrap_or_default(),
        expires_at,
    };
    call.command("SignalExecution", target, Action::Signal(signal))
}
