//! WatchExecution: an execution and its logs as they change. Invariant: what is sent is read from the
//! tables when the reader has room for it, so a slow reader gets fewer and newer states.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::{Error, Result, db};
use model::graph::Graph;
use model::status::ExecutionStatus;
use proto::execution::v1 as pb;
use proto::execution::v1::watch_execution_response::Change;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use uuid::Uuid;

use super::{WAITING, run, send, wait};
use crate::rpc::view;
use crate::state::Service;
use crate::store;
use crate::store::executions::Execution;
use crate::store::logs::Log;

type Sent = Result<pb::WatchExecutionResponse, Status>;

/// Logs read at once: with outputs of the largest size still a bounded piece of memory.
const LOGS: i64 = 50;
/// Reads follow each other no faster, however many commits there are.
const PAUSE: Duration = Duration::from_millis(50);

struct Watcher {
    service: Service,
    id: Uuid,
    graph: Arc<Graph>,
    sender: mpsc::Sender<Sent>,
    /// Of the execution as it was sent last.
    revision: i64,
    /// The last event whose log was sent.
    event: i32,
    /// Logs without an event, as they were sent last.
    open: HashMap<Uuid, Log>,
}

/// Begins to follow an execution.
pub async fn start(service: &Service, id: Uuid) -> Result<ReceiverStream<Sent>> {
    let mut conn = db::acquire(&service.pool).await?;
    let runs = store::executions::runs(&mut conn, id).await?;
    let runs = runs.ok_or_else(|| Error::not_found("execution", id))?;
    let graph = service
        .definitions
        .pinned(&mut conn, runs.workflow_id, runs.workflow_version)
        .await?;
    drop(conn);
    let (sender, receiver) = mpsc::channel(WAITING);
    let mut watcher = Watcher {
        service: service.clone(),
        id,
        graph,
        sender,
        revision: 0,
        event: 0,
        open: HashMap::new(),
    };
    let (own, told) = (service.clone(), watcher.sender.clone());
    let following = async move { watcher.follow().await };
    service.shutdown.tasks.spawn(run(own, told, following));
    Ok(ReceiverStream::new(receiver))
}

impl Watcher {
    /// Sends until the execution is over.
    async fn follow(&mut self) -> Result<()> {
        let mut changes = self.service.changes.clone();
        while !self.look().await? {
            wait(&mut changes, PAUSE).await;
        }
        Ok(())
    }

    /// Sends what has changed; says whether the execution is over. The last message is then the
    /// execution in its final status.
    async fn look(&mut self) -> Result<bool> {
        let execution = self.changed_execution().await?;
        let over = execution.as_ref().is_some_and(is_over);
        match execution {
            Some(execution) if over => {
                self.send_logs().await?;
                self.send_execution(execution).await?;
            }
            Some(execution) => {
                self.send_execution(execution).await?;
                self.send_logs().await?;
            }
            None => self.send_logs().await?,
        }
        Ok(over)
    }

    async fn changed_execution(&mut self) -> Result<Option<Execution>> {
        let mut conn = db::acquire(&self.service.pool).await?;
        let revision = store::executions::revision(&mut conn, self.id).await?;
        if revision == Some(self.revision) {
            return Ok(None);
        }
        let execution = store::executions::get(&mut conn, self.id).await?;
        let execution = execution.ok_or_else(|| Error::not_found("execution", self.id))?;
        self.revision = execution.revision;
        Ok(Some(execution))
    }

    async fn send_logs(&mut self) -> Result<()> {
        loop {
            let mut conn = db::acquire(&self.service.pool).await?;
            let ended = store::logs::ended_after(&mut conn, self.id, self.event, LOGS).await?;
            drop(conn);
            let is_last = (ended.len() as i64) < LOGS;
            for log in ended {
                self.event = log.event_seq.unwrap_or(self.event);
                self.open.remove(&log.id);
                self.send_log(log).await?;
            }
            if is_last {
                break;
            }
        }
        let mut conn = db::acquire(&self.service.pool).await?;
        let open = store::logs::without_event(&mut conn, self.id).await?;
        drop(conn);
        for log in open {
            if self.open.get(&log.id) != Some(&log) {
                self.open.insert(log.id, log.clone());
                self.send_log(log).await?;
            }
        }
        Ok(())
    }

    async fn send_execution(&self, mut row: Execution) -> Result<()> {
        let waits = row.waits.take().map(|waits| waits.0).unwrap_or_default();
        let waits = waits
            .iter()
            .map(|wait| view::wait(wait, &self.graph))
            .collect();
        self.send(Change::Execution(view::execution(row, waits)))
            .await
    }

    async fn send_log(&self, log: Log) -> Result<()> {
        self.send(Change::Log(view::log(log, &self.graph))).await
    }

    async fn send(&self, change: Change) -> Result<()> {
        let message = pb::WatchExecutionResponse {
            change: Some(change),
        };
        send(&self.sender, message).await
    }
}

fn is_over(execution: &Execution) -> bool {
    ExecutionStatus::parse(&execution.status).is_some_and(ExecutionStatus::is_final)
}
