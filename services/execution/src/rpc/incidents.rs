//! Incidents: what an operator may say of one. Invariant: how it goes on is the engine's to do.

use chassis::Result;
use model::json::INPUT;
use proto::execution::v1 as pb;
use tonic::Request;

use super::Change;
use crate::committer::{Action, Command, Target};
use crate::engine::Resolution;

pub(super) fn resolve(request: Request<pb::ResolveIncidentRequest>) -> Result<Command> {
    let mut call = Change::read(request, |body| &mut body.request_id)?;
    let target = Target::Wait(call.input.uuid("id", &call.body.id));
    let data = call.input.json("data", call.body.data.as_ref(), INPUT);
    let data = data.unwrap_or_default();
    let resolution = match call.body.resolution() {
        pb::IncidentResolution::Retry => Resolution::Retry { data },
        pb::IncidentResolution::Complete => Resolution::Complete { output: data },
        pb::IncidentResolution::GiveUp => {
            if !data.is_empty() {
                call.input
                    .push("data", "has no meaning if the execution is given up");
            }
            Resolution::GiveUp
        }
        pb::IncidentResolution::Unspecified => {
            call.input
                .push("resolution", "is required: RETRY, COMPLETE or GIVE_UP");
            Resolution::GiveUp
        }
    };
    call.command("ResolveIncident", target, Action::Resolve(resolution))
}
