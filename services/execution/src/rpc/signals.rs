//! Signals: to one execution, or to all that wait for one. Invariant: what is answered with OK is taken or
//! kept; a broadcast counts only those that took it.

use chassis::input::Input;
use chassis::{Error, Result, db};
use chrono::TimeDelta;
use model::json::INPUT;
use proto::execution::v1 as pb;
use tokio::task::JoinSet;
use tonic::Request;

use super::Change;
use crate::committer::{Action, Command, Target};
use crate::engine::Signal;
use crate::state::Service;
use crate::store;

/// Waits that a broadcast reaches with one read.
const AT_ONCE: i64 = 1000;
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

pub(super) async fn to_all(
    service: &Service,
    body: pb::BroadcastSignalRequest,
) -> Result<pb::BroadcastSignalResponse> {
    let mut input = Input::new();
    let name = input.text("name", &body.name, NAME);
    let correlation = input.text("correlation", &body.correlation, 0..=200);
    let workflow_id = input.optional_uuid("workflow_id", &body.workflow_id);
    let data = input.json("data", body.data.as_ref(), INPUT);
    input.finish()?;
    let correlation = (!correlation.is_empty()).then_some(correlation);
    let data = data.unwrap_or_default();
    let mut delivered = 0;
    let mut after = None;
    // Whoever comes to wait after this is not reached: an execution in a loop would never be left alone.
    let now = db::now(&mut *db::acquire(&service.pool).await?).await?;
    loop {
        let mut conn = db::acquire(&service.pool).await?;
        let restriction = (name.as_str(), correlation.as_deref(), workflow_id);
        let waits =
            store::load::signal_waits(&mut conn, restriction, (now, after), AT_ONCE).await?;
        drop(conn);
        let Some(last) = waits.last() else {
            return Ok(pb::BroadcastSignalResponse { delivered });
        };
        after = Some(*last);
        let mut sending = JoinSet::new();
        for id in waits {
            let committer = service.committer.clone();
            let command = Command {
                target: Target::Wait(id),
                action: Action::Deliver(data.clone()),
                request: None,
                actor: Default::default(),
            };
            sending.spawn(async move { committer.submit(command).await });
        }
        for result in sending.join_all().await {
            match result {
                Ok(_) => delivered += 1,
                // It stopped waiting meanwhile.
                Err(error) if is_late(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_late(error: &Error) -> bool {
    matches!(
        error.reason(),
        "SIGNAL_NOT_AWAITED" | "EXECUTION_FINISHED" | "NOT_FOUND"
    )
}
