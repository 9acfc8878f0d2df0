//! Locked executions as the engine sees them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chassis::{Error, Result};
use chrono::{DateTime, Utc};
use model::graph::Graph;
use model::kind::Kind;
use model::status::ExecutionStatus;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::Shared;
use super::cache::Remembered;
use crate::engine::{
    self, Branch, Change, Command, Context, Execution, Failure, Hold, Item, Memory, Refusal, Times,
};
use crate::store::load::{self, BranchRow, LockedExecution};

/// An execution in a transaction: how it was found, and what commands have made of it.
pub(super) struct Loaded {
    pub graph: Arc<Graph>,
    pub execution: Execution,
    pub change: Change,
    /// Of the row; 0 for an execution that has none yet.
    pub revision: i64,
    /// The seq of the last event that is committed.
    pub told: i32,
    pub simulation: bool,
    /// The branches as found.
    pub before: Vec<Branch>,
    pub touched: bool,
}

impl Loaded {
    /// Applies one command.
    pub fn advance(&mut self, command: Command, now: DateTime<Utc>) -> Result<(), Refusal> {
        engine::advance(
            &self.graph,
            &mut self.execution,
            command,
            now,
            &mut self.change,
        )?;
        self.touched = true;
        Ok(())
    }
}

/// What a transaction found.
#[derive(Default)]
pub(super) struct Found {
    pub executions: HashMap<Uuid, Loaded>,
    /// Execution and seq of each branch.
    pub branches: HashMap<Uuid, (Uuid, i32)>,
    /// The database's clock, after the locks were taken.
    pub now: DateTime<Utc>,
}

/// Locks and reads executions, by their own ids or by those of their waits.
pub(super) async fn lock(
    shared: &Shared,
    conn: &mut PgConnection,
    ids: &[Uuid],
    wait_ids: &[Uuid],
) -> Result<Found> {
    let mut found = Found::default();
    let rows = if ids.is_empty() && wait_ids.is_empty() {
        Vec::new()
    } else {
        load::lock_executions(conn, ids, wait_ids).await?
    };
    let Some(now) = rows.iter().map(|row| row.now).max() else {
        found.now = load::clock(conn).await?;
        return Ok(found);
    };
    found.now = now;

    let open = rows.iter().filter(|row| !status(row).is_final());
    let open: Vec<Uuid> = open.map(|row| row.id).collect();
    let mut branches: HashMap<Uuid, Vec<BranchRow>> = HashMap::new();
    for row in load::branches(conn, &open).await? {
        branches.entry(row.execution_id).or_default().push(row);
    }
    let mut remembered = recall(shared, &rows);
    let forgotten: Vec<&LockedExecution> = rows
        .iter()
        .filter(|row| open.contains(&row.id) && !remembered.contains_key(&row.id))
        .collect();
    remembered.extend(read(shared, conn, &forgotten).await?);

    for row in rows {
        let graph = shared
            .definitions
            .pinned(conn, row.workflow_id, row.workflow_version)
            .await?;
        let branches = branches.remove(&row.id).unwrap_or_default();
        let branches: Vec<Branch> = branches
            .into_iter()
            .map(|branch| revive(&graph, branch))
            .collect::<Result<_>>()?;
        for branch in &branches {
            found.branches.insert(branch.id, (row.id, branch.seq));
        }
        let remembered = remembered.remove(&row.id);
        found
            .executions
            .insert(row.id, loaded(row, graph, branches, remembered));
    }
    Ok(found)
}

fn status(row: &LockedExecution) -> ExecutionStatus {
    ExecutionStatus::parse(&row.status).expect("the enum type has the same words")
}

fn loaded(
    row: LockedExecution,
    graph: Arc<Graph>,
    branches: Vec<Branch>,
    remembered: Option<Remembered>,
) -> Loaded {
    // An execution that is over needs no memory: every command on it is refused.
    let (memory, context) = match remembered {
        Some(entry) => (entry.memory, entry.context),
        None => (Memory::new(row.started_at), Context::default()),
    };
    Loaded {
        graph,
        change: Change::default(),
        revision: row.revision,
        told: row.event_count,
        simulation: row.simulation,
        before: branches.clone(),
        touched: false,
        execution: Execution {
            id: row.id,
            workflow_id: row.workflow_id,
            client_id: row.client_id,
            version: row.workflow_version,
            status: status(&row),
            started_at: row.started_at,
            completed_at: None,
            failure: None,
            event_count: row.event_count,
            memory,
            context,
            branches,
        },
    }
}

fn recall(shared: &Shared, rows: &[LockedExecution]) -> HashMap<Uuid, Remembered> {
    let mut cache = shared.cache.lock().expect("no holder of this lock panics");
    rows.iter()
        .filter_map(|row| Some((row.id, cache.take(row.id, row.revision)?)))
        .collect()
}

/// Reads what the engine remembers from the tables: its own memory, the input, and the outputs that
/// show in the context.
async fn read(
    shared: &Shared,
    conn: &mut PgConnection,
    rows: &[&LockedExecution],
) -> Result<HashMap<Uuid, Remembered>> {
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let mut memories: HashMap<Uuid, Memory> = HashMap::new();
    for (id, memory) in load::memories(conn, &ids).await? {
        let memory = serde_json::from_value(memory).map_err(Error::internal)?;
        memories.insert(id, memory);
    }
    let mut inputs: HashMap<Uuid, Map<String, Value>> = HashMap::new();
    for (id, input) in load::inputs(conn, &ids).await? {
        if let Some(Value::Object(input)) = input {
            inputs.insert(id, input);
        }
    }
    let refs = memories
        .iter()
        .flat_map(|(id, memory)| memory.shown().map(|seq| (*id, seq)));
    let (owners, seqs): (Vec<Uuid>, Vec<i32>) = refs.unzip();
    let mut outputs: HashMap<(Uuid, i32), Map<String, Value>> = HashMap::new();
    if !owners.is_empty() {
        for (id, seq, output) in load::outputs(conn, &owners, &seqs).await? {
            if let Value::Object(output) = output {
                outputs.insert((id, seq), output);
            }
        }
    }

    let mut all = HashMap::new();
    for row in rows {
        let memory = memories
            .remove(&row.id)
            .ok_or_else(|| Error::internal(format!("execution {} has no state", row.id)))?;
        let graph = shared
            .definitions
            .pinned(conn, row.workflow_id, row.workflow_version)
            .await?;
        let mut context = Context {
            data: inputs.remove(&row.id).unwrap_or_default(),
            steps: Map::new(),
            kept: BTreeMap::new(),
        };
        for output in &memory.outputs {
            let step = graph
                .node_of(output.step_id)
                .map(|at| &graph.definition.steps[at]);
            let value = outputs.get(&(row.id, output.seq));
            if let (Some(step), Some(value)) = (step, value) {
                context.overlay(&step.name, value, output.latest);
            }
        }
        for log in memory.loops.values().flat_map(|at| at.results.values()) {
            let output = outputs.remove(&(row.id, *log));
            context.kept.insert(*log, output.unwrap_or_default());
        }
        let remembered = Remembered {
            revision: row.revision,
            memory,
            context,
        };
        all.insert(row.id, remembered);
    }
    Ok(all)
}

fn revive(graph: &Graph, row: BranchRow) -> Result<Branch> {
    let step = graph
        .node_of(row.step_id)
        .ok_or_else(|| Error::internal(format!("wait {} is at an unknown step", row.id)))?;
    let hold = match row.kind.as_str() {
        "runnable" => Hold::Runnable,
        "job" => Hold::Job {
            job_type: row.job_type.unwrap_or_default(),
            held_by: row.held_by,
            lease_until: row.lease_until,
            wake_at: row.wake_at,
        },
        "person" => Hold::Person {
            claimed_by: row.held_by,
            due_at: row.wake_at,
        },
        "signal" => Hold::Signal {
            name: row.signal_name.unwrap_or_default(),
            correlation: row.correlation,
            due_at: row.wake_at,
        },
        "incident" => Hold::Incident {
            failure: Failure::new(
                &row.error_code.unwrap_or_default(),
                row.error.unwrap_or_default(),
            ),
        },
        "join" => Hold::Join {
            due_at: row.wake_at,
        },
        "lock" => Hold::Lock {
            due_at: row.wake_at,
        },
        "children" if matches!(graph.nodes[step].kind, Kind::Subworkflow(_)) => Hold::Child {
            due_at: row.wake_at,
        },
        "children" => Hold::Items {
            due_at: row.wake_at,
        },
        "timer" => Hold::Timer {
            until: row.wake_at.unwrap_or(row.available_at),
        },
        other => return Err(Error::internal(format!("wait {} is a {other}", row.id))),
    };
    Ok(Branch {
        id: row.id,
        seq: row.seq,
        step,
        activation: row.activation,
        attempt: row.attempt,
        from: None,
        times: Times {
            arrived_at: row.arrived_at,
            queued_at: row.queued_at,
            available_at: row.available_at,
            assigned_at: row.assigned_at,
            started_at: row.started_at,
        },
        hold,
        item: row
            .item_of
            .zip(row.item)
            .map(|(of, Json(fields))| Item::new(of, fields)),
        lock: row.lock_key,
    })
}

/// Of the branches as found: those that are gone, or hold for something else.
pub(super) fn left(loaded: &Loaded) -> Vec<Uuid> {
    let now: HashMap<Uuid, &Hold> = loaded
        .execution
        .branches
        .iter()
        .map(|branch| (branch.id, &branch.hold))
        .collect();
    let gone = loaded
        .before
        .iter()
        .filter(|branch| now.get(&branch.id) != Some(&&branch.hold));
    gone.map(|branch| branch.id).collect()
}

/// Of the branches as they are: those that are new, or hold for something else than found.
pub(super) fn entered(loaded: &Loaded) -> Vec<&Branch> {
    let before: HashMap<Uuid, &Hold> = loaded
        .before
        .iter()
        .map(|branch| (branch.id, &branch.hold))
        .collect();
    let branches = loaded.execution.branches.iter();
    branches
        .filter(|branch| before.get(&branch.id) != Some(&&branch.hold))
        .collect()
}
