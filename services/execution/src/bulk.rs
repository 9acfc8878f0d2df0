//! The loop that does one thing to many executions. Invariant: each execution is done once and counted once: its
//! page is kept before it is done, until it is counted, and each command carries an id made of the operation and
//! its target, so another try at a page finds what the first one did, whatever has become of the executions.

use std::collections::HashMap;
use std::time::Duration;

use chassis::idempotency::RequestKey;
use chassis::order::Run;
use chassis::{Error, Result, Shutdown, db};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tonic::Code;
use uuid::Uuid;

use crate::committer::{Action, Command, Committer, Target};
use crate::engine::{Resolution, Signal};
use crate::rpc::search;
use crate::store::bulk::{self, Fault, Operation, Page, PageTarget, Progress};
use crate::store::executions::{self, Filter};

/// Operations that may be open at once.
pub const MOST_OPEN: i64 = 10;
/// Executions done between two looks at the operation.
const PAGE: i64 = 200;
/// Executions counted between two looks.
const DRY_PAGE: i64 = 1000;
/// A page is at most a fifth of a second's worth.
const PAGES_A_SECOND: i32 = 5;
/// Failures that are kept.
const MOST_ERRORS: usize = 20;
/// How often is looked for operations, and how long after trouble.
const NAP: Duration = Duration::from_secs(1);

/// What is done to each execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Deed {
    Cancel {
        reason: String,
        compensate: bool,
    },
    Retry,
    GiveUp,
    Signal {
        name: String,
        /// Not read in lists.
        #[serde(default)]
        data: Map<String, Value>,
    },
}

impl Deed {
    pub fn resolves_incidents(&self) -> bool {
        matches!(self, Self::Retry | Self::GiveUp)
    }

    fn action(&self) -> Action {
        match self {
            Self::Cancel { reason, compensate } => Action::Cancel {
                reason: reason.clone(),
                compensate: *compensate,
            },
            Self::Retry => Action::Resolve(Resolution::Retry { data: Map::new() }),
            Self::GiveUp => Action::Resolve(Resolution::GiveUp),
            Self::Signal { name, data } => Action::Signal(Signal {
                name: name.clone(),
                data: data.clone(),
                expires_at: None,
            }),
        }
    }
}

/// Works on operations until told to stop.
pub async fn run(pool: PgPool, committer: Committer, shutdown: Shutdown) {
    let worker = Worker { pool, committer };
    let mut working = JoinSet::new();
    while !shutdown.soft.is_cancelled() {
        match worker.take().await {
            Ok(Some(held)) => {
                working.spawn(worker.clone().work(held, shutdown.clone()));
                continue;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "bulk operations wait"),
        }
        while let Some(ended) = working.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "a bulk operation stopped");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(NAP) => {}
            () = shutdown.soft.cancelled() => {}
        }
    }
    while working.join_next().await.is_some() {}
}

/// An operation, and in whose name it is held: another one each time it is taken.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    id: Uuid,
    holder: Uuid,
}

#[derive(Clone)]
pub struct Worker {
    pub pool: PgPool,
    pub committer: Committer,
}

/// What became of one execution.
enum Outcome {
    Done,
    /// Nothing was left to be done.
    Skipped,
    Failed(Error),
}

impl Worker {
    /// Takes an operation that nobody works on.
    pub async fn take(&self) -> Result<Option<Held>> {
        let holder = Uuid::now_v7();
        let mut conn = db::acquire(&self.pool).await?;
        let id = bulk::take(&mut conn, holder).await?;
        Ok(id.map(|id| Held { id, holder }))
    }

    async fn work(self, held: Held, shutdown: Shutdown) {
        while !shutdown.soft.is_cancelled() {
            let pause = match self.step(held).await {
                Ok(Some(pause)) => pause,
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, operation = %held.id, "a bulk operation waits");
                    NAP
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.soft.cancelled() => {}
            }
        }
        if let Err(error) = self.release(held).await {
            tracing::warn!(%error, operation = %held.id, "a bulk operation goes on when its lease ends");
        }
    }

    async fn release(&self, held: Held) -> Result<()> {
        let mut conn = db::acquire(&self.pool).await?;
        bulk::release(&mut conn, held.id, held.holder).await?;
        Ok(())
    }

    /// Does one page. Says how long to wait before the next one; nothing when there is none, or the
    /// operation is somebody else's by now.
    pub async fn step(&self, held: Held) -> Result<Option<Duration>> {
        let begun = Instant::now();
        let mut conn = db::acquire(&self.pool).await?;
        let operation = bulk::renew(&mut conn, held.id, held.holder).await?;
        drop(conn);
        let Some(operation) = operation else {
            return Ok(None);
        };
        let Some(page) = self.page(held, &operation).await? else {
            return Ok(None);
        };
        let processed = page.executions.len();
        let mut progress = Progress {
            cursor: page.last,
            processed: processed as i64,
            errors: operation.errors.0.clone(),
            end: page.is_last.then_some("COMPLETED"),
            ..Progress::default()
        };
        if !operation.dry_run {
            self.fulfil(&operation, &page, &mut progress).await?;
        }
        let goes_on = self.count(held, &progress).await? && progress.end.is_none();
        let due = match operation.dry_run {
            true => Duration::ZERO,
            false => Duration::from_secs(1) * processed as u32 / operation.max_per_second as u32,
        };
        Ok(goes_on.then(|| due.saturating_sub(begun.elapsed())))
    }

    /// What is done next: what was begun and not counted, or else what follows. Nothing if the operation cannot
    /// go on, or is somebody else's.
    async fn page(&self, held: Held, operation: &Operation) -> Result<Option<Page>> {
        let mut conn = db::acquire(&self.pool).await?;
        let begun = bulk::page(&mut conn, held.id).await?;
        drop(conn);
        if begun.is_some() {
            return Ok(begun);
        }
        let filter = match restriction(operation) {
            Ok(filter) => filter,
            Err(error) => {
                let failed = Progress {
                    errors: operation.errors.0.clone(),
                    end: Some("FAILED"),
                    error: Some(error.message().to_owned()),
                    ..Progress::default()
                };
                self.count(held, &failed).await?;
                return Ok(None);
            }
        };
        let page = self.following(operation, filter).await?;
        if operation.dry_run || page.executions.is_empty() {
            return Ok(Some(page));
        }
        let mut conn = db::acquire(&self.pool).await?;
        let is_kept = bulk::keep_page(&mut conn, (held.id, held.holder), &page).await?;
        Ok(is_kept.then_some(page))
    }

    async fn count(&self, held: Held, progress: &Progress) -> Result<bool> {
        let mut conn = db::acquire(&self.pool).await?;
        Ok(bulk::advance(&mut conn, (held.id, held.holder), progress).await?)
    }

    /// What follows the executions that are counted.
    async fn following(&self, operation: &Operation, mut filter: Filter) -> Result<Page> {
        let limit = match operation.dry_run {
            true => DRY_PAGE,
            false => i64::from(operation.max_per_second / PAGES_A_SECOND).clamp(1, PAGE),
        };
        let step_id = filter.waiting.step_id;
        let mut listing = db::listing(&self.pool).await?;
        filter.narrow(&mut listing, search::MOST_RARE).await?;
        let after = operation.cursor_started_at.zip(operation.cursor_id);
        let places = executions::places(&mut listing, &filter, Run::Up(after), limit);
        let places = places.collect::<sqlx::Result<Vec<_>>>().await?;
        listing.commit().await?;
        let mut waits: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
        if operation.action.resolves_incidents() && !operation.dry_run {
            let ids: Vec<Uuid> = places.iter().map(|place| place.id).collect();
            let mut conn = db::acquire(&self.pool).await?;
            for (id, wait) in bulk::incidents(&mut conn, &ids, step_id).await? {
                waits.entry(id).or_default().push(wait);
            }
        }
        let target = |id| PageTarget {
            id,
            waits: waits.remove(&id).unwrap_or_default(),
        };
        Ok(Page {
            last: places.last().map(|place| (place.started_at, place.id)),
            is_last: (places.len() as i64) < limit,
            executions: places.iter().map(|place| place.id).map(target).collect(),
        })
    }

    /// Does it to each; an error means that it is to be tried again, and nothing is counted.
    async fn fulfil(
        &self,
        operation: &Operation,
        page: &Page,
        progress: &mut Progress,
    ) -> Result<()> {
        let by_wait = operation.action.resolves_incidents();
        let targets = page.executions.iter().flat_map(|execution| {
            let whole = (!by_wait).then_some(Target::Execution(execution.id));
            let waits = execution.waits.iter().copied().map(Target::Wait);
            whole
                .into_iter()
                .chain(waits)
                .map(|target| (execution.id, target))
        });
        let mut sent = JoinSet::new();
        for (execution_id, target) in targets {
            let command = command(operation, target);
            let committer = self.committer.clone();
            sent.spawn(async move { (execution_id, outcome(committer.submit(command).await)) });
        }
        let mut told = Vec::with_capacity(page.executions.len());
        for (execution_id, outcome) in sent.join_all().await {
            told.push((execution_id, outcome?));
        }
        for PageTarget { id, .. } in &page.executions {
            let mut own = told.iter().filter(|(told_id, _)| told_id == id);
            let failure = own.clone().find_map(|(_, outcome)| match outcome {
                Outcome::Failed(error) => Some(error),
                Outcome::Done | Outcome::Skipped => None,
            });
            if let Some(error) = failure {
                progress.failed += 1;
                if progress.errors.len() < MOST_ERRORS {
                    progress.errors.push(Fault {
                        execution_id: *id,
                        reason: error.reason().to_owned(),
                        message: error.message().to_owned(),
                    });
                }
            } else if own.any(|(_, outcome)| matches!(outcome, Outcome::Done)) {
                progress.succeeded += 1;
            } else {
                progress.skipped += 1;
            }
        }
        Ok(())
    }
}

/// What is walked: what the filter says, open, and started before the operation was created.
fn restriction(operation: &Operation) -> Result<Filter> {
    let mut filter = search::parse(&operation.filter)?;
    let created_at = operation.created_at;
    let before = filter
        .started
        .before
        .map_or(created_at, |at| at.min(created_at));
    filter.started.before = Some(before);
    filter.is_open = true;
    if operation.action.resolves_incidents() {
        filter.waiting.kind = Some("incident".to_owned());
    }
    Ok(filter)
}

fn command(operation: &Operation, target: Target) -> Command {
    let id = match &target {
        Target::Execution(id) | Target::Wait(id) => *id,
        Target::New(_) => Uuid::nil(),
    };
    Command {
        target,
        action: operation.action.action(),
        request: Some(RequestKey {
            caller: format!("bulk:{}", operation.id),
            method: "BulkOperation",
            id,
            // An operation says the same to all.
            body_hash: Vec::new(),
        }),
        actor: operation.actor.0.clone(),
    }
}

/// An error if it is worth another try.
fn outcome<T>(result: Result<T>) -> Result<Outcome> {
    let Err(error) = result else {
        return Ok(Outcome::Done);
    };
    match (error.code(), error.reason()) {
        // Gone, or somebody was faster.
        (Code::NotFound, _)
        | (_, "EXECUTION_FINISHED" | "EXECUTION_CLOSING" | "INCIDENT_RESOLVED") => {
            Ok(Outcome::Skipped)
        }
        // Tried for seconds: the others do not wait for it.
        (_, "EXECUTION_BUSY") => Ok(Outcome::Failed(error)),
        (Code::Unavailable | Code::ResourceExhausted, _) => Err(error),
        _ => Ok(Outcome::Failed(error)),
    }
}

#[cfg(test)]
mod tests;
