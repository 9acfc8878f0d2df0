//! The demo's people: a manager, somebody in finance, a clerk. Each answers what their own inbox shows,
//! by what the task says and nothing else, so they also settle what an earlier run left behind.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use proto::execution::v1::{
    ApproveTaskRequest, ClaimTaskRequest, GetTaskRequest, ListTasksRequest, RejectTaskRequest,
    StepStatus, SubmitTaskRequest, Task,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::answers::{Answer, to_task};
use super::tally::Tally;
use crate::client::{Session, again, each, request_id};

/// How long a person whose inbox is empty waits before looking again.
const PAUSE: Duration = Duration::from_millis(100);

/// Somebody who decides tasks.
#[derive(Debug, Clone)]
pub struct Person {
    pub session: Session,
    /// Whose tasks this person decides; none: those of everybody.
    pub group: Option<&'static str>,
}

impl Person {
    /// Decides what comes, until `done`.
    pub async fn work(
        self,
        workflows: Arc<Vec<String>>,
        tally: Arc<Tally>,
        done: CancellationToken,
    ) -> anyhow::Result<()> {
        while !done.is_cancelled() {
            let mut found = 0;
            for workflow in workflows.iter() {
                let tasks = self.inbox(workflow).await?;
                found += tasks.len();
                each(tasks, 8, |task| {
                    let (session, tally) = (self.session.clone(), tally.clone());
                    async move { settle(&session, task, &tally).await }
                })
                .await?;
            }
            if found == 0 {
                tokio::select! {
                    () = done.cancelled() => {}
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
        Ok(())
    }

    async fn inbox(&self, workflow: &str) -> anyhow::Result<Vec<Task>> {
        let mut filter = format!("mine = true AND workflow_id = \"{workflow}\"");
        if let Some(group) = self.group {
            filter.push_str(&format!(" AND group = \"{group}\""));
        }
        let request = ListTasksRequest {
            page_size: 100,
            filter,
            ..Default::default()
        };
        let page = again(
            &self.session.tasks,
            &request,
            |mut client, request| async move { client.list_tasks(request).await },
        )
        .await;
        Ok(page.context("ListTasks")?.tasks)
    }
}

/// Claims one task and answers it. A task that meanwhile went to somebody else, or whose execution was
/// cancelled, is left alone.
async fn settle(session: &Session, task: Task, tally: &Tally) -> anyhow::Result<()> {
    let id = task.id.clone();
    let outcome = async {
        let task = if task.status() == StepStatus::Running {
            let request = GetTaskRequest { id: id.clone() };
            again(&session.tasks, &request, |mut client, request| async move {
                client.get_task(request).await
            })
            .await?
        } else {
            let request = ClaimTaskRequest {
                id: id.clone(),
                request_id: request_id(),
            };
            again(&session.tasks, &request, |mut client, request| async move {
                client.claim_task(request).await
            })
            .await?
        };
        decide(session, &task, tally).await
    };
    match outcome.await {
        Err(status) if matches!(status.code(), Code::FailedPrecondition | Code::NotFound) => Ok(()),
        other => other.with_context(|| format!("task {id} ({})", task.step_name)),
    }
}

async fn decide(session: &Session, task: &Task, tally: &Tally) -> Result<(), Status> {
    let tasks = &session.tasks;
    let (id, request_id) = (task.id.clone(), request_id());
    match to_task(task) {
        Answer::Submit(data) => {
            let request = SubmitTaskRequest {
                id,
                data: Some(model::wire::struct_from_json(&data)),
                request_id,
            };
            again(tasks, &request, |mut client, request| async move {
                client.submit_task(request).await
            })
            .await?;
            Tally::add(&tally.entered);
        }
        Answer::Approve => {
            let request = ApproveTaskRequest {
                id,
                comment: "as agreed".into(),
                request_id,
            };
            again(tasks, &request, |mut client, request| async move {
                client.approve_task(request).await
            })
            .await?;
            Tally::add(&tally.approved);
        }
        Answer::Reject(comment) => {
            let request = RejectTaskRequest {
                id,
                comment: comment.into(),
                request_id,
            };
            again(tasks, &request, |mut client, request| async move {
                client.reject_task(request).await
            })
            .await?;
            Tally::add(&tally.rejected);
        }
    }
    Ok(())
}
