//! Finished executions from an older system. Invariant: of a case there is all that the engine would have left of it, or
//! nothing; and no case is there twice.

mod arrivals;
mod rows;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use chassis::{Error, Result, db};
use chrono::{DateTime, Utc};
use model::graph::Graph;
use model::status::{ExecutionStatus, StepStatus};
use serde_json::{Map, Value};
use sqlx::{PgConnection, PgPool};
use tonic::Code;
use uuid::Uuid;

use crate::engine::{Failure, Log};
use crate::store::imports;
pub use arrivals::logs;
use rows::Rows;

/// Logs of one transaction; a case with more has one of its own.
const LOGS: usize = 10_000;

/// What the cases are cases of.
#[derive(Debug, Clone)]
pub struct Target {
    pub workflow_id: Uuid,
    pub client_id: Uuid,
    pub version: i32,
    pub graph: Arc<Graph>,
    /// Whether the caller named the version, instead of taking the latest.
    pub is_named: bool,
    pub started_by: String,
}

impl Target {
    /// The id of a case's execution: the same whenever it is imported.
    pub fn execution_id(&self, case_id: &str) -> Uuid {
        Uuid::new_v5(&self.workflow_id, case_id.as_bytes())
    }
}

/// An execution that is over.
#[derive(Debug, Clone)]
pub struct Case {
    pub execution_id: Uuid,
    pub case_id: String,
    pub status: ExecutionStatus,
    pub started_at: DateTime<Utc>,
    pub completed_at: DateTime<Utc>,
    pub metadata: Option<Map<String, Value>>,
    pub failure: Option<Failure>,
    pub logs: Vec<Log>,
    /// Of what was sent.
    pub hash: Vec<u8>,
}

/// One attempt at a step, as it was sent.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The step's index in the graph.
    pub node: usize,
    pub status: StepStatus,
    pub queued_at: DateTime<Utc>,
    pub available_at: DateTime<Utc>,
    pub assigned_at: Option<DateTime<Utc>>,
    pub completed_at: DateTime<Utc>,
    /// Which attempt of an arrival, from 1.
    pub number: i32,
    pub output: Option<Map<String, Value>>,
    pub message: Option<String>,
    pub failure: Option<Failure>,
}

/// What became of a case.
#[derive(Debug, Clone)]
pub enum Outcome {
    Imported,
    /// It was there, the same.
    Unchanged,
    Refused(Error),
}

/// Writes cases, each with its place among what its sender sent. Those that the database refuses fail alone; if it
/// cannot be asked, some of the cases may be written.
pub async fn settle(
    pool: &PgPool,
    target: Target,
    cases: Vec<(usize, Case)>,
) -> Result<Vec<(usize, Outcome)>> {
    let target = Arc::new(target);
    let mut settled = Vec::with_capacity(cases.len());
    // Halves of what the database refuses, until the culprit is alone.
    let mut todo: Vec<Arc<[(usize, Case)]>> = runs(cases);
    while let Some(cases) = todo.pop() {
        match transact(pool, &target, &cases).await {
            Ok(outcomes) => settled.extend(cases.iter().map(|(at, _)| *at).zip(outcomes)),
            Err(error) if error.code() == Code::Unavailable => return Err(error),
            Err(error) => match cases.len() {
                1 => settled.push((cases[0].0, Outcome::Refused(error))),
                count => {
                    let (first, second) = cases.split_at(count / 2);
                    todo.extend([second.into(), first.into()]);
                }
            },
        }
    }
    Ok(settled)
}

/// The cases of a transaction each, the last ones first: some logs, and one case at least.
fn runs(cases: Vec<(usize, Case)>) -> Vec<Arc<[(usize, Case)]>> {
    let (mut runs, mut run, mut logs) = (Vec::new(), Vec::new(), 0);
    for case in cases {
        logs += case.1.logs.len();
        run.push(case);
        if logs >= LOGS {
            runs.push(std::mem::take(&mut run).into());
            logs = 0;
        }
    }
    runs.push(run.into());
    runs.reverse();
    runs
}

async fn transact(
    pool: &PgPool,
    target: &Arc<Target>,
    cases: &Arc<[(usize, Case)]>,
) -> Result<Vec<Outcome>> {
    if cases.is_empty() {
        return Ok(Vec::new());
    }
    let (target, cases) = (target.clone(), cases.clone());
    db::keyed_transaction(pool, async move |conn| apply(conn, &target, &cases).await).await
}

async fn apply(
    conn: &mut PgConnection,
    target: &Target,
    cases: &[(usize, Case)],
) -> Result<Vec<Outcome>> {
    let now = db::now(conn).await?;
    let ids: Vec<Uuid> = cases.iter().map(|(_, case)| case.execution_id).collect();
    let known = imports::known(conn, &ids).await?.into_iter();
    let mut known: HashMap<Uuid, (i32, Vec<u8>)> = known
        .map(|it| (it.execution_id, (it.workflow_version, it.content_hash)))
        .collect();
    let mut rows = Rows::new(target, now);
    let outcomes = cases.iter().map(|(_, case)| {
        match known.entry(case.execution_id) {
            Entry::Vacant(free) => {
                // A second one of the same id is a repetition of this one.
                free.insert((target.version, case.hash.clone()));
                rows.add(case);
                Outcome::Imported
            }
            Entry::Occupied(there) => match there.get() {
                (version, _) if target.is_named && *version != target.version => {
                    Outcome::Refused(differs(&format!("for version {version}")))
                }
                (_, hash) if *hash == case.hash => Outcome::Unchanged,
                _ => Outcome::Refused(differs("with another content")),
            },
        }
    });
    let outcomes = outcomes.collect();
    rows.write(conn).await?;
    Ok(outcomes)
}

fn differs(how: &str) -> Error {
    let message = format!("a case of this id was imported {how}; it stays as it is");
    Error::already_exists("CASE_DIFFERS", message)
}

/// Somebody else imports the same case at this moment; or the workflow was just deleted.
fn understood(error: sqlx::Error, target: &Target) -> Error {
    match Error::constraint(&error) {
        Some("workflow_executions_pkey") => {
            Error::conflict("another import of the case came first")
        }
        Some("workflow_executions_workflow_id_fkey") => {
            Error::not_found("workflow", target.workflow_id)
        }
        _ => error.into(),
    }
}
