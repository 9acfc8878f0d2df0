//! Signals that find their execution by its business key, or start it. Invariant: a call reaches one execution, once:
//! whichever way it took, a repetition finds it there.

use chassis::auth;
use chassis::{Error, Result, db};
use model::json::INPUT;
use proto::execution::v1 as pb;
use serde_json::{Map, Value};
use tonic::Request;
use uuid::Uuid;

use super::starts::check_metadata;
use super::submit::submit;
use super::{Change, signals};
use crate::committer::{Action, BusinessKey, Command, KeyPolicy, NewExecution, Origin, Target};
use crate::engine::Signal;
use crate::state::Service;
use crate::store::business_keys;

/// How often the execution may end, or another one begin, between the look at it and the signal.
const TRIES: u32 = 10;

/// Answers SignalOrStartExecution.
pub(super) async fn signal_or_start(
    service: &Service,
    request: Request<pb::SignalOrStartExecutionRequest>,
) -> Result<pb::Execution> {
    let caller = auth::caller(&request)?.clone();
    let mut call = Change::of(caller, request.into_inner(), |body| &mut body.request_id);
    let workflow_id = call.input.uuid("workflow_id", &call.body.workflow_id);
    let key = call
        .input
        .name("business_key", &call.body.business_key, 1..=200);
    let name = call.input.text("name", &call.body.name, signals::NAME);
    let data = call.input.json("data", call.body.data.as_ref(), INPUT);
    let metadata = call
        .input
        .json("metadata", call.body.metadata.as_ref(), INPUT);
    if check_metadata(&mut call.input, "metadata", metadata.as_ref()) {
        let description = "a simulation takes no signals";
        call.input.push("metadata.simulation", description);
    }
    let signal = Signal {
        name,
        data: data.unwrap_or_default(),
        expires_at: None,
    };
    let new = NewExecution {
        workflow_id,
        metadata: Some(metadata.unwrap_or_else(|| input(&signal))),
        business_key: Some(BusinessKey {
            key: key.clone(),
            policy: KeyPolicy::RejectWhileRunning,
        }),
        origin: Origin::Signal(Box::new(signal.clone())),
        ..NewExecution::default()
    };
    let target = Target::New(Box::new(new));
    let start = call.command("SignalOrStartExecution", target, Action::Start)?;
    for _ in 0..TRIES {
        match submit(service, start.clone()).await {
            Err(error) if error.reason() == "BUSINESS_KEY_IN_USE" => {}
            answered => return answered,
        }
        let Some(open) = open(service, workflow_id, &key).await? else {
            continue;
        };
        let tell = Command {
            target: Target::Execution(open),
            action: Action::Signal(signal.clone()),
            ..start.clone()
        };
        match submit(service, tell).await {
            Err(error) if error.reason() == "EXECUTION_FINISHED" => {}
            answered => return answered,
        }
    }
    let message =
        "executions with this business key begin and end faster than a signal reaches one";
    Err(Error::unavailable("EXECUTION_BUSY", message))
}

/// The metadata of an execution that is started by what the signal brings.
fn input(signal: &Signal) -> Map<String, Value> {
    Map::from_iter([("inputData".to_owned(), signal.data.clone().into())])
}

async fn open(service: &Service, workflow_id: Uuid, key: &str) -> Result<Option<Uuid>> {
    let mut conn = db::acquire(&service.pool).await?;
    let holders = business_keys::holders(&mut conn, &[workflow_id], &[key.to_owned()]).await?;
    Ok(holders.first().and_then(|holder| holder.open))
}
