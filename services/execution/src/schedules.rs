//! The loop that starts executions by the clock. Invariant: an instant starts one execution, however often and by
//! however many replicas it is taken up: the start's request id is made of schedule and instant, and what is noted of
//! it holds only if nobody noted anything before.

use std::time::Duration;

use chassis::idempotency::RequestKey;
use chassis::{Error, Result, Shutdown, db};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use model::text;
use serde_json::{Map, Value};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tonic::Code;
use uuid::Uuid;

use crate::committer::{Action, Command, Committer, NewExecution, Origin, Target};
use crate::engine::Actor;
use crate::store::requests;
use crate::store::schedules::{self, Due, Noted};

pub mod cron;
pub mod plan;
#[cfg(test)]
mod tests;

use cron::Cron;
use plan::Plan;

/// Schedules taken up at once.
const AT_ONCE: i64 = 100;
/// The longest nap: new schedules may have come, from any replica.
const NAP: Duration = Duration::from_secs(1);
/// Missed instants counted at once: counting takes time, too.
const MOST_MISSED: i64 = 1000;
/// Executions that one instant cancels at most; the next one cancels more.
const MOST_CANCELLED: i64 = 1000;
/// Characters of an error that are kept.
const MOST_CHARS: usize = 1000;

/// What an instant does while an execution of its schedule is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    Allow,
    Skip,
    BufferOne,
    CancelRunning,
}

impl Overlap {
    const ALL: [Overlap; 4] = [
        Self::Allow,
        Self::Skip,
        Self::BufferOne,
        Self::CancelRunning,
    ];

    /// As the table keeps it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::Skip => "SKIP",
            Self::BufferOne => "BUFFER_ONE",
            Self::CancelRunning => "CANCEL_RUNNING",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == word)
    }
}

/// Starts what is due until told to stop.
pub async fn run(pool: PgPool, committer: Committer, shutdown: Shutdown) {
    while !shutdown.soft.is_cancelled() {
        let nap = match tick(&pool, &committer).await {
            Ok(nap) => nap,
            Err(error) => {
                tracing::warn!(%error, "schedules are late");
                NAP
            }
        };
        tokio::select! {
            () = tokio::time::sleep(nap) => {}
            () = shutdown.soft.cancelled() => {}
        }
    }
}

/// Starts everything that is due; returns how long nothing will be.
async fn tick(pool: &PgPool, committer: &Committer) -> Result<Duration> {
    loop {
        let mut conn = db::acquire(pool).await?;
        let due = schedules::due(&mut conn, AT_ONCE).await?;
        if due.is_empty() {
            let next = schedules::next_due(&mut conn).await?;
            let next = next.map(|ms| Duration::from_secs_f64((ms / 1000.0).clamp(0.0, 1.0)));
            return Ok(next.unwrap_or(NAP).min(NAP));
        }
        drop(conn);
        let mut attending = JoinSet::new();
        for due in due {
            let (pool, committer) = (pool.clone(), committer.clone());
            attending.spawn(async move { attend(&pool, &committer, &due).await });
        }
        for result in attending.join_all().await {
            // One that cannot be started now must not keep the others waiting; it is due again next time.
            if let Err(error) = result {
                tracing::warn!(%error, "an execution could not be started by its schedule");
                return Ok(NAP);
            }
        }
    }
}

/// Does what one schedule has to do, one instant at a time.
async fn attend(pool: &PgPool, committer: &Committer, due: &Due) -> Result<()> {
    let mut noted = Noted {
        next_at: due.next_at,
        buffered_at: due.buffered_at,
        ..Noted::default()
    };
    let came = due.next_at.filter(|at| *at <= due.now);
    match (plan(due), came) {
        (Err(wrong), _) => {
            // It was fine when it was made: a time zone may have gone since. Whoever changes it lets it go on.
            noted.next_at = None;
            noted.buffered_at = None;
            noted.error = Some((wrong, due.now));
        }
        (Ok(plan), Some(at)) => {
            let horizon = due.now - TimeDelta::milliseconds(due.catch_up_ms);
            let mut next = Some(at);
            while let Some(at) = next.filter(|at| *at < horizon && noted.missed < MOST_MISSED) {
                noted.missed += 1;
                next = plan.next(at);
            }
            noted.next_at = next;
            if noted.missed == 0 {
                noted.next_at = plan.next(at);
                take_up(pool, committer, (due, at), &mut noted).await?;
            }
        }
        (Ok(_), None) => {
            if let Some(at) = noted.buffered_at.take() {
                take_up(pool, committer, (due, at), &mut noted).await?;
            }
        }
    }
    let mut conn = db::acquire(pool).await?;
    schedules::note(&mut conn, due, &noted).await?;
    Ok(())
}

/// When the schedule starts executions.
fn plan(due: &Due) -> Result<Plan, String> {
    Ok(Plan {
        cron: Cron::parse(&due.cron)?,
        zone: zone(&due.time_zone)?,
        start_at: due.start_at,
        end_at: due.end_at,
    })
}

/// A time zone by its name.
pub fn zone(name: &str) -> Result<chrono_tz::Tz, String> {
    let unknown = |_| {
        let shown = text::clean(name, 50);
        format!("`{shown}` is no IANA time zone, such as `Europe/Berlin`")
    };
    name.parse().map_err(unknown)
}

/// Starts the execution of an instant, unless the overlap policy says otherwise.
async fn take_up(
    pool: &PgPool,
    committer: &Committer,
    (due, at): (&Due, DateTime<Utc>),
    noted: &mut Noted,
) -> Result<()> {
    let request = request(due.id, at);
    let mut conn = db::acquire(pool).await?;
    let open = schedules::open_executions(&mut conn, due.id, MOST_CANCELLED).await?;
    // What is open may be the execution of this very instant: whoever started it had no time to note it. It is
    // asked afterwards, because both come to be in one commit.
    let earlier = requests::find_requests(&mut conn, &[&request]).await?;
    drop(conn);
    if !earlier.is_empty() {
        noted.started = true;
        return Ok(());
    }
    if !open.is_empty() {
        match Overlap::parse(&due.overlap_policy) {
            Some(Overlap::Allow) => {}
            Some(Overlap::CancelRunning) => cancel(committer, due.id, open).await?,
            Some(Overlap::BufferOne) if noted.buffered_at.is_none() => {
                noted.buffered_at = Some(at);
                return Ok(());
            }
            Some(Overlap::BufferOne | Overlap::Skip) | None => {
                noted.skipped += 1;
                return Ok(());
            }
        }
    }
    let new = execution(due.id, due.workflow_id, due.metadata.as_deref(), at);
    let command = Command {
        target: Target::New(Box::new(new)),
        action: Action::Start,
        request: Some(request),
        actor: actor(due.id),
    };
    match committer.submit(command).await {
        Ok(_) => noted.started = true,
        Err(error) if is_passing(&error) => return Err(error),
        Err(error) => {
            noted.skipped += 1;
            noted.error = Some((text::clean(&error.to_string(), MOST_CHARS), at));
        }
    }
    Ok(())
}

async fn cancel(committer: &Committer, schedule: Uuid, open: Vec<Uuid>) -> Result<()> {
    let mut cancelling = JoinSet::new();
    for id in open {
        let committer = committer.clone();
        let command = Command {
            target: Target::Execution(id),
            action: Action::Cancel {
                reason: format!("schedule {schedule} starts the next one"),
                compensate: false,
            },
            request: None,
            actor: actor(schedule),
        };
        cancelling.spawn(async move { committer.submit(command).await });
    }
    for result in cancelling.join_all().await {
        match result {
            Err(error) if is_passing(&error) => return Err(error),
            // It has ended by itself meanwhile.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// An execution of a schedule.
pub fn execution(
    schedule: Uuid,
    workflow_id: Uuid,
    metadata: Option<&Map<String, Value>>,
    at: DateTime<Utc>,
) -> NewExecution {
    NewExecution {
        workflow_id,
        metadata: Some(stamped(metadata.cloned().unwrap_or_default(), at)),
        origin: Origin::Schedule(schedule),
        ..NewExecution::default()
    }
}

/// Metadata with the instant for which the execution starts.
pub fn stamped(mut metadata: Map<String, Value>, at: DateTime<Utc>) -> Map<String, Value> {
    let stamp = at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    metadata.insert("scheduledAt".to_owned(), stamp.into());
    metadata
}

fn actor(schedule: Uuid) -> Actor {
    Actor {
        id: format!("schedule:{schedule}"),
        ..Actor::default()
    }
}

/// The start of an instant, whoever asks for it. Kept longer than an instant can be made up.
fn request(schedule: Uuid, at: DateTime<Utc>) -> RequestKey {
    RequestKey {
        caller: format!("schedule:{schedule}"),
        method: "Schedule",
        id: Uuid::new_v5(&schedule, &at.timestamp_micros().to_be_bytes()),
        body_hash: Vec::new(),
    }
}

/// Whether the same may succeed a little later.
fn is_passing(error: &Error) -> bool {
    matches!(error.code(), Code::Unavailable | Code::ResourceExhausted)
}
