//! Waiting for an execution to come to a step, and letting its time come there.

use anyhow::{Context, ensure};
use proto::catalog::v1::Workflow;
use proto::execution::v1::{GetExecutionRequest, Job, Wait, WaitKind};

use crate::story::{Acts, Outcome, Story, plain, until};

/// A step of an execution.
pub struct At<'a> {
    pub story: &'a Story,
    pub execution: &'a str,
    pub step: &'static str,
}

impl At<'_> {
    async fn waits(&self) -> anyhow::Result<Vec<Wait>> {
        let request = GetExecutionRequest {
            id: self.execution.into(),
        };
        let mut executions = self.story.admin.executions.clone();
        let execution = executions.get_execution(request).await?.into_inner();
        ensure!(
            execution.completed_at.is_none(),
            "it is over: {} {}",
            execution.error_code,
            execution.error
        );
        Ok(execution.waits)
    }

    /// What the execution waits for at this step, once it does.
    pub async fn wait(&self) -> anyhow::Result<Wait> {
        let here = |waits: Vec<Wait>| {
            let mut waits = waits.into_iter();
            waits.find(|wait| wait.step_name == self.step)
        };
        until("the step is reached", async || {
            Ok(here(self.waits().await?).is_some())
        })
        .await?;
        here(self.waits().await?).context("nobody else moves it on")
    }

    /// Takes the step's job.
    pub async fn job(&self, workflow: &Workflow) -> anyhow::Result<Job> {
        let steps = workflow.steps.iter();
        let step = steps.clone().find(|step| step.name == self.step);
        let job_type = &step.context("the workflow has the step")?.step_type;
        let job = self.story.admin.job(job_type).await?;
        ensure!(job.execution_id == self.execution, "of another execution");
        Ok(job)
    }

    /// Makes the wait's instant come, and waits until the engine has noticed.
    pub async fn elapse(&self, wait: &Wait) -> Outcome {
        ensure!(
            wait.wake_at.is_some() || wait.kind() == WaitKind::Job,
            "it has no instant"
        );
        let alter = "update execution.waits set wake_at = clock_timestamp() where id =";
        self.story.alter(&format!("{alter} '{}'", wait.id)).await?;
        let open = "select count(*) from execution.waits where id =";
        let open = format!("{open} '{}'", wait.id);
        until("the instant is noticed", async || {
            Ok(self.story.recount(&open).await? == 0)
        })
        .await
    }
}

/// A text of a step's config.
pub fn setting(workflow: &Workflow, step: &str, key: &str) -> anyhow::Result<String> {
    let step = workflow.steps.iter().find(|it| it.name == step);
    let config = plain(step.and_then(|step| step.config.as_ref()));
    let text = config[key].as_str().map(str::to_owned);
    text.with_context(|| format!("there is no {key}"))
}
