//! One batch of commands: prepared, applied and written in one transaction, then answered.
//! Invariant: a command that is refused, or that the database refuses, leaves no trace and does not hurt
//! the others of its batch.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::idempotency::RequestKey;
use chassis::{Error, Result, db, fail_point};
use futures_util::FutureExt;
use model::graph::Graph;
use serde_json::Value;
use uuid::Uuid;

use super::business_keys::Keys;
use super::cache::Remembered;
use super::command_rows::Asked;
use super::handing::Handing;
use super::kept_signals::KeptSignals;
use super::load::{self, Found, Loaded};
use super::refusal::{Missing, absent, missing, refused};
use super::rows::{Birth, Rows};
use super::starts::{is_outage, ready};
use super::{Action, Command, Done, NewExecution, Origin, Pending, Shared, Target};
use crate::engine::{self, Change, Execution};
use crate::store;
use crate::store::requests::EarlierRequest;

/// How often a transaction that lost against another one is repeated.
const TRIES: u32 = 10;
/// How long the engine may think inside a transaction before the rest of the batch is put off.
const PATIENCE: Duration = Duration::from_secs(1);

/// What became of one command inside a transaction.
pub(super) enum Verdict {
    Done(Done),
    Refused(Error),
    /// Somebody else holds the execution.
    Busy,
}

/// Writes a batch and answers its callers.
pub(super) async fn commit(shared: &Arc<Shared>, batch: Vec<Pending>) {
    let mut batch = ready(shared, batch).await;
    // Halves of a batch that the database refuses, until the culprit is alone.
    let mut todo = Vec::new();
    while !batch.is_empty() || !todo.is_empty() {
        if batch.is_empty() {
            batch = todo.pop().unwrap_or_default();
            continue;
        }
        match repeat(shared, &batch).await {
            Ok(verdicts) => {
                for (pending, verdict) in batch.drain(..).zip(verdicts) {
                    match verdict {
                        Verdict::Done(done) => pending.answer(Ok(done)),
                        Verdict::Refused(error) => pending.answer(Err(error)),
                        Verdict::Busy => pending.put_off(shared),
                    }
                }
            }
            Err(error) if batch.len() > 1 && !is_outage(&error) => {
                todo.push(batch.split_off(batch.len() / 2));
            }
            Err(error) => {
                for pending in batch.drain(..) {
                    pending.answer(Err(error.clone()));
                }
            }
        }
    }
}

async fn repeat(shared: &Arc<Shared>, batch: &[Pending]) -> Result<Vec<Verdict>> {
    let mut tries = 1;
    loop {
        // A command that makes the engine panic must fail alone, like one that the database refuses.
        match AssertUnwindSafe(db::patiently(transact(shared, batch)))
            .catch_unwind()
            .await
        {
            Ok(Err(error)) if error.is_conflict() && tries < TRIES => tries += 1,
            Ok(result) => return result,
            Err(_) => return Err(Error::internal("a transaction panicked")),
        }
    }
}

/// One transaction's work in memory.
pub(super) struct Unit<'a> {
    pub found: Found,
    asked: Asked,
    pub kept_signals: KeptSignals,
    births: HashMap<Uuid, Birth>,
    /// By key: earlier calls, and those of this batch that succeeded.
    requests: HashMap<(String, String, Uuid), EarlierRequest>,
    /// Keys to keep, with what their calls made.
    kept: BTreeMap<(String, &'static str, Uuid), (&'a RequestKey, Uuid)>,
    keys: Keys,
}

async fn transact(shared: &Arc<Shared>, batch: &[Pending]) -> Result<Vec<Verdict>> {
    let mut tx = db::keyed(&shared.pool).await?;
    let (ids, wait_ids) = targets(batch);
    let asked = Asked::lock(&mut tx, batch).await?;
    let mut handing = Handing::new();
    let found = load::lock(shared, &mut tx, &ids, &wait_ids).await?;
    fail_point!("committer.locked");
    // Before earlier calls are read: a repetition that has waited for its first call here must find it.
    let business_keys = Keys::lock(&mut tx, batch).await?;
    let kept_signals = KeptSignals::look(&mut tx, batch, &found).await?;
    let keys: Vec<&RequestKey> = batch
        .iter()
        .filter_map(|pending| pending.command.request.as_ref())
        .collect();
    let requests = store::requests::find_requests(&mut tx, &keys).await?;
    let mut unit = Unit {
        found,
        asked,
        kept_signals,
        births: HashMap::new(),
        requests: requests
            .into_iter()
            .map(|r| ((r.caller.clone(), r.method.clone(), r.request_id), r))
            .collect(),
        kept: BTreeMap::new(),
        keys: business_keys,
    };

    let missing = missing(&mut tx, &unit.found, &ids, &wait_ids).await?;
    let begun = Instant::now();
    let mut verdicts: Vec<Verdict> = batch
        .iter()
        .map(|pending| match begun.elapsed() < PATIENCE {
            true => unit.judge(pending, &missing),
            // Locks are held meanwhile: what comes after expensive commands has a transaction of its own.
            false => Verdict::Busy,
        })
        .collect();

    let mut rows = Rows::default();
    for (id, loaded) in &mut unit.found.executions {
        if loaded.touched {
            handing.lease(&shared.hints.dispatch, loaded, unit.found.now);
            rows.add(loaded, unit.births.remove(id));
        }
    }
    let kept: Vec<_> = unit.kept.values().copied().collect();
    if store::requests::keep_requests(&mut tx, &kept).await? < kept.len() as u64 {
        // The same request has just been committed by somebody else: start over and find it.
        return Err(Error::conflict("a concurrent repetition came first"));
    }
    fail_point!("committer.before_write");
    rows.write(&mut tx).await?;
    unit.asked.forget(&mut tx).await?;
    unit.kept_signals.forget(&mut tx).await?;
    fail_point!("committer.before_commit");
    tx.commit().await?;
    fail_point!("committer.after_commit");
    for verdict in &mut verdicts {
        if let Verdict::Done(done) = verdict {
            done.born = rows.born_as(done.execution_id);
        }
    }
    handing.hand_over(&shared.hints.dispatch, &unit.found.executions);
    after(shared, unit, rows);
    Ok(verdicts)
}

fn targets(batch: &[Pending]) -> (Vec<Uuid>, Vec<Uuid>) {
    let mut ids = Vec::new();
    let mut wait_ids = Vec::new();
    for pending in batch {
        match pending.command.target {
            Target::New(_) => {}
            Target::Execution(id) => ids.push(id),
            Target::Wait(id) => wait_ids.push(id),
        }
    }
    (ids, wait_ids)
}

impl<'a> Unit<'a> {
    fn judge(&mut self, pending: &'a Pending, missing: &HashMap<Uuid, Missing>) -> Verdict {
        if self.asked.is_taken(pending) {
            return Verdict::Done(Uuid::nil().into());
        }
        let request = pending.command.request.as_ref();
        if let Some(key) = request {
            let known = (key.caller.clone(), key.method.to_owned(), key.id);
            if let Some(earlier) = self.requests.get(&known) {
                return if earlier.body_hash == key.body_hash {
                    Verdict::Done(earlier.resource_id.into())
                } else {
                    Verdict::Refused(RequestKey::reused())
                };
            }
        }
        let verdict = self.apply(pending, missing);
        let verdict = self.asked.note(pending, verdict);
        if let (Some(key), Verdict::Done(done)) = (request, &verdict) {
            let earlier = EarlierRequest {
                caller: key.caller.clone(),
                method: key.method.to_owned(),
                request_id: key.id,
                body_hash: key.body_hash.clone(),
                resource_id: done.execution_id,
            };
            let known = (key.caller.clone(), key.method.to_owned(), key.id);
            self.requests.insert(known, earlier);
            let ordered = (key.caller.clone(), key.method, key.id);
            self.kept.insert(ordered, (key, done.execution_id));
        }
        verdict
    }

    fn apply(&mut self, pending: &Pending, missing: &HashMap<Uuid, Missing>) -> Verdict {
        let Command { target, action, .. } = &pending.command;
        let (execution_id, seq) = match target {
            Target::New(new) => return self.start(pending, new),
            Target::Execution(id) if self.found.executions.contains_key(id) => (*id, 0),
            Target::Execution(id) => {
                return match missing.get(id) {
                    Some(Missing::Busy) => Verdict::Busy,
                    _ => Verdict::Refused(Error::not_found("execution", id)),
                };
            }
            Target::Wait(id) => match self.found.branches.get(id) {
                Some(branch) => *branch,
                None => return absent(*id, action, missing.get(id)),
            },
        };
        let command = match action {
            Action::Start | Action::Resume => engine::Command::Resume,
            Action::Cancel { reason, compensate } => engine::Command::Cancel {
                reason: reason.clone(),
                compensate: *compensate,
            },
            Action::Wake => engine::Command::Wake { seq },
            Action::Grant => engine::Command::Grant { seq },
            Action::Signal(signal) => engine::Command::Signal(signal.clone()),
            Action::Resolve(resolution) => engine::Command::Resolve {
                seq,
                actor: pending.command.actor.clone(),
                resolution: resolution.clone(),
            },
            Action::Leave { reason, goes_on } => engine::Command::Leave {
                seq,
                actor: pending.command.actor.clone(),
                reason: reason.clone(),
                goes_on: *goes_on,
            },
            Action::Deliver(data) => engine::Command::Deliver {
                seq,
                data: data.clone(),
            },
            Action::Call(call) => return self.call(pending, (execution_id, seq), call),
            Action::TakeKept => return self.take_kept((execution_id, seq)),
            Action::Hear(news) => engine::Command::Hear {
                seq,
                news: news.clone(),
            },
            Action::Answer(answer) => engine::Command::Answer {
                seq,
                actor: pending.command.actor.clone(),
                answer: answer.clone(),
            },
        };
        let loaded = self.found.executions.get_mut(&execution_id);
        let loaded = loaded.expect("branches are found with their execution");
        match loaded.advance(command, self.found.now) {
            Ok(()) => Verdict::Done(execution_id.into()),
            // What nobody asked for in person may come late.
            Err(_) if matches!(action, Action::Wake | Action::Resume) => {
                Verdict::Done(execution_id.into())
            }
            Err(refusal) => Verdict::Refused(refused(refusal, action)),
        }
    }

    fn start(&mut self, pending: &Pending, new: &NewExecution) -> Verdict {
        if let Some(error) = &pending.barred {
            return Verdict::Refused(error.clone());
        }
        if let Some(verdict) = self.keys.judge(new, &self.found) {
            return verdict;
        }
        let (graph, execution, change) = match &new.simulated {
            Some(Ok(simulated)) => simulated.clone(),
            Some(Err(error)) => return Verdict::Refused(error.clone()),
            None => {
                let graph = pending.graph.clone().expect("starts are prepared");
                let input = new.metadata.as_ref().and_then(|m| m.get("inputData"));
                let input = input.and_then(Value::as_object).cloned();
                let now = self.found.now;
                let mut execution =
                    engine::begin(&graph, pending.id, input.unwrap_or_default(), now);
                match &new.origin {
                    Origin::Restart(restart) => {
                        execution.memory.reuse = Some(restart.reuse.clone());
                    }
                    Origin::Signal(signal) => {
                        execution.memory.signals.push((**signal).clone());
                    }
                    Origin::Call | Origin::Schedule(_) => {}
                }
                let mut change = Change::default();
                let command = engine::Command::Start;
                engine::advance(&graph, &mut execution, command, now, &mut change)
                    .expect("a new execution is not over");
                (graph, execution, change)
            }
        };
        let id = execution.id;
        let birth = Birth {
            metadata: new.metadata.clone(),
            started_by: pending.command.actor.id.clone(),
            business_key: new.business_key.as_ref().map(|it| it.key.clone()),
            restarted_from: new.origin.restarted_from(),
            schedule: new.origin.schedule(),
        };
        self.keys.note(new, &execution);
        self.enter(birth, (graph, execution, change), new.simulated.is_some());
        Verdict::Done(id.into())
    }

    /// Adds a new execution to what is written.
    pub(super) fn enter(
        &mut self,
        birth: Birth,
        (graph, execution, change): (Arc<Graph>, Execution, Change),
        simulation: bool,
    ) {
        let id = execution.id;
        self.births.insert(id, birth);
        let loaded = Loaded {
            graph,
            execution,
            change,
            revision: 0,
            told: 0,
            simulation,
            before: Vec::new(),
            touched: true,
        };
        self.found.executions.insert(id, loaded);
    }
}

/// What follows a commit: memory is kept, events are handed over, waiters are told.
fn after(shared: &Arc<Shared>, unit: Unit<'_>, mut rows: Rows) {
    let mut sliced = Vec::new();
    {
        let mut cache = shared.cache.lock().expect("no holder of this lock panics");
        for (id, loaded) in unit.found.executions {
            if loaded.execution.status.is_final() {
                continue;
            }
            let branches = &loaded.execution.branches;
            if branches.iter().any(|b| b.hold == engine::Hold::Runnable) {
                sliced.push(id);
            }
            let revision = loaded.revision + i64::from(loaded.touched);
            let entry = Remembered {
                revision,
                memory: loaded.execution.memory,
                context: loaded.execution.context,
            };
            cache.put(id, entry);
        }
    }
    for id in sliced {
        shared.resume(id);
    }
    rows.deliver();
    for row in rows.outbox.drain(..) {
        // A full channel: the sender's poll finds the row.
        let _ = shared.outbox.try_send(row);
    }
    shared.hints.changes.send_modify(|commits| *commits += 1);
    if rows.has_jobs() {
        shared.hints.dispatch.queued(rows.queued_jobs());
        shared.hints.jobs.send_modify(|commits| *commits += 1);
    }
    if rows.has_commands() {
        shared.hints.commands.send_modify(|commits| *commits += 1);
    }
}
