//! Simulations, asked for by SimulateWorkflow or by a start's metadata. Invariant: nothing here writes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chassis::input::Input;
use chassis::{Error, Result, db};
use model::graph::Graph;
use model::json::{self, INPUT};
use model::{text, wire};
use proto::execution::v1 as pb;
use serde_json::{Map, Value, json};
use sqlx::types::Json;
use uuid::Uuid;

use super::answer::Room;
use super::{explain, view};
use crate::engine;
use crate::simulate::{self, Exercise, Mock, Mocks, Simulated};
use crate::state::Service;
use crate::store::executions::Execution;
use crate::store::logs::Log;

/// Lists of answers that one simulation takes: each step may have one.
const MOST_LISTS: usize = 1000;

/// What a start with `metadata.simulation` is going to store: everybody answers with defaults.
pub async fn of_start(
    service: &Service,
    workflow_id: Uuid,
    metadata: &Map<String, Value>,
) -> Result<(Arc<Graph>, engine::Execution, engine::Change)> {
    let version = service.definitions.startable(workflow_id).await?;
    let graph = service.definitions.graph(workflow_id, version).await?;
    let input = metadata.get("inputData").and_then(Value::as_object);
    let input = input.cloned().unwrap_or_default();
    let simulated = run(service, graph.clone(), input, Mocks::default()).await?;
    Ok((graph, simulated.execution, simulated.change))
}

/// Answers SimulateWorkflow.
pub async fn of_request(
    service: &Service,
    body: pb::SimulateWorkflowRequest,
) -> Result<pb::SimulateWorkflowResponse> {
    let mut input = Input::new();
    let workflow_id = input.uuid("workflow_id", &body.workflow_id);
    if body.version < 0 {
        input.push("version", "is negative");
    }
    let data = input
        .json("input_data", body.input_data.as_ref(), INPUT)
        .unwrap_or_default();
    let mocks = read_mocks(&mut input, &body.mocks);
    input.finish()?;
    let graph = match body.version {
        0 => service.definitions.working_copy(workflow_id).await?,
        version => service.definitions.graph(workflow_id, version).await?,
    };
    let mocks = bind(mocks, &graph)?;
    let simulated = run(service, graph.clone(), data.clone(), mocks).await?;
    Ok(show(simulated, &graph, data))
}

fn read_mocks(
    input: &mut Input,
    mocks: &HashMap<String, prost_types::ListValue>,
) -> BTreeMap<String, Vec<Mock>> {
    if mocks.len() > MOST_LISTS {
        input.push("mocks", format!("has more than {MOST_LISTS} lists"));
        return BTreeMap::new();
    }
    let mut read = BTreeMap::new();
    for (step, answers) in mocks {
        let field = format!("mocks[{:?}]", text::clean(step, 200));
        let answers = input
            .keep(&field, wire::json_from_list(answers))
            .unwrap_or_default();
        let answers = answers.iter().enumerate().filter_map(|(at, answer)| {
            let parsed = json::check(answer, INPUT).and_then(|()| Mock::parse(answer));
            input.keep(&format!("{field}[{at}]"), parsed)
        });
        read.insert(step.clone(), answers.collect());
    }
    read
}

/// Finds out which steps the answers are for.
fn bind(mocks: BTreeMap<String, Vec<Mock>>, graph: &Graph) -> Result<Mocks> {
    Mocks::bind(mocks, graph).map_err(|wrong| {
        let mut input = Input::new();
        for (field, why) in wrong {
            input.push(field, why);
        }
        input.finish().expect_err("something is wrong")
    })
}

/// Up to ten thousand activations are work for a thread that answers nobody else.
async fn run(
    service: &Service,
    graph: Arc<Graph>,
    input: Map<String, Value>,
    mocks: Mocks,
) -> Result<Simulated> {
    let _turn = service.turn().await?;
    let mut conn = db::acquire(&service.pool).await?;
    let now = db::now(&mut conn).await?;
    drop(conn);
    tokio::task::spawn_blocking(move || simulate::run(&graph, input, &mocks, now))
        .await
        .map_err(Error::internal)?
        .map_err(|large| Error::precondition("LIMIT_EXCEEDED", large.to_string()))
}

fn show(
    simulated: Simulated,
    graph: &Graph,
    input: Map<String, Value>,
) -> pb::SimulateWorkflowResponse {
    let id = simulated.execution.id;
    let execution = view::execution(execution_row(simulated.execution, input), Vec::new());
    let mut room = Room::default();
    room.fits(&execution);
    let rows = simulated.change.logs.into_values();
    let rows: Vec<Log> = rows.map(|log| log_row(log, id)).collect();
    let logs: Vec<_> = (rows.iter().cloned())
        .map(|row| view::log(row, graph))
        .take_while(|log| room.fits(log))
        .collect();
    let told = rows.iter().map(|row| explain::entry(row, None, graph));
    let explanations = told.take_while(|entry| room.fits(entry)).collect();
    let words = |ids: Vec<Uuid>| ids.iter().map(Uuid::to_string).collect();
    let coverage = simulated.coverage;
    let unexercised = coverage.unexercised.into_iter();
    pb::SimulateWorkflowResponse {
        execution: Some(execution),
        logs,
        unvisited_step_ids: words(coverage.unvisited_steps),
        untaken_transition_ids: words(coverage.untaken_transitions),
        unexercised_outcomes: unexercised
            .map(|(step_id, exercise)| pb::UnexercisedOutcome {
                step_id: step_id.to_string(),
                step_name: view::step_name(graph, step_id),
                outcome: outcome(exercise).into(),
            })
            .collect(),
        explanations,
    }
}

fn outcome(exercise: Exercise) -> pb::StepOutcome {
    match exercise {
        Exercise::Completed => pb::StepOutcome::Completed,
        Exercise::Failed => pb::StepOutcome::Failed,
        Exercise::TimedOut => pb::StepOutcome::Timeout,
        Exercise::Approved => pb::StepOutcome::Approved,
        Exercise::Rejected => pb::StepOutcome::Rejected,
    }
}

/// The row that the execution would have.
fn execution_row(execution: engine::Execution, input: Map<String, Value>) -> Execution {
    let metadata = json!({ "inputData": input, "simulation": true });
    let (error, error_code) = texts(execution.failure);
    Execution {
        id: execution.id,
        workflow_id: execution.workflow_id,
        client_id: execution.client_id,
        status: execution.status.to_string(),
        started_at: execution.started_at,
        completed_at: execution.completed_at,
        metadata: metadata.as_object().cloned().map(Json),
        created_at: execution.started_at,
        updated_at: execution.memory.last_at,
        workflow_version: execution.version,
        error,
        error_code,
        closing_as: None,
        parent_execution_id: None,
        revision: 1,
        business_key: None,
        restarted_from_id: None,
        schedule_id: None,
        started_by: None,
        waits: None,
    }
}

/// The row that a log would have.
fn log_row(log: engine::Log, execution_id: Uuid) -> Log {
    let (error, error_code) = texts(log.failure);
    let route = match log.route {
        Some(Value::Object(route)) => Some(Json(route)),
        _ => None,
    };
    Log {
        id: Uuid::now_v7(),
        execution_id,
        step_id: Some(log.step_id),
        status: log.status.to_string(),
        message: log.message,
        data: log.data.map(Json),
        error,
        started_at: log.times.started_at,
        completed_at: log.completed_at,
        seq: log.seq,
        activation: log.activation,
        attempt: log.attempt,
        queued_at: log.times.queued_at,
        available_at: log.times.available_at,
        assigned_at: log.times.assigned_at,
        route,
        error_code,
        event_seq: log.event_seq,
        item_index: log.item_index,
        from_seq: log.from,
    }
}

fn texts(failure: Option<engine::Failure>) -> (Option<String>, Option<String>) {
    failure
        .map(|failure| (failure.message, failure.code))
        .unzip()
}
