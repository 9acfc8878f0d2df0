//! The real program, killed in the middle of its work: whatever it had answered is there after the next
//! start and goes on, and the reports equal the executions.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use devkit::Folder;
use platform::client::{Services, Session, request_id};
use platform::demo::DOCUMENTS;
use proto::catalog::v1::{ApplyWorkflowRequest, ApplyWorkflowResponse};
use proto::execution::v1::{
    CheckExecutionsRequest, ExecutionStatus, GetExecutionRequest, ListExecutionsRequest,
    ListTasksRequest, StartExecutionRequest, SubmitTaskRequest,
};
use proto::reporting::v1::SummarizeReportsRequest;
use tokio::task::JoinSet;

/// Nothing takes this long; it only ends a test that would hang.
const DEADLINE: Duration = Duration::from_secs(60);

/// A data folder and three addresses, which several lives of the program share.
struct Home {
    folder: Folder,
    addresses: [String; 3],
}

impl Home {
    fn new() -> anyhow::Result<Home> {
        // Held together, so that they differ; let go before the program takes them.
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0"));
        let mut addresses = Vec::new();
        for listener in &listeners {
            let listener = listener
                .as_ref()
                .map_err(|error| anyhow::anyhow!("{error}"))?;
            addresses.push(listener.local_addr()?.to_string());
        }
        let addresses = addresses.try_into().ok().context("there are three")?;
        Ok(Home {
            folder: Folder::new(),
            addresses,
        })
    }

    /// Returns once the program says that it serves.
    fn start(&self) -> anyhow::Result<Child> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_workflow-platform"))
            .env_remove("DATABASE_URL")
            .env("WFP_DATA_DIR", self.folder.path())
            .env("WFP_CATALOG_ADDR", &self.addresses[0])
            .env("WFP_EXECUTION_ADDR", &self.addresses[1])
            .env("WFP_REPORTING_ADDR", &self.addresses[2])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("it is a pipe")?;
        for line in BufReader::new(output).lines() {
            if line?.contains("is running") {
                return Ok(child);
            }
        }
        bail!("it ended with {}", child.wait()?)
    }

    async fn sign_in(&self) -> anyhow::Result<Session> {
        let password = std::fs::read_to_string(self.folder.path().join("admin-password"))?;
        let [catalog, execution, reporting] = &self.addresses;
        let services = Services::at(catalog, execution, reporting)?;
        Ok(services.login("admin@localhost", password.trim()).await?)
    }
}

async fn applied(session: &Session, document: &str) -> anyhow::Result<ApplyWorkflowResponse> {
    let request = ApplyWorkflowRequest {
        document: document.into(),
        validate_only: false,
        ..ApplyWorkflowRequest::default()
    };
    Ok(session
        .workflows
        .clone()
        .apply_workflow(request)
        .await?
        .into_inner())
}

/// Starts executions until the program is gone; returns those whose start was answered.
async fn keep_starting(
    session: Session,
    workflow_id: String,
    answered: tokio::sync::mpsc::Sender<()>,
) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        let request = StartExecutionRequest {
            workflow_id: workflow_id.clone(),
            metadata: None,
            request_id: request_id(),
            ..Default::default()
        };
        match session.executions.clone().start_execution(request).await {
            Ok(started) => ids.push(started.into_inner().id),
            Err(_) => return ids,
        }
        // Nobody listens after the kill.
        let _ = answered.send(()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_survives_kill_nine() -> anyhow::Result<()> {
    let home = Home::new()?;
    let mut child = home.start()?;
    let session = home.sign_in().await?;
    let workflow = applied(&session, DOCUMENTS[1])
        .await?
        .workflow
        .context("it was applied")?;

    let (answered, mut answers) = tokio::sync::mpsc::channel(1);
    let mut callers = JoinSet::new();
    for _ in 0..4 {
        callers.spawn(keep_starting(
            session.clone(),
            workflow.id.clone(),
            answered.clone(),
        ));
    }
    for _ in 0..60 {
        answers.recv().await.context("starts are answered")?;
    }
    // SIGKILL, with calls under way.
    child.kill()?;
    child.wait()?;
    drop(answers);
    let ids: Vec<String> = callers.join_all().await.into_iter().flatten().collect();
    ensure!(ids.len() >= 60, "only {} were answered", ids.len());

    let mut child = home.start()?;
    let session = home.sign_in().await?;
    for id in &ids {
        let request = GetExecutionRequest { id: id.clone() };
        let execution = session
            .executions
            .clone()
            .get_execution(request)
            .await?
            .into_inner();
        assert_eq!(execution.status(), ExecutionStatus::Running, "{id}");
        assert_eq!(execution.waits.len(), 1, "{id}");
    }
    let check = session
        .executions
        .clone()
        .check_executions(CheckExecutionsRequest {})
        .await?
        .into_inner();
    ensure!(
        check.execution_ids.is_empty(),
        "without a reason: {check:?}"
    );
    ensure!(check.open_executions >= ids.len() as i64, "{check:?}");
    goes_on(&session, &ids[0]).await?;
    reports_agree(&session).await?;

    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    let ended = tokio::task::spawn_blocking(move || child.wait()).await??;
    ensure!(ended.success(), "told to stop it ended with {ended}");
    Ok(())
}

/// A person answers, and the execution moves on to the worker.
async fn goes_on(session: &Session, id: &str) -> anyhow::Result<()> {
    let request = ListTasksRequest {
        filter: format!("mine = true AND execution_id = \"{id}\""),
        ..Default::default()
    };
    let page = session
        .tasks
        .clone()
        .list_tasks(request)
        .await?
        .into_inner();
    let task = page.tasks.first().context("the task is still there")?;
    let request = SubmitTaskRequest {
        id: task.id.clone(),
        data: None,
        request_id: request_id(),
    };
    session.tasks.clone().submit_task(request).await?;
    let request = GetExecutionRequest { id: id.to_owned() };
    let execution = session
        .executions
        .clone()
        .get_execution(request)
        .await?
        .into_inner();
    assert_eq!(execution.waits[0].step_name, "Assign to Team");
    Ok(())
}

async fn reports_agree(session: &Session) -> anyhow::Result<()> {
    let request = ListExecutionsRequest {
        page_size: 1000,
        ..Default::default()
    };
    let listed = session
        .executions
        .clone()
        .list_executions(request)
        .await?
        .into_inner()
        .executions
        .len();
    let begun = Instant::now();
    loop {
        let summary = session
            .reports
            .clone()
            .summarize_reports(SummarizeReportsRequest::default())
            .await?;
        let total = summary.into_inner().total.unwrap_or_default();
        if (total.total_executions, total.running_executions) == (listed as i64, listed as i64) {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < DEADLINE,
            "{listed} executions, but the reports say {total:?}"
        );
        tokio::task::yield_now().await;
    }
}
