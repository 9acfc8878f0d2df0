//! Eight processes of the kind that collections of other engines' examples show, each run through all its
//! outcomes: really, and simulated with the same answers, which has to come to the same.

mod compare;
mod scenarios;
mod simulated;
mod waiting;

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use platform::client::{Session, request_id};
use proto::catalog::v1::validate_workflow_request::Source;
use proto::catalog::v1::{ValidateWorkflowRequest, Workflow};
use proto::execution::v1::{
    ApproveTaskRequest, Execution, ExecutionLog, ExplainExecutionRequest, Explanation,
    FailJobRequest, IncidentResolution, Job, PreviewPublishRequest, RejectTaskRequest,
    ResolveIncidentRequest, SignalExecutionRequest, SubmitTaskRequest, ThrowJobErrorRequest,
    WaitKind,
};
use serde_json::Value;

use crate::story::{Acts, Outcome, Story, object};
use waiting::At;

/// What somebody does at a step, or what happens there.
#[derive(Debug, Clone)]
enum Does {
    /// The worker's or person's output, or the signal's data.
    Gives(Value),
    Approves,
    Rejects,
    /// A technical failure with this code.
    Fails(&'static str),
    /// A business error with this code.
    Throws(&'static str),
    /// Nothing until the step's timeout; a worker has taken the job.
    IsLate,
    /// No worker takes the job until its queue timeout.
    StaysAway,
    /// Nothing at all: something else is going to end the step.
    Nothing,
    /// The instant of a wait comes.
    Elapses,
    /// An operator gives up.
    GivesUp,
}

/// One answer. `after` is how long it takes in the simulation, where it has to come behind others.
#[derive(Debug, Clone)]
struct Deed {
    step: &'static str,
    does: Does,
    after: &'static str,
}

/// One way through a process: who answers what, in this order, and how it ends.
struct Scenario {
    input: Value,
    deeds: Vec<Deed>,
    /// `COMPLETED`, or the error code.
    end: &'static str,
}

/// A document and all its scenarios. What no scenario can come to is excused, as `step outcome`.
struct Process {
    document: &'static str,
    scenarios: Vec<Scenario>,
    excused: &'static [&'static str],
    /// Scenarios in which a timer wins a race because the test moves its instant: nobody can replay these.
    unreal: usize,
}

/// How a scenario went, really or simulated.
struct Run {
    execution: Execution,
    logs: Vec<ExecutionLog>,
    explanations: Vec<Explanation>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_processes_end_in_all_their_ways_and_simulate_as_they_run() -> Outcome {
    let story = Story::begin().await?;
    let groups = [
        "checkers", "risk", "sales", "finance", "editors", "deputies",
    ];
    let clerk = story.user("clerk", &groups).await?;
    let processes = scenarios::all();
    ensure!(processes.len() == 8, "eight are promised");
    let cast = Cast {
        story: &story,
        clerk: &clerk,
    };
    let all = processes.into_iter().map(|process| cast.through(process));
    futures_util::future::try_join_all(all).await?;
    story.end().await
}

/// Who plays the scenarios: a clerk of all groups, a worker and an operator.
#[derive(Clone, Copy)]
struct Cast<'a> {
    story: &'a Story,
    clerk: &'a Session,
}

impl Cast<'_> {
    async fn through(self, process: Process) -> Outcome {
        let request = ValidateWorkflowRequest {
            source: Some(Source::Document(process.document.into())),
        };
        let mut workflows = self.story.admin.workflows.clone();
        let validated = workflows.validate_workflow(request).await?.into_inner();
        ensure!(validated.problems.is_empty(), "{:#?}", validated.problems);
        let workflow = self.story.publish(process.document).await?;
        let name = &workflow.name;
        let mut taken = BTreeSet::new();
        let mut visited = BTreeSet::new();
        let mut untried: Option<BTreeSet<String>> = None;
        for (at, scenario) in process.scenarios.iter().enumerate() {
            let about = || format!("{name}, scenario {at}, {:?}", scenario.deeds);
            let real = self.really(&workflow, scenario).await.with_context(about)?;
            let end = match real.execution.error_code.as_str() {
                "" => real.execution.status().as_str_name(),
                code => code,
            };
            ensure!(
                end.trim_start_matches("EXECUTION_STATUS_") == scenario.end,
                "{}: ended {end}: {:#?}",
                about(),
                real.logs.iter().map(compare::line).collect::<Vec<_>>()
            );
            let (simulated, left) = simulated::run(&self.story.admin, &workflow, scenario)
                .await
                .with_context(about)?;
            compare::same(&real, &simulated).with_context(about)?;
            taken.extend(real.explanations.iter().flat_map(compare::taken));
            visited.extend(real.logs.iter().map(|log| log.step_name.clone()));
            untried = Some(match untried {
                None => left,
                Some(before) => before.intersection(&left).cloned().collect(),
            });
        }
        let ways = workflow.transitions.iter().map(|way| way.id.clone());
        let ways: BTreeSet<String> = ways.collect();
        ensure!(taken == ways, "{name}: only these are taken: {taken:?}");
        let steps = workflow.steps.iter().map(|step| step.name.clone());
        ensure!(visited == steps.collect(), "{name}: only {visited:?}");
        let excused = process.excused.iter().map(|&it| it.to_owned());
        let (untried, excused) = (untried.unwrap_or_default(), excused.collect());
        ensure!(untried == excused, "{name}: never tried: {untried:?}");
        let real = process.scenarios.len() - process.unreal;
        self.preview(&workflow, real).await
    }

    /// What is not changed would have gone the same way, however it went.
    async fn preview(self, workflow: &Workflow, real: usize) -> Outcome {
        let request = PreviewPublishRequest {
            workflow_id: workflow.id.clone(),
            ..Default::default()
        };
        let mut calls = self.clerk.executions.clone();
        let told = calls.preview_publish(request).await?.into_inner();
        ensure!(told.same as usize == real, "{told:#?}");
        Ok(())
    }

    async fn really(self, workflow: &Workflow, scenario: &Scenario) -> anyhow::Result<Run> {
        let begun = self.clerk.start(workflow, scenario.input.clone()).await?;
        for deed in &scenario.deeds {
            let at = At {
                story: self.story,
                execution: &begun.id,
                step: deed.step,
            };
            let doing = self.act(workflow, &at, &deed.does).await;
            doing.with_context(|| format!("{deed:?}"))?;
        }
        let execution = self.clerk.finished(&begun.id).await?;
        let logs = self.clerk.logs(&begun.id).await?;
        let request = ExplainExecutionRequest {
            id: begun.id,
            page_size: 1000,
            ..Default::default()
        };
        let mut executions = self.clerk.executions.clone();
        let told = executions.explain_execution(request).await?.into_inner();
        Ok(Run {
            execution,
            logs,
            explanations: told.explanations,
        })
    }

    async fn act(self, workflow: &Workflow, at: &At<'_>, does: &Does) -> Outcome {
        if matches!(does, Does::Nothing) {
            return Ok(());
        }
        let wait = at.wait().await?;
        match does {
            Does::Nothing => {}
            Does::Gives(data) => match wait.kind() {
                WaitKind::Job => {
                    let job = at.job(workflow).await?;
                    self.story.admin.complete(&job, data.clone()).await?;
                }
                WaitKind::Signal => self.signal(workflow, at, data).await?,
                _ => {
                    let request = SubmitTaskRequest {
                        id: wait.id,
                        data: Some(object(data.clone())),
                        request_id: request_id(),
                    };
                    self.clerk.tasks.clone().submit_task(request).await?;
                }
            },
            Does::Approves => {
                let request = ApproveTaskRequest {
                    id: wait.id,
                    comment: String::new(),
                    request_id: request_id(),
                };
                self.clerk.tasks.clone().approve_task(request).await?;
            }
            Does::Rejects => {
                let request = RejectTaskRequest {
                    id: wait.id,
                    comment: String::new(),
                    request_id: request_id(),
                };
                self.clerk.tasks.clone().reject_task(request).await?;
            }
            Does::Fails(code) => {
                let request = failed(at.job(workflow).await?, code);
                self.story.admin.jobs.clone().fail_job(request).await?;
            }
            Does::Throws(code) => {
                let request = ThrowJobErrorRequest {
                    job_id: at.job(workflow).await?.id,
                    worker: "story".into(),
                    error_code: (*code).into(),
                    error_message: "it is so".into(),
                    request_id: request_id(),
                };
                let mut jobs = self.story.admin.jobs.clone();
                jobs.throw_job_error(request).await?;
            }
            Does::IsLate if wait.kind() == WaitKind::Job => {
                at.job(workflow).await?;
                at.elapse(&wait).await?;
            }
            Does::IsLate | Does::StaysAway | Does::Elapses => at.elapse(&wait).await?,
            Does::GivesUp => {
                let request = ResolveIncidentRequest {
                    id: wait.id,
                    resolution: IncidentResolution::GiveUp.into(),
                    data: None,
                    request_id: request_id(),
                };
                let mut executions = self.story.admin.executions.clone();
                executions.resolve_incident(request).await?;
            }
        }
        Ok(())
    }

    async fn signal(self, workflow: &Workflow, at: &At<'_>, data: &Value) -> Outcome {
        let request = SignalExecutionRequest {
            id: at.execution.into(),
            name: waiting::setting(workflow, at.step, "name")?,
            data: Some(object(data.clone())),
            ttl: None,
            request_id: request_id(),
        };
        let mut executions = self.clerk.executions.clone();
        executions.signal_execution(request).await?;
        Ok(())
    }
}

fn failed(job: Job, code: &str) -> FailJobRequest {
    FailJobRequest {
        job_id: job.id,
        worker: "story".into(),
        error_message: "it is so".into(),
        error_code: code.into(),
        no_retry: false,
        request_id: request_id(),
    }
}
