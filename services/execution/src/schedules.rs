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

/// Schedules attended to at once.
const AT_ONCE: usize = 100;
/// How long other replicas leave a schedule alone to which one attends, at most. What takes longer is done twice, which
/// does no harm.
const LEASE: Duration = Duration::from_secs(30);
/// The longest nap: new schedules may have come, from any replica.
const NAP: Duration = Duration::from_secs(1);
/// The shortest one: what is due may be about to be leased by another replica, or changed.
const SHORTEST_NAP: Duration = Duration::from_millis(20);
/// Missed instants counted at once: counting takes time, too.
const MOST_MISSED: i64 = 1000;
/// Executions cancelled at once.
const CANCELLED_AT_ONCE: i64 = 100;
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

/// Starts what is due until told to stop. A schedule that takes long holds up none but itself.
pub async fn run(pool: PgPool, committer: Committer, shutdown: Shutdown) {
    let mut attending = JoinSet::new();
    while !shutdown.soft.is_cancelled() {
        let nap = match tick(&pool, &committer, &mut attending).await {
            Ok(nap) => nap,
            Err(error) => {
                tracing::warn!(%error, "schedules are late");
                NAP
            }
        };
        tokio::select! {
            () = tokio::time::sleep(nap) => {}
            () = shutdown.soft.cancelled() => {}
            // There is room again, and that schedule may have more to do.
            Some(_) = attending.join_next() => while attending.try_join_next().is_some() {},
        }
    }
    while attending.join_next().await.is_some() {}
}

/// Begins to attend to everything that is due, as far as there is room; returns how long nothing else will be.
async fn tick(
    pool: &PgPool,
    committer: &Committer,
    attending: &mut JoinSet<()>,
) -> Result<Duration> {
    let room = AT_ONCE.saturating_sub(attending.len());
    if room == 0 {
        return Ok(NAP);
    }
    let mut conn = db::acquire(pool).await?;
    let limit = i64::try_from(room).unwrap_or(i64::MAX);
    for due in schedules::lease(&mut conn, limit, LEASE).await? {
        let (pool, committer) = (pool.clone(), committer.clone());
        attending.spawn(async move { attend(&pool, &committer, &due).await });
    }
    let next = schedules::next_due(&mut conn).await?;
    let next = next.map(|ms| Duration::from_secs_f64((ms / 1000.0).clamp(0.0, 1.0)));
    Ok(next.unwrap_or(NAP).clamp(SHORTEST_NAP, NAP))
}

/// Attends to a leased schedule. If that cannot be done now, it is due again a little later.
async fn attend(pool: &PgPool, committer: &Committer, due: &Due) {
    let pause = match work(pool, committer, due).await {
        Ok(true) => return,
        Ok(false) => Duration::ZERO,
        Err(error) => {
            tracing::warn!(%error, "an execution could not be started by its schedule");
            NAP
        }
    };
    let released = async {
        let mut conn = db::acquire(pool).await?;
        Ok::<_, Error>(schedules::release(&mut conn, due, pause).await?)
    };
    if let Err(error) = released.await {
        tracing::warn!(%error, "a schedule is left alone until its lease ends");
    }
}

/// Does what one schedule has to do, one instant at a time; false if that could not be noted.
async fn work(pool: &PgPool, committer: &Committer, due: &Due) -> Result<bool> {
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
            noted.next_at = plan.next(at);
            if at >= horizon {
                take_up(pool, committer, (due, at), &mut noted).await?;
            } else if !resume(pool, committer, (due, at), &mut noted).await? {
                // Instants are taken up in order: none of those after it has started, either.
                noted.missed = 1;
                while let Some(at) = noted.next_at.filter(|at| *at < horizon)
                    && noted.missed < MOST_MISSED
                {
                    noted.missed += 1;
                    noted.next_at = plan.next(at);
                }
            }
        }
        (Ok(_), None) => {
            if let Some(at) = noted.buffered_at.take() {
                take_up(pool, committer, (due, at), &mut noted).await?;
            }
        }
    }
    let mut conn = db::acquire(pool).await?;
    Ok(schedules::note(&mut conn, due, &noted).await?)
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
    let mut conn = db::acquire(pool).await?;
    let is_open = schedules::has_open(&mut conn, due.id).await?;
    drop(conn);
    // What is open may be the execution of this very instant. It is asked afterwards, because execution and request
    // come to be in one commit.
    if resume(pool, committer, (due, at), noted).await? {
        return Ok(());
    }
    let policy = Overlap::parse(&due.overlap_policy).unwrap_or(Overlap::Skip);
    match policy {
        Overlap::BufferOne if is_open && noted.buffered_at.is_none() => {
            noted.buffered_at = Some(at);
            return Ok(());
        }
        Overlap::BufferOne | Overlap::Skip if is_open => {
            noted.skipped += 1;
            return Ok(());
        }
        _ => {}
    }
    let new = execution(due.id, due.workflow_id, due.metadata.as_deref(), at);
    let command = Command {
        target: Target::New(Box::new(new)),
        action: Action::Start,
        request: Some(request(due.id, at)),
        actor: actor(due.id),
    };
    match committer.submit(command).await {
        Ok(done) => started(pool, committer, (due, done.execution_id), noted).await?,
        Err(error) if is_passing(&error) => return Err(error),
        Err(error) => {
            noted.skipped += 1;
            noted.error = Some((text::clean(&error.to_string(), MOST_CHARS), at));
        }
    }
    Ok(())
}

/// Goes on after the start of an instant, if there was one: whoever made it had no time to note it.
async fn resume(
    pool: &PgPool,
    committer: &Committer,
    (due, at): (&Due, DateTime<Utc>),
    noted: &mut Noted,
) -> Result<bool> {
    let mut conn = db::acquire(pool).await?;
    let earlier = requests::find_requests(&mut conn, &[&request(due.id, at)]).await?;
    drop(conn);
    let Some(earlier) = earlier.first() else {
        return Ok(false);
    };
    started(pool, committer, (due, earlier.resource_id), noted).await?;
    Ok(true)
}

/// What is to be done once an execution has started: only now it is certain that another one takes the place of
/// those that were open.
async fn started(
    pool: &PgPool,
    committer: &Committer,
    (due, execution): (&Due, Uuid),
    noted: &mut Noted,
) -> Result<()> {
    noted.started = true;
    if Overlap::parse(&due.overlap_policy) != Some(Overlap::CancelRunning) {
        return Ok(());
    }
    let mut after = Uuid::nil();
    loop {
        let mut conn = db::acquire(pool).await?;
        let which = (execution, after);
        let open = schedules::open_before(&mut conn, due.id, which, CANCELLED_AT_ONCE).await?;
        drop(conn);
        let Some(last) = open.last() else {
            return Ok(());
        };
        after = *last;
        cancel(committer, due.id, open).await?;
    }
}

async fn cancel(committer: &Committer, schedule: Uuid, open: Vec<Uuid>) -> Result<()> {
    let mut cancelling = JoinSet::new();
    for id in open {
        let committer = committer.clone();
        let command = Command {
            target: Target::Execution(id),
            action: Action::Cancel {
                reason: format!("schedule {schedule} has started the next one"),
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
