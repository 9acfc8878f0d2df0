//! Gives jobs to workers. Invariant: clients take turns, however many jobs one of them has queued; and
//! only what fits into one answer is leased.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chassis::{Error, Result, db, fail_point};
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::context;
use crate::definitions::Definitions;
use crate::rpc::answer::Room;
use crate::rpc::jobs::job::{self, Job};
use crate::store;
use crate::store::jobs::{Attempt, Locked, Queue};

/// Clients looked at even for a single job: the first ones' jobs may be just being leased by others.
const FEWEST_CLIENTS: i64 = 16;
/// Sets of job types whose turn is remembered.
const TURNS: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// Who takes jobs.
#[derive(Debug, Clone)]
pub struct Taker {
    /// Sorted, each once.
    pub job_types: Arc<[String]>,
    /// `principal/worker`.
    pub holder: Arc<str>,
    /// How many at most.
    pub limit: usize,
    pub lease: Duration,
}

/// What was leased.
#[derive(Debug, Default)]
pub struct Leased {
    /// Jobs with the places of those who took them.
    pub jobs: Vec<(usize, Job)>,
    /// Whether there was nothing more that one of them could have taken.
    pub is_all: bool,
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

/// Leases jobs that are due, in one transaction for all who take some; none if there are none.
pub async fn lease(
    pool: &PgPool,
    definitions: &Definitions,
    turns: &Turns,
    takers: Vec<Taker>,
) -> Result<Leased> {
    let mut job_types: Vec<String> = Vec::new();
    for taker in &takers {
        job_types.extend_from_slice(&taker.job_types);
    }
    job_types.sort_unstable();
    job_types.dedup();
    let last = turns.last(&job_types);
    let (own_types, definitions) = (job_types.clone(), definitions.clone());
    let (leased, latest) = db::transaction(pool, async move |conn| {
        let limit = takers.iter().map(|taker| taker.limit).sum();
        let locked = lock(conn, &own_types, limit, last).await?;
        let all = locked.len();
        let given = pack(conn, &definitions, share_out(&takers, locked)).await?;
        let latest = given.iter().map(|(_, job, _)| turn(last, job.client_id));
        let latest = latest.max();
        let leased = Leased {
            is_all: all < limit && given.len() == all,
            jobs: begin(conn, &takers, given).await?,
        };
        fail_point!("leasing.before_commit");
        Ok((leased, latest))
    })
    .await?;
    fail_point!("leasing.after_commit");
    if let Some(latest) = latest {
        turns.put(&job_types, latest.1);
    }
    Ok(leased)
}

/// Gives each job to one of those who want its type and have room, in turn.
fn share_out(takers: &[Taker], locked: Vec<Locked>) -> Vec<(usize, Locked)> {
    let mut left: Vec<usize> = takers.iter().map(|taker| taker.limit).collect();
    let mut next = 0;
    let mut given = Vec::with_capacity(locked.len());
    for job in locked {
        let mut places = (next..takers.len()).chain(0..next);
        let place = places.find(|place| left[*place] > 0 && takers[*place].wants(&job.job_type));
        if let Some(place) = place {
            left[place] -= 1;
            next = (place + 1) % takers.len();
            given.push((place, job));
        }
    }
    given
}

impl Taker {
    fn wants(&self, job_type: &str) -> bool {
        let found = self.job_types.binary_search_by(|own| (**own).cmp(job_type));
        found.is_ok()
    }
}

/// Orders clients by when their turn comes after `last`: those with a greater id, then from the start.
fn turn(last: Uuid, client_id: Uuid) -> (bool, Uuid) {
    (client_id <= last, client_id)
}

/// Locks jobs, clients taking turns, the oldest of each first.
async fn lock(
    conn: &mut PgConnection,
    job_types: &[String],
    limit: usize,
    last: Uuid,
) -> Result<Vec<Locked>> {
    let wanted = (limit as i64).max(FEWEST_CLIENTS) * job_types.len() as i64;
    let mut queues = store::jobs::queues(conn, job_types, last, Uuid::max(), wanted).await?;
    let missing = wanted - queues.len() as i64;
    if missing > 0 && !last.is_nil() {
        let more = store::jobs::queues(conn, job_types, Uuid::nil(), last, missing).await?;
        queues.extend(more);
    }
    queues.sort_by_key(|queue| turn(last, queue.client_id));
    let mut locked: Vec<Locked> = Vec::new();
    while locked.len() < limit && !queues.is_empty() {
        let left = limit - locked.len();
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
    given: Vec<(usize, Locked)>,
) -> Result<Vec<(usize, Locked, Job)>> {
    let mut seen = HashSet::new();
    let executions: Vec<Uuid> = given
        .iter()
        .map(|(_, job)| job.execution_id)
        .filter(|id| seen.insert(*id))
        .collect();
    let contexts = context::read(conn, &executions, Room::BYTES).await?;
    let mut room = Room::default();
    let mut packed = Vec::with_capacity(given.len());
    for (place, job) in given {
        let Some(context) = contexts.get(&job.execution_id) else {
            break;
        };
        let graph = definitions
            .pinned(conn, job.workflow_id, context.version)
            .await?;
        let message = job::message(&job, &graph, context.data.clone());
        if !room.fits(&message) {
            break;
        }
        packed.push((place, job, message));
    }
    Ok(packed)
}

/// Writes the leases: from here on the jobs are the workers'.
async fn begin(
    conn: &mut PgConnection,
    takers: &[Taker],
    given: Vec<(usize, Locked, Job)>,
) -> Result<Vec<(usize, Job)>> {
    if given.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = given.iter().map(|(_, job, _)| job.id).collect();
    let takes = given.iter().map(|(place, ..)| &takers[*place]);
    let (holders, lengths): (Vec<String>, Vec<i64>) = takes
        .map(|taker| (taker.holder.to_string(), milliseconds(taker.lease)))
        .unzip();
    let leases = store::jobs::lease(conn, &ids, &holders, &lengths).await?;
    let untils: HashMap<Uuid, DateTime<Utc>> = leases
        .into_iter()
        .map(|lease| (lease.id, lease.until))
        .collect();
    let attempts = store::jobs::begin_work(conn, &ids).await?;
    let attempts: HashMap<Uuid, Attempt> = attempts
        .into_iter()
        .map(|attempt| (attempt.id, attempt))
        .collect();
    given
        .into_iter()
        .map(|(place, job, mut message)| {
            let (Some(until), Some(attempt)) = (untils.get(&job.id), attempts.get(&job.id)) else {
                return Err(Error::internal(format!("job {} has no open log", job.id)));
            };
            job::hold(&mut message, *until, attempt);
            Ok((place, message))
        })
        .collect()
}

/// Queues jobs again whose holders never saw them, with the same attempt. Those that are not held as given any more
/// are left as they are.
pub async fn give_back(
    pool: &PgPool,
    definitions: &Definitions,
    jobs: Vec<(Uuid, Arc<str>)>,
) -> Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let definitions = definitions.clone();
    db::transaction(pool, async move |conn| {
        let (ids, holders): (Vec<Uuid>, Vec<String>) = jobs
            .iter()
            .map(|(id, holder)| (*id, holder.to_string()))
            .unzip();
        let unseen = store::jobs::lock_unseen(conn, &ids, &holders).await?;
        let (mut ids, mut limits) = (Vec::new(), Vec::new());
        for job in unseen {
            let graph = definitions
                .pinned(conn, job.workflow_id, job.version)
                .await?;
            let limit = graph
                .node_of(job.step_id)
                .and_then(|at| graph.nodes[at].queue_timeout);
            ids.push(job.id);
            limits.push(limit.and_then(|limit| limit.as_millis().try_into().ok()));
        }
        Ok(store::jobs::give_back(conn, &ids, &limits).await?)
    })
    .await
}

/// Extends a lease; nothing if the job is not held any more.
pub async fn extend(
    pool: &PgPool,
    definitions: &Definitions,
    extension: Extension,
) -> Result<Option<Job>> {
    let definitions = definitions.clone();
    db::transaction(pool, async move |conn| {
        let held = extend_held(conn, std::slice::from_ref(&extension)).await?;
        let Some(held) = held.into_iter().next() else {
            return Ok(None);
        };
        let context = context::of(conn, held.job.execution_id).await?;
        let graph = definitions
            .pinned(conn, held.job.workflow_id, context.version)
            .await?;
        let mut message = job::message(&held.job, &graph, context.data);
        job::hold(&mut message, held.until, &held.attempt);
        Ok(Some(message))
    })
    .await
}

/// A lease that is to last longer.
#[derive(Debug, Clone)]
pub struct Extension {
    pub job: Uuid,
    pub holder: String,
    /// From now.
    pub lease: Duration,
}

/// Extends leases; returns when each that is held ends now.
pub async fn extend_all(
    pool: &PgPool,
    extensions: Vec<Extension>,
) -> Result<HashMap<Uuid, DateTime<Utc>>> {
    db::transaction(pool, async move |conn| {
        let held = extend_held(conn, &extensions).await?;
        Ok(held.into_iter().map(|it| (it.job.id, it.until)).collect())
    })
    .await
}

async fn extend_held(
    conn: &mut PgConnection,
    extensions: &[Extension],
) -> Result<Vec<store::jobs::Held>> {
    let ids: Vec<Uuid> = extensions.iter().map(|it| it.job).collect();
    let holders: Vec<String> = extensions.iter().map(|it| it.holder.clone()).collect();
    let lengths: Vec<i64> = extensions.iter().map(|it| milliseconds(it.lease)).collect();
    Ok(store::jobs::extend(conn, &ids, &holders, &lengths).await?)
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).expect("a lease is at most an hour")
}

#[cfg(test)]
mod tests;
