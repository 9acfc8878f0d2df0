//! Steps that an operator withdraws. Invariant: what becomes of the execution is the engine's to say.

use chassis::Result;
use proto::execution::v1 as pb;
use tonic::Request;

use super::Change;
use crate::committer::{Action, Command, Target};

pub(super) fn cancel(request: Request<pb::CancelStepRequest>) -> Result<Command> {
    let mut call = Change::read(request, |body| &mut body.request_id)?;
    let target = Target::Wait(call.input.uuid("id", &call.body.id));
    let reason = call.input.text("reason", &call.body.reason, 1..=1000);
    let goes_on = call.body.goes_on;
    call.command("CancelStep", target, Action::Leave { reason, goes_on })
}
