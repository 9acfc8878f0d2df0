//! Gives jobs to workers. Invariant: clients take turns, however many jobs one of them has queued; and
//! only what fits into one answer is leased.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chassis::{Error, Result, db};
use chrono::{DateTime, Utc};
use model::graph::Graph;
use model::wire;
use prost_types::Struct;
use proto::execution::v1 as pb;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::context;
use crate::definitions::Definitions;
use crate::rpc::answer::Room;
use crate::store;
use crate::store::jobs::{Attempt, Locked, Queue};

/// Clients looked at even for a single job: the first ones' jobs may be just being leased by others.
const FEWEST_CLIENTS: i64 = 16;
/// Sets of job types whose turn is remembered.
const TURNS: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// What a worker asks for.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Sorted, each once.
    pub job_types: Vec<String>,
    /// `principal/worker`.
    pub holder: String,
    pub limit: usize,
    pub lease: Duration,
}

/// Whose turn it was last, by job types. Only a hint: a replica that starts anew begins anywhere.
#[derive(Debug)]
pub struct Turns(Mutex<lru::LruCache<Vec<String>, Uuid>>);

impl Default for Turns {
    fn default() -> Self {
        Self(Mutex::new(lru::LruCache::new(TURNS)))
    }
}

impl Turns {
    fn last(&self, job_types: &[String]) -> Uuid {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.get(job_types).copied().unwrap_or_default()
    }

    fn put(&self, job_types: &[String], client_id: Uuid) {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.put(job_types.to_vec(), client_id);
    }
}

/// Leases up to `ask.limit` jobs that are due; none if there are none.
pub async fn lease(
    pool: &PgPool,
    definitions: &Definitions,
    turns: &Turns,
    ask: &Ask,
) -> Result<Vec<pb::Job>> {
    let last = turns.last(&ask.job_types);
    let (own_ask, definitions) = (ask.clone(), definitions.clone());
    let leased = db::transaction(pool, async move |conn| {
        let locked = lock(conn, &own_ask, last).await?;
        let jobs = pack(conn, &definitions, locked).await?;
        let latest = jobs.iter().map(|(job, _)| turn(last, job.client_id)).max();
        let Some((_, latest)) = latest else {
            return Ok(None);
        };
        Ok(Some((begin(conn, &own_ask, jobs).await?, latest)))
    })
    .await?;
    let Some((jobs, latest)) = leased else {
        return Ok(Vec::new());
    };
    turns.put(&ask.job_types, latest);
    Ok(jobs)
}

/// Orders clients by when their turn comes after `last`: those with a greater id, then from the start.
fn turn(last: Uuid, client_id: Uuid) -> (bool, Uuid) {
    (client_id <= last, client_id)
}

/// Locks jobs, clients taking turns, the oldest of each first.
async fn lock(conn: &mut PgConnection, ask: &Ask, last: Uuid) -> Result<Vec<Locked>> {
    let wanted = (ask.limit as i64).max(FEWEST_CLIENTS) * ask.job_types.len() as i64;
    let mut queues = store::jobs::queues(conn, &ask.job_types, last, Uuid::max(), wanted).await?;
    let missing = wanted - queues.len() as i64;
    if missing > 0 && !last.is_nil() {
        let more = store::jobs::queues(conn, &ask.job_types, Uuid::nil(), last, missing).await?;
        queues.extend(more);
    }
    queues.sort_by_key(|queue| turn(last, queue.client_id));
    let mut locked: Vec<Locked> = Vec::new();
    while locked.len() < ask.limit && !queues.is_empty() {
        let left = ask.limit - locked.len();
        let quotas = share(&queues, left);
        let taken: Vec<Uuid> = locked.iter().map(|job| job.id).collect();
        let more = store::jobs::lock_due(conn, &queues, &quotas, &taken, left as i64).await?;
        let mut got: HashMap<Queue, i64> = HashMap::new();
        for job in &more {
            let queue = Queue {
                client_id: job.client_id,
                job_type: job.job_type.clone(),
            };
            *got.entry(queue).or_default() += 1;
        }
        // A queue that gave less than it was asked for is empty.
        let mut quotas = quotas.into_iter();
        queues.retain(|queue| quotas.next() == got.get(queue).copied());
        locked.extend(more);
    }
    Ok(interleave(locked, last))
}

/// How many jobs to ask of each queue so that every client gives the same number, together at least
/// `wanted`.
fn share(queues: &[Queue], wanted: usize) -> Vec<i64> {
    let mut of_client: HashMap<Uuid, usize> = HashMap::new();
    for queue in queues {
        *of_client.entry(queue.client_id).or_default() += 1;
    }
    let each = wanted.div_ceil(of_client.len().max(1));
    let quota = |queue: &Queue| each.div_ceil(of_client[&queue.client_id]) as i64;
    queues.iter().map(quota).collect()
}

/// Every client's first job, then every client's second one, and so on: if an answer is cut short, it is
/// short for all of them.
fn interleave(locked: Vec<Locked>, last: Uuid) -> Vec<Locked> {
    let mut places: HashMap<Uuid, usize> = HashMap::new();
    let mut ranked: Vec<(usize, Locked)> = locked
        .into_iter()
        .map(|job| {
            let place = places.entry(job.client_id).or_default();
            *place += 1;
            (*place, job)
        })
        .collect();
    ranked.sort_by_key(|(place, job)| (*place, turn(last, job.client_id)));
    ranked.into_iter().map(|(_, job)| job).collect()
}

/// Makes messages of as many locked jobs as one answer holds; the locks of the others end unused.
async fn pack(
    conn: &mut PgConnection,
    definitions: &Definitions,
    locked: Vec<Locked>,
) -> Result<Vec<(Locked, pb::Job)>> {
    let mut seen = HashSet::new();
    let executions: Vec<Uuid> = locked
        .iter()
        .map(|job| job.execution_id)
        .filter(|id| seen.insert(*id))
        .collect();
    let contexts = context::read(conn, &executions, Room::BYTES).await?;
    let mut room = Room::default();
    let mut jobs = Vec::with_capacity(locked.len());
    for job in locked {
        let Some(context) = contexts.get(&job.execution_id) else {
            break;
        };
        let graph = definitions
            .pinned(conn, job.workflow_id, context.version)
            .await?;
        let message = message(&job, &graph, context.data.clone());
        if !room.fits(&message) {
            break;
        }
        jobs.push((job, message));
    }
    Ok(jobs)
}

/// Writes the leases: from here on the jobs are the worker's.
async fn begin(
    conn: &mut PgConnection,
    ask: &Ask,
    jobs: Vec<(Locked, pb::Job)>,
) -> Result<Vec<pb::Job>> {
    let ids: Vec<Uuid> = jobs.iter().map(|(job, _)| job.id).collect();
    let leases = store::jobs::lease(conn, &ids, &ask.holder, milliseconds(ask.lease)).await?;
    let untils: HashMap<Uuid, DateTime<Utc>> = leases
        .into_iter()
        .map(|lease| (lease.id, lease.until))
        .collect();
    let attempts = store::jobs::begin_work(conn, &ids).await?;
    let attempts: HashMap<Uuid, Attempt> = attempts
        .into_iter()
        .map(|attempt| (attempt.id, attempt))
        .collect();
    jobs.into_iter()
        .map(|(job, mut message)| {
            let (Some(until), Some(attempt)) = (untils.get(&job.id), attempts.get(&job.id)) else {
                return Err(Error::internal(format!("job {} has no open log", job.id)));
            };
            hold(&mut message, *until, attempt);
            Ok(message)
        })
        .collect()
}

/// Extends a lease; nothing if the job is not held any more.
pub async fn extend(
    pool: &PgPool,
    definitions: &Definitions,
    (id, holder): (Uuid, &str),
    lease: Duration,
) -> Result<Option<pb::Job>> {
    let (holder, definitions) = (holder.to_owned(), definitions.clone());
    db::transaction(pool, async move |conn| {
        let extended = store::jobs::extend(conn, id, &holder, milliseconds(lease)).await?;
        let Some(held) = extended else {
            return Ok(None);
        };
        let context = context::of(conn, held.job.execution_id).await?;
        let graph = definitions
            .pinned(conn, held.job.workflow_id, context.version)
            .await?;
        let mut message = message(&held.job, &graph, context.data);
        hold(&mut message, held.until, &held.attempt);
        Ok(Some(message))
    })
    .await
}

/// A job before it has a holder.
fn message(job: &Locked, graph: &Graph, mut data: Struct) -> pb::Job {
    if let Some(item) = &job.item {
        data.fields.extend(wire::struct_from_json(item).fields);
    }
    let step = graph
        .node_of(job.step_id)
        .map(|at| &graph.definition.steps[at]);
    pb::Job {
        id: job.id.to_string(),
        execution_id: job.execution_id.to_string(),
        workflow_id: job.workflow_id.to_string(),
        client_id: job.client_id.to_string(),
        step_id: job.step_id.to_string(),
        step_name: step.map(|step| step.name.clone()).unwrap_or_default(),
        job_type: job.job_type.clone(),
        config: step.map(|step| wire::struct_from_json(&step.config)),
        data: Some(data),
        ..pb::Job::default()
    }
}

fn hold(message: &mut pb::Job, until: DateTime<Utc>, attempt: &Attempt) {
    message.attempt = attempt.attempt;
    message.lease_expires_at = Some(wire::timestamp(until));
    message.idempotency_key = format!(
        "{}/{}/{}/{}",
        message.execution_id, message.step_id, attempt.activation, attempt.attempt
    );
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).expect("a lease is at most an hour")
}

#[cfg(test)]
mod tests;
