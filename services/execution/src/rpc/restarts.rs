//! Restarts: an execution that is over begins again in a new one. Invariant: the old one is read, never changed.

use std::pin::pin;

use chassis::{Error, Result, db};
use model::graph::{Graph, Node};
use model::json::{self, INPUT};
use model::status::ExecutionStatus;
use proto::execution::v1 as pb;
use sqlx::PgConnection;
use tokio_stream::StreamExt;
use tonic::Request;
use uuid::Uuid;

use super::Change;
use crate::committer::{
    Action, BusinessKey, Command, KeyPolicy, NewExecution, Origin, Restart, Target,
};
use crate::engine::Reuse;
use crate::state::Service;
use crate::store;
use crate::store::executions::Execution;

/// Bytes of outputs that one execution may take over from another.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// The command of RestartExecution.
pub(super) async fn restart(
    service: &Service,
    request: Request<pb::RestartExecutionRequest>,
) -> Result<Command> {
    let mut call = Change::read(request, |body| &mut body.request_id)?;
    let id = call.input.uuid("id", &call.body.id);
    let step = &call.body.from_step_id;
    let afresh = call.input.optional_uuid("from_step_id", step);
    call.check()?;
    let new = match prepare(service, id, afresh, call.body.use_current_version).await {
        // A repetition of a restart that succeeded finds it, whatever the old execution has become since.
        Err(error) if !call.request_id.is_empty() => NewExecution {
            simulated: Some(Err(error)),
            ..NewExecution::default()
        },
        prepared => prepared?,
    };
    let target = Target::New(Box::new(new));
    call.command("RestartExecution", target, Action::Start)
}

async fn prepare(
    service: &Service,
    id: Uuid,
    afresh: Option<Uuid>,
    use_current_version: bool,
) -> Result<NewExecution> {
    let mut conn = db::acquire(&service.pool).await?;
    let old = store::executions::get(&mut conn, id).await?;
    drop(conn);
    let old = old.ok_or_else(|| Error::not_found("execution", id))?;
    check(&old, afresh)?;
    let version = match use_current_version {
        true => service.definitions.startable(old.workflow_id).await?,
        false => old.workflow_version,
    };
    let graph = service.definitions.graph(old.workflow_id, version).await?;
    if let Some(step) = afresh {
        let Some(at) = graph.node_of(step) else {
            let description = format!("is not a step of version {version}");
            return Err(Error::invalid("from_step_id", description));
        };
        let named = |node: &Node| node.each == Some(at) || node.undone_by == Some(at);
        if graph.nodes.iter().any(named) {
            let description = "stands apart from the flow: name the step that it is done for";
            return Err(Error::invalid("from_step_id", description));
        }
    }
    let reuse = reuse(service, &old, &graph, afresh).await?;
    let restart = Restart {
        of: id,
        version,
        reuse,
    };
    let business_key = old.business_key.map(|key| BusinessKey {
        key,
        policy: KeyPolicy::AllowDuplicate,
    });
    Ok(NewExecution {
        workflow_id: old.workflow_id,
        metadata: old.metadata.map(|metadata| metadata.0),
        business_key,
        origin: Origin::Restart(Box::new(restart)),
        ..NewExecution::default()
    })
}

/// Passes if the execution may be restarted.
fn check(old: &Execution, afresh: Option<Uuid>) -> Result<()> {
    let status = ExecutionStatus::parse(&old.status).expect("the enum type has the same words");
    if !status.is_final() {
        let message = format!("the execution is {status}: cancel it first");
        return Err(Error::precondition("EXECUTION_NOT_FINISHED", message));
    }
    if status == ExecutionStatus::Completed && afresh.is_none() {
        let message = "the execution is COMPLETED: name the step from which it begins again";
        return Err(Error::precondition("EXECUTION_COMPLETED", message));
    }
    let simulation = old.metadata.as_ref().and_then(|it| it.get("simulation"));
    if simulation.is_some_and(|it| it == true) {
        let message = "the execution is a simulation: start another one";
        return Err(Error::precondition("EXECUTION_SIMULATED", message));
    }
    Ok(())
}

async fn reuse(
    service: &Service,
    old: &Execution,
    graph: &Graph,
    afresh: Option<Uuid>,
) -> Result<Reuse> {
    let ran = service
        .definitions
        .graph(old.workflow_id, old.workflow_version)
        .await?;
    // A purge takes all of it or nothing: what is read here is of one moment.
    let mut snapshot = db::snapshot(&service.pool).await?;
    if store::executions::get(&mut snapshot, old.id)
        .await?
        .is_none()
    {
        return Err(Error::not_found("execution", old.id));
    }
    let past = store::restarts::attempts(&mut snapshot, old.id).await?;
    if afresh.is_some_and(|step| past.iter().all(|log| log.step_id != step)) {
        let message = "the execution never came to the step: leave it out";
        return Err(Error::precondition("STEP_NOT_REACHED", message));
    }
    let mut reuse = Reuse::new(old.id, (&ran, graph), &past, afresh);
    let wanted = reuse.wanted(graph);
    take_over(&mut snapshot, old.id, &wanted, &mut reuse).await?;
    snapshot.commit().await?;
    Ok(reuse)
}

async fn take_over(
    conn: &mut PgConnection,
    id: Uuid,
    wanted: &[i32],
    reuse: &mut Reuse,
) -> Result<()> {
    let mut bytes = 0;
    let mut outputs = pin!(store::restarts::outputs(conn, id, wanted));
    while let Some(row) = outputs.try_next().await? {
        bytes += json::measure(&row.data.0, INPUT).unwrap_or(INPUT.bytes);
        if bytes > MOST_BYTES {
            let message =
                "the outputs of its steps come to more than 4 MiB: name an earlier from_step_id";
            return Err(Error::precondition("LIMIT_EXCEEDED", message));
        }
        reuse.keep(row.seq, row.data.0);
    }
    Ok(())
}
