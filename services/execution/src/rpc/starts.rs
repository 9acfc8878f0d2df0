//! Starts: one, or many side by side. Invariant: each start of a batch is judged as it would be alone.

use chassis::auth::{self, Caller};
use chassis::input::Input;
use chassis::{Error, Result};
use futures_util::future::join_all;
use model::json::INPUT;
use proto::execution::v1 as pb;
use proto::execution::v1::BusinessKeyPolicy as Policy;
use serde_json::{Map, Value};
use tonic::Request;

use super::answer::{Room, call_error};
use super::submit::submit;
use super::{Change, simulation};
use crate::committer::{Action, BURST, BusinessKey, Command, KeyPolicy, NewExecution, Target};
use crate::state::Service;

/// Starts that one call may ask for.
const MOST: usize = 1000;

/// The command of StartExecution.
pub(super) async fn one(
    service: &Service,
    request: Request<pb::StartExecutionRequest>,
) -> Result<Command> {
    let caller = auth::caller(&request)?.clone();
    let (mut command, is_simulation) = read(caller, request.into_inner())?;
    if let Target::New(new) = &mut command.target
        && is_simulation
        && let Some(metadata) = &new.metadata
    {
        let simulated = simulation::of_start(service, new.workflow_id, metadata).await;
        new.simulated = Some(simulated);
    }
    Ok(command)
}

/// Answers BatchStartExecutions.
pub(super) async fn many(
    service: &Service,
    request: Request<pb::BatchStartExecutionsRequest>,
) -> Result<pb::BatchStartExecutionsResponse> {
    let caller = auth::caller(&request)?.clone();
    let requests = request.into_inner().requests;
    if !(1..=MOST).contains(&requests.len()) {
        let count = requests.len();
        let description = format!("has {count} elements; 1 to {MOST} are accepted");
        return Err(Error::invalid("requests", description));
    }
    let mut started = Vec::with_capacity(requests.len());
    let mut requests = requests.into_iter();
    // No more at once than may always wait: a large batch leaves room in the queue for others.
    while !requests.as_slice().is_empty() {
        let chunk = requests.by_ref().take(BURST);
        let starting = chunk.map(|request| start(service, caller.clone(), request));
        started.extend(join_all(starting).await);
    }
    let mut room = Room::default();
    let results = started.into_iter().map(|result| shown(result, &mut room));
    Ok(pb::BatchStartExecutionsResponse {
        results: results.collect(),
    })
}

async fn start(
    service: &Service,
    caller: Caller,
    request: pb::StartExecutionRequest,
) -> Result<pb::Execution> {
    let (command, is_simulation) = read(caller, request)?;
    if is_simulation {
        let description = "a simulation is started alone, by StartExecution";
        return Err(Error::invalid("metadata.simulation", description));
    }
    submit(service, command).await
}

fn shown(result: Result<pb::Execution>, room: &mut Room) -> pb::StartResult {
    let mut shown = pb::StartResult::default();
    match result {
        Ok(execution) => {
            shown.execution_id = execution.id.clone();
            shown.execution = Some(execution);
            if !room.fits(&shown) {
                shown.execution = None;
            }
        }
        Err(error) => {
            shown.error = Some(call_error(&error));
        }
    }
    shown
}

/// Checks a start; says whether it is a simulation, which is still to be run.
fn read(caller: Caller, body: pb::StartExecutionRequest) -> Result<(Command, bool)> {
    let mut call = Change::of(caller, body, |body| &mut body.request_id);
    let workflow_id = call.input.uuid("workflow_id", &call.body.workflow_id);
    let metadata = call
        .input
        .json("metadata", call.body.metadata.as_ref(), INPUT);
    let is_simulation = check_metadata(&mut call.input, "metadata", metadata.as_ref());
    let business_key = business_key(&mut call.input, &call.body);
    let target = Target::New(Box::new(NewExecution {
        workflow_id,
        metadata,
        business_key,
        ..NewExecution::default()
    }));
    let command = call.command("StartExecution", target, Action::Start)?;
    Ok((command, is_simulation))
}

fn business_key(input: &mut Input, body: &pb::StartExecutionRequest) -> Option<BusinessKey> {
    let policy = match Policy::try_from(body.business_key_policy) {
        Ok(Policy::Unspecified | Policy::AllowDuplicate) => KeyPolicy::AllowDuplicate,
        Ok(Policy::RejectWhileRunning) => KeyPolicy::RejectWhileRunning,
        Ok(Policy::ReturnRunning) => KeyPolicy::ReturnRunning,
        Ok(Policy::RejectAlways) => KeyPolicy::RejectAlways,
        Err(_) => {
            input.push("business_key_policy", "is none of BusinessKeyPolicy");
            KeyPolicy::AllowDuplicate
        }
    };
    if body.business_key.is_empty() {
        if policy != KeyPolicy::AllowDuplicate {
            input.push("business_key", "is required by its policy");
        }
        return None;
    }
    let key = input.name("business_key", &body.business_key, 1..=200);
    Some(BusinessKey { key, policy })
}

/// Checks the documented keys of what `field` holds; says whether it is a simulation.
pub(super) fn check_metadata(
    input: &mut Input,
    field: &str,
    metadata: Option<&Map<String, Value>>,
) -> bool {
    let get = |key: &str| metadata.and_then(|metadata| metadata.get(key));
    if get("inputData").is_some_and(|data| !data.is_object()) {
        input.push(format!("{field}.inputData"), "is not an object");
    }
    match get("simulation") {
        None => false,
        Some(Value::Bool(simulation)) => *simulation,
        Some(_) => {
            let description = "is neither true nor false";
            input.push(format!("{field}.simulation"), description);
            false
        }
    }
}
