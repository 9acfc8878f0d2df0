//! What the engine changed, as rows. Invariant: everything that one transaction writes is here, so the
//! outbox cannot miss what the logs tell.

use std::collections::HashMap;

use chassis::{Error, Result};
use chrono::{DateTime, Utc};
use model::event::{Event, ExecutionEvents};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::load::{Loaded, left};
use super::{command_rows, locks, waits};
use crate::engine::{Execution, Failure, Log};
use crate::history;
use crate::outbox::{Filling, OutboxRow};
use crate::store;
use crate::store::commands::{NewCommands, insert_commands};
use crate::store::locks::{Locks, pass_on};
use crate::store::notifications::{self, Notifications};
use crate::store::write::{self, Logs, MovedExecutions, NewExecutions, Waits};

/// A new execution's row beside what the engine knows.
pub(super) struct Birth {
    pub metadata: Option<Map<String, Value>>,
    pub started_by: String,
    pub business_key: Option<String>,
    pub restarted_from: Option<Uuid>,
    pub schedule: Option<Uuid>,
}

/// All rows of one transaction.
#[derive(Default)]
pub(super) struct Rows {
    born: NewExecutions,
    moved: MovedExecutions,
    new_logs: Logs,
    changed_logs: Logs,
    new_waits: Waits,
    gone_waits: Vec<Uuid>,
    kept: Vec<Uuid>,
    memories: Vec<Value>,
    forgotten: Vec<Uuid>,
    notifications: Notifications,
    commands: NewCommands,
    locks: Locks,
    /// The latest change.
    at: DateTime<Utc>,
    pub outbox: Vec<OutboxRow>,
    shown: HashMap<Uuid, Box<store::executions::Execution>>,
    filling: Filling,
}

impl Rows {
    /// Adds what one execution became.
    pub fn add(&mut self, loaded: &mut Loaded, birth: Option<Birth>) {
        mint(loaded);
        self.gone_waits.extend(left(loaded));
        waits::push(&mut self.new_waits, loaded);
        self.memory(loaded, birth.is_some());
        self.events(loaded, birth.is_some());
        self.notifications(loaded);
        command_rows::push(&mut self.commands, loaded);
        locks::push(&mut self.locks, loaded);
        self.at = self.at.max(loaded.execution.memory.last_at);
        for log in std::mem::take(&mut loaded.change.logs).into_values() {
            let fresh = loaded.before.iter().all(|branch| branch.seq != log.seq);
            let rows = if fresh {
                &mut self.new_logs
            } else {
                &mut self.changed_logs
            };
            push_log(rows, loaded.execution.id, log);
        }
        match birth {
            Some(birth) => self.born(loaded, birth),
            None => self.moved(&loaded.execution),
        }
    }

    /// A new execution as its row is written; its caller is answered with it.
    pub fn born_as(&mut self, id: Uuid) -> Option<Box<store::executions::Execution>> {
        self.shown.remove(&id)
    }

    /// Writes everything, in the lock order: executions, waits, logs.
    pub async fn write(&mut self, conn: &mut PgConnection) -> Result<()> {
        self.outbox = std::mem::take(&mut self.filling).finish();
        write::write_executions(conn, &self.moved, &self.born)
            .await
            .map_err(|error| unless_deleted(error, &self.born))?;
        write::write_waits(conn, &self.gone_waits, &self.new_waits).await?;
        let changed = write::write_logs(conn, &self.changed_logs, &self.new_logs).await?;
        if changed != self.changed_logs.id.len() {
            // Under the execution's lock nobody else ends its attempts.
            return Err(Error::internal("an attempt that is over was to change"));
        }
        write::write_memories(conn, &self.forgotten, &self.kept, &self.memories).await?;
        notifications::insert_notifications(conn, &self.notifications).await?;
        let granted = pass_on(conn, &self.locks).await?;
        command_rows::grant(&mut self.commands, granted, self.at);
        insert_commands(conn, &self.commands).await?;
        let ids: Vec<Uuid> = self.outbox.iter().map(|row| row.id).collect();
        let payloads: Vec<Vec<u8>> = self.outbox.iter().map(|row| row.payload.to_vec()).collect();
        write::insert_outbox(conn, &ids, &payloads).await?;
        Ok(())
    }

    /// Whether a worker may find something new.
    pub fn has_jobs(&self) -> bool {
        self.queued_jobs().next().is_some()
    }

    /// The types of jobs that nobody holds yet.
    pub fn queued_jobs(&self) -> impl Iterator<Item = &str> {
        let waits = self.new_waits.job_type.iter().zip(&self.new_waits.held_by);
        let free = waits.filter(|(_, held_by)| held_by.is_none());
        free.filter_map(|(job_type, _)| job_type.as_deref())
    }

    /// Whether another execution has something to do.
    pub fn has_commands(&self) -> bool {
        !self.commands.id.is_empty()
    }

    /// Writes a word to the service's log for each notification: the default delivery.
    pub fn deliver(&self) {
        let sent = &self.notifications;
        for at in 0..sent.id.len() {
            tracing::info!(
                execution_id = %sent.execution_id[at],
                notification_type = sent.notification_type[at],
                template = sent.template[at].as_deref().unwrap_or_default(),
                "notification",
            );
        }
    }

    fn born(&mut self, loaded: &Loaded, birth: Birth) {
        let execution = &loaded.execution;
        self.show(loaded, &birth);
        let rows = &mut self.born;
        rows.id.push(execution.id);
        rows.workflow_id.push(execution.workflow_id);
        rows.client_id.push(execution.client_id);
        rows.status.push(execution.status.to_string());
        rows.started_at.push(execution.started_at);
        rows.completed_at.push(execution.completed_at);
        rows.metadata.push(birth.metadata.map(Value::Object));
        rows.updated_at.push(execution.memory.last_at);
        rows.workflow_version.push(execution.version);
        rows.started_by.push(birth.started_by);
        let failure = failure(execution);
        rows.error.push(failure.map(|f| f.message.clone()));
        rows.error_code.push(failure.map(|f| f.code.clone()));
        rows.closing_as.push(closing_as(execution));
        rows.simulation.push(loaded.simulation);
        rows.parent_execution_id.push(parent(execution));
        rows.event_count.push(execution.event_count);
        rows.business_key.push(birth.business_key);
        rows.restarted_from_id.push(birth.restarted_from);
        rows.schedule_id.push(birth.schedule);
    }

    fn show(&mut self, loaded: &Loaded, birth: &Birth) {
        let execution = &loaded.execution;
        let waits = execution
            .branches
            .iter()
            .map(|b| waits::row(&loaded.graph, b));
        let shown = store::executions::Execution {
            id: execution.id,
            workflow_id: execution.workflow_id,
            client_id: execution.client_id,
            status: execution.status.to_string(),
            started_at: execution.started_at,
            completed_at: execution.completed_at,
            metadata: birth.metadata.clone().map(Json),
            created_at: execution.started_at,
            updated_at: execution.memory.last_at,
            workflow_version: execution.version,
            error: failure(execution).map(|f| f.message.clone()),
            error_code: failure(execution).map(|f| f.code.clone()),
            closing_as: closing_as(execution),
            revision: 1,
            business_key: birth.business_key.clone(),
            restarted_from_id: birth.restarted_from,
            schedule_id: birth.schedule,
            started_by: Some(birth.started_by.clone()),
            parent_execution_id: parent(execution),
            waits: Some(Json(waits.collect())),
        };
        self.shown.insert(execution.id, Box::new(shown));
    }

    fn moved(&mut self, execution: &Execution) {
        let rows = &mut self.moved;
        rows.id.push(execution.id);
        rows.status.push(execution.status.to_string());
        rows.completed_at.push(execution.completed_at);
        let failure = failure(execution);
        rows.error.push(failure.map(|f| f.message.clone()));
        rows.error_code.push(failure.map(|f| f.code.clone()));
        rows.closing_as.push(closing_as(execution));
        rows.event_count.push(execution.event_count);
        rows.updated_at.push(execution.memory.last_at);
    }

    fn memory(&mut self, loaded: &Loaded, is_new: bool) {
        let execution = &loaded.execution;
        if !execution.status.is_final() {
            let memory = serde_json::to_value(&execution.memory);
            self.kept.push(execution.id);
            self.memories.push(memory.expect("plain data becomes JSON"));
        } else if !is_new {
            self.forgotten.push(execution.id);
        }
    }

    fn events(&mut self, loaded: &Loaded, is_new: bool) {
        let execution = &loaded.execution;
        if loaded.simulation || (!is_new && loaded.told == execution.event_count) {
            return;
        }
        let mut events = Vec::with_capacity(loaded.change.finished.len() + 2);
        if is_new {
            events.push(Event::Started);
        }
        let logs = &loaded.change.logs;
        let ended = loaded.change.finished.iter().map(|seq| &logs[seq]);
        events.extend(
            ended.map(|log| Event::StepFinished(history::step_finished(log, &loaded.graph))),
        );
        if let Some(completed_at) = execution.completed_at {
            let status = execution.status;
            events.push(Event::Finished {
                status,
                completed_at,
                target: loaded.graph.target,
            });
        }
        self.filling.add(ExecutionEvents {
            execution_id: execution.id,
            workflow_id: execution.workflow_id,
            client_id: execution.client_id,
            workflow_version: execution.version,
            started_at: execution.started_at,
            first_seq: loaded.told + 1,
            events,
        });
    }

    fn notifications(&mut self, loaded: &mut Loaded) {
        if loaded.simulation {
            return;
        }
        for sent in std::mem::take(&mut loaded.change.notifications) {
            let rows = &mut self.notifications;
            rows.id.push(Uuid::now_v7());
            rows.execution_id.push(loaded.execution.id);
            rows.step_id.push(sent.step_id);
            rows.notification_type.push(sent.notification_type);
            rows.template.push(sent.template);
            rows.recipients.push(json!(sent.recipients));
            rows.created_at.push(loaded.execution.memory.last_at);
        }
    }
}

/// Gives new logs, and the branches that they belong to, their ids.
fn mint(loaded: &mut Loaded) {
    for log in loaded.change.logs.values_mut() {
        if log.id.is_nil() {
            log.id = Uuid::now_v7();
        }
    }
    for branch in &mut loaded.execution.branches {
        if branch.id.is_nil() {
            branch.id = loaded.change.logs[&branch.seq].id;
        }
    }
}

/// Why an execution failed, or will have.
fn failure(execution: &Execution) -> Option<&Failure> {
    let closing = execution
        .memory
        .closing
        .as_ref()
        .map(|closing| &closing.failure);
    execution.failure.as_ref().or(closing)
}

/// The execution that started it.
fn parent(execution: &Execution) -> Option<Uuid> {
    let parent = execution.memory.parent.as_ref();
    parent.map(|parent| parent.execution_id)
}

/// What an execution that is being undone will be.
fn closing_as(execution: &Execution) -> Option<String> {
    let closing = execution.memory.closing.as_ref()?;
    (!execution.status.is_final()).then(|| closing.status().to_string())
}

/// A log as its row is written.
pub fn push_log(rows: &mut Logs, execution_id: Uuid, log: Log) {
    rows.id.push(log.id);
    rows.execution_id.push(execution_id);
    rows.step_id.push(log.step_id);
    rows.status.push(log.status.to_string());
    rows.message.push(log.message);
    rows.data.push(log.data.map(Value::Object));
    let (error, code) = log.failure.map(|f| (f.message, f.code)).unzip();
    rows.error.push(error);
    rows.error_code.push(code);
    rows.started_at.push(log.times.started_at);
    rows.completed_at.push(log.completed_at);
    rows.seq.push(log.seq);
    rows.activation.push(log.activation);
    rows.attempt.push(log.attempt);
    rows.queued_at.push(log.times.queued_at);
    rows.available_at.push(log.times.available_at);
    rows.assigned_at.push(log.times.assigned_at);
    rows.route.push(log.route);
    rows.will_retry.push(log.will_retry);
    rows.event_seq.push(log.event_seq);
    rows.item_index.push(log.item_index);
    rows.from_seq.push(log.from);
    rows.incident.push(log.incident);
    rows.taken_over.push(log.taken_over);
}

/// A workflow may be deleted between the catalog's answer and the commit. Of the rows the first is named: a
/// batch is halved until the culprit is alone, and only then does anybody read the error.
fn unless_deleted(error: sqlx::Error, born: &NewExecutions) -> Error {
    match (Error::constraint(&error), born.workflow_id.first()) {
        (Some("workflow_executions_workflow_id_fkey"), Some(id)) => {
            Error::not_found("workflow", id)
        }
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests;
