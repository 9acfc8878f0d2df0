//! Executions for as long as is wanted. Invariant: as many are under way at any time, and each that is answered is
//! counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proto::catalog::v1::Workflow;
use tokio::task::JoinSet;

use super::super::drive;
use crate::client::{Session, again};

/// Callers who start executions, one after another.
pub struct Load {
    over: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    callers: JoinSet<anyhow::Result<()>>,
}

impl Load {
    pub fn begin(sessions: &[Session], workflow: &Workflow, in_flight: u16) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let mut callers = JoinSet::new();
        for session in sessions.iter().cycle().take(usize::from(in_flight)) {
            let (over, done) = (over.clone(), done.clone());
            let (client, workflow) = (session.executions.clone(), workflow.clone());
            callers.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let request = drive::start(&workflow);
                    again(&client, &request, |mut client, request| async move {
                        client.start_execution(request).await
                    })
                    .await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
        }
        Self {
            over,
            done,
            callers,
        }
    }

    /// Executions that have been answered.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Waits for those that are under way.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.callers.join_next().await {
            ended??;
        }
        Ok(())
    }
}
