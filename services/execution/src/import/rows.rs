//! Cases as rows. Invariant: their events are made from the very rows that are written, so history tells the same.

use chassis::Result;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Case, Target, understood};
use crate::committer::push_log;
use crate::history;
use crate::outbox::Filling;
use crate::store::executions::Told;
use crate::store::imports;
use crate::store::logs::Ended;
use crate::store::write::{self, Logs, MovedExecutions, NewExecutions};

/// All rows of one transaction.
pub(super) struct Rows<'a> {
    target: &'a Target,
    /// When they are written.
    now: DateTime<Utc>,
    executions: NewExecutions,
    logs: Logs,
    hashes: Vec<Vec<u8>>,
    events: Filling,
}

impl<'a> Rows<'a> {
    pub fn new(target: &'a Target, now: DateTime<Utc>) -> Self {
        Self {
            target,
            now,
            executions: NewExecutions::default(),
            logs: Logs::default(),
            hashes: Vec::new(),
            events: Filling::default(),
        }
    }

    pub fn add(&mut self, case: &Case) {
        let logs = case.logs.iter().cloned().map(|log| Ended {
            execution_id: case.execution_id,
            event_seq: log
                .event_seq
                .expect("a case is over, and so is each of its logs"),
            log,
        });
        let logs: Vec<Ended> = logs.collect();
        let told = Told {
            id: case.execution_id,
            workflow_id: self.target.workflow_id,
            client_id: self.target.client_id,
            workflow_version: self.target.version,
            status: case.status.to_string(),
            started_at: case.started_at,
            completed_at: Some(case.completed_at),
            // The start, each log, the end.
            event_count: i32::try_from(logs.len()).expect("far fewer logs") + 2,
        };
        self.events.add(history::events(&told, &logs));
        self.execution(case, told);
        for Ended { log, .. } in logs {
            push_log(&mut self.logs, case.execution_id, log);
        }
    }

    fn execution(&mut self, case: &Case, told: Told) {
        let rows = &mut self.executions;
        rows.id.push(told.id);
        rows.workflow_id.push(told.workflow_id);
        rows.client_id.push(told.client_id);
        rows.status.push(told.status);
        rows.started_at.push(told.started_at);
        rows.completed_at.push(told.completed_at);
        rows.metadata.push(case.metadata.clone().map(Value::Object));
        rows.updated_at.push(self.now);
        rows.workflow_version.push(told.workflow_version);
        rows.started_by.push(self.target.started_by.clone());
        let failure = case.failure.as_ref();
        rows.error.push(failure.map(|f| f.message.clone()));
        rows.error_code.push(failure.map(|f| f.code.clone()));
        rows.simulation.push(false);
        rows.event_count.push(told.event_count);
        rows.closing_as.push(None);
        rows.business_key.push(Some(case.case_id.clone()));
        rows.restarted_from_id.push(None);
        rows.schedule_id.push(None);
        rows.parent_execution_id.push(None);
        self.hashes.push(case.hash.clone());
    }

    pub async fn write(self, conn: &mut PgConnection) -> Result<()> {
        if self.hashes.is_empty() {
            return Ok(());
        }
        write::write_executions(conn, &MovedExecutions::default(), &self.executions)
            .await
            .map_err(|error| understood(error, self.target))?;
        write::write_logs(conn, &Logs::default(), &self.logs).await?;
        imports::insert(conn, &self.executions.id, &self.hashes).await?;
        let (ids, payloads): (Vec<Uuid>, Vec<Vec<u8>>) = (self.events.finish().into_iter())
            .map(|row| (row.id, row.payload.to_vec()))
            .unzip();
        write::insert_outbox(conn, &ids, &payloads).await?;
        Ok(())
    }
}
