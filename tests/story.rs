//! What every story starts from: the whole platform in this process, on a database of its own, and people
//! who are signed in. A story ends with `end`, which lets nothing go undelivered or without a reason.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use chassis::auth::ServiceKey;
use chrono::Utc;
use devkit::{Database, Folder};
use platform::client::{Services, Session, request_id};
use platform::{AllConfig, Running};
use proto::catalog::v1::{
    ApiKey, ApiKeyScope, ApplyWorkflowRequest, CreateApiKeyRequest, CreateUserRequest,
    ListUsersRequest, PublishWorkflowRequest, User, Workflow,
};
use proto::execution::v1::watch_execution_response::Change;
use proto::execution::v1::{
    ActivateJobsRequest, CheckExecutionsRequest, CompleteJobRequest, Execution, ExecutionLog, Job,
    ListExecutionLogsRequest, ListTasksRequest, StartExecutionRequest, SubmitTaskRequest, Task,
    WatchExecutionRequest,
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

pub type Outcome = anyhow::Result<()>;

const PASSWORD: &str = "correct horse battery";
/// Nothing takes this long; it only ends a test that would hang.
const DEADLINE: Duration = Duration::from_secs(60);

pub struct Story {
    pub services: Services,
    pub admin: Session,
    database: Database,
    /// Keeps the key files as long as the platform runs.
    folder: Folder,
    pub running: Running,
}

impl Story {
    pub async fn begin() -> anyhow::Result<Story> {
        Story::begin_on(Database::new().await).await
    }

    pub async fn begin_on(database: Database) -> anyhow::Result<Story> {
        let folder = Folder::new();
        let url = Some(database.admin_url());
        let config = AllConfig::on_free_ports(folder.path().to_owned(), url);
        let running = platform::start(config, chassis::Shutdown::new()).await?;
        let at = running.addresses;
        let services = Services::at(
            &at.catalog.to_string(),
            &at.execution.to_string(),
            &at.reporting.to_string(),
        )?;
        let admin = running
            .admin
            .as_ref()
            .context("a new installation has a first administrator")?;
        let admin = services.login(&admin.email, &admin.password).await?;
        Ok(Story {
            services,
            admin,
            database,
            folder,
            running,
        })
    }

    /// A new user who is signed in.
    pub async fn user(&self, name: &str, groups: &[&str]) -> anyhow::Result<Session> {
        let email = format!("{name}@example.com");
        let request = CreateUserRequest {
            user: Some(User {
                email: email.clone(),
                name: name.into(),
                groups: groups.iter().map(|&group| group.into()).collect(),
                ..Default::default()
            }),
            password: PASSWORD.into(),
            request_id: request_id(),
        };
        self.admin.users.clone().create_user(request).await?;
        Ok(self.services.login(&email, PASSWORD).await?)
    }

    /// The id of a user.
    pub async fn find_user(&self, email: &str) -> anyhow::Result<String> {
        let request = ListUsersRequest {
            filter: format!("email = {email:?}"),
            ..Default::default()
        };
        let mut users = self.admin.users.clone();
        let found = users.list_users(request).await?.into_inner().users;
        Ok(found.into_iter().next().context("there is such a user")?.id)
    }

    /// Applies a document and publishes it.
    pub async fn publish(&self, document: &str) -> anyhow::Result<Workflow> {
        let request = ApplyWorkflowRequest {
            document: document.into(),
            validate_only: false,
            ..ApplyWorkflowRequest::default()
        };
        let mut workflows = self.admin.workflows.clone();
        let applied = workflows.apply_workflow(request).await?.into_inner();
        let id = applied
            .workflow
            .context("applying returns the workflow")?
            .id;
        let request = PublishWorkflowRequest {
            id,
            etag: String::new(),
            ..PublishWorkflowRequest::default()
        };
        Ok(workflows.publish_workflow(request).await?.into_inner())
    }

    /// A published workflow of these steps in sequence, each with the settings given.
    pub async fn sequence(&self, steps: &[(&str, &str, Value)]) -> anyhow::Result<Workflow> {
        let steps: Vec<Value> = (0..)
            .zip(steps)
            .map(|(order, (name, kind, config)): (i32, _)| {
                json!({ "order": order, "name": name, "stepType": kind, "config": config })
            })
            .collect();
        let document = json!({
            "client": { "name": "Client of a story" },
            "workflow": { "name": format!("Workflow {}", request_id()) },
            "steps": steps,
            "transitions": [],
        });
        self.publish(&document.to_string()).await
    }

    /// The administrator once more, in a session of their own.
    pub async fn another_admin(&self) -> anyhow::Result<Session> {
        let admin = self.running.admin.as_ref();
        let admin = admin.context("a new installation has a first administrator")?;
        Ok(self.services.login(&admin.email, &admin.password).await?)
    }

    /// A machine with a new key: the key, and what it may call.
    pub async fn machine(&self, scope: ApiKeyScope) -> anyhow::Result<(ApiKey, Session)> {
        let request = CreateApiKeyRequest {
            api_key: Some(ApiKey {
                name: format!("{scope:?}"),
                scope: scope.into(),
                ..Default::default()
            }),
            request_id: request_id(),
        };
        let mut keys = self.admin.api_keys.clone();
        let made = keys.create_api_key(request).await?.into_inner();
        let key = made.api_key.context("a key is made")?;
        let session = self.services.bearing(&key.name, made.secret)?;
        Ok((key, session))
    }

    /// A token as the platform's own services send it.
    pub fn internal_token(&self) -> anyhow::Result<String> {
        let key = ServiceKey::load_or_create(&self.folder.service_key())?;
        Ok(key.token("execution", Utc::now())?.0)
    }

    /// Changes rows behind the services' backs.
    pub async fn alter(&self, sql: &str) -> Outcome {
        let mut connection = PgConnection::connect(&self.database.admin_url()).await?;
        sqlx::query(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await?;
        Ok(connection.close().await?)
    }

    /// One figure, read behind the services' backs.
    pub async fn recount(&self, sql: &str) -> anyhow::Result<i64> {
        let mut connection = PgConnection::connect(&self.database.admin_url()).await?;
        let row = sqlx::query(AssertSqlSafe(sql))
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok(row.try_get(0)?)
    }

    /// Everything is delivered, nothing waits without a reason; then the platform stops.
    pub async fn end(self) -> Outcome {
        let undelivered = "select count(*) from execution.outbox";
        until("the outbox is empty", async || {
            Ok(self.recount(undelivered).await? == 0)
        })
        .await?;
        let check = self
            .admin
            .executions
            .clone()
            .check_executions(CheckExecutionsRequest {})
            .await?;
        ensure!(
            check.get_ref().execution_ids.is_empty(),
            "without a reason: {check:?}"
        );
        for table in ["held_events", "parked_rows"] {
            let left = self
                .recount(&format!("select count(*) from reporting.{table}"))
                .await?;
            ensure!(left == 0, "{left} rows are left in {table}");
        }
        self.running.stop().await
    }
}

/// What a caller does in most stories.
pub trait Acts {
    async fn start(&self, workflow: &Workflow, input: Value) -> anyhow::Result<Execution>;
    async fn task(&self, execution: &Execution) -> anyhow::Result<Task>;
    async fn submit(&self, execution: &Execution, data: Value) -> anyhow::Result<Task>;
    async fn job(&self, job_type: &str) -> anyhow::Result<Job>;
    async fn complete(&self, job: &Job, output: Value) -> Result<(), Status>;
    async fn finished(&self, id: &str) -> anyhow::Result<Execution>;
    async fn logs(&self, id: &str) -> anyhow::Result<Vec<ExecutionLog>>;
}

impl Acts for Session {
    async fn start(&self, workflow: &Workflow, input: Value) -> anyhow::Result<Execution> {
        let request = StartExecutionRequest {
            workflow_id: workflow.id.clone(),
            metadata: Some(object(json!({ "inputData": input }))),
            request_id: request_id(),
            ..Default::default()
        };
        Ok(self
            .executions
            .clone()
            .start_execution(request)
            .await?
            .into_inner())
    }

    /// The task that the execution waits for and that this person may decide.
    async fn task(&self, execution: &Execution) -> anyhow::Result<Task> {
        let request = ListTasksRequest {
            filter: format!("mine = true AND execution_id = \"{}\"", execution.id),
            ..Default::default()
        };
        let page = self.tasks.clone().list_tasks(request).await?.into_inner();
        page.tasks
            .into_iter()
            .next()
            .context("there is no task for this person")
    }

    /// Answers the data entry that the execution waits for.
    async fn submit(&self, execution: &Execution, data: Value) -> anyhow::Result<Task> {
        let request = SubmitTaskRequest {
            id: self.task(execution).await?.id,
            data: Some(object(data)),
            request_id: request_id(),
        };
        Ok(self.tasks.clone().submit_task(request).await?.into_inner())
    }

    /// The next job of this type, waited for.
    async fn job(&self, job_type: &str) -> anyhow::Result<Job> {
        let second = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let request = ActivateJobsRequest {
            worker: "story".into(),
            job_types: vec![job_type.into()],
            max_jobs: 1,
            lease_duration: second(60),
            wait_timeout: second(20),
        };
        let leased = self.jobs.clone().activate_jobs(request).await?.into_inner();
        leased
            .jobs
            .into_iter()
            .next()
            .with_context(|| format!("there is no job {job_type}"))
    }

    async fn complete(&self, job: &Job, output: Value) -> Result<(), Status> {
        let request = CompleteJobRequest {
            job_id: job.id.clone(),
            worker: "story".into(),
            output: Some(object(output)),
            request_id: request_id(),
        };
        self.jobs.clone().complete_job(request).await.map(|_| ())
    }

    /// Follows the execution to its end.
    async fn finished(&self, id: &str) -> anyhow::Result<Execution> {
        let request = WatchExecutionRequest { id: id.into() };
        let mut last = None;
        let follow = async {
            let mut changes = self
                .executions
                .clone()
                .watch_execution(request)
                .await?
                .into_inner();
            while let Some(message) = changes.message().await? {
                if let Some(Change::Execution(execution)) = message.change {
                    last = Some(execution);
                }
            }
            last.context("a watch tells of the execution")
        };
        let execution = tokio::time::timeout(DEADLINE, follow)
            .await
            .context("it does not end")??;
        ensure!(
            execution.completed_at.is_some(),
            "the watch ended before the execution: {execution:?}"
        );
        Ok(execution)
    }

    async fn logs(&self, id: &str) -> anyhow::Result<Vec<ExecutionLog>> {
        let request = ListExecutionLogsRequest {
            execution_id: id.into(),
            page_size: 1000,
            ..Default::default()
        };
        Ok(self
            .executions
            .clone()
            .list_execution_logs(request)
            .await?
            .into_inner()
            .logs)
    }
}

/// Asks again until it is so; the services decide when, the deadline only ends what would hang.
pub async fn until<F>(what: &str, mut is_so: impl FnMut() -> F) -> Outcome
where
    F: Future<Output = anyhow::Result<bool>>,
{
    let begun = Instant::now();
    while !is_so().await? {
        if begun.elapsed() > DEADLINE {
            bail!("in vain: {what}");
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Holds an answer to be a refusal with this code and reason.
pub fn refused<T: Debug>(answer: Result<Response<T>, Status>, code: Code, reason: &str) -> Outcome {
    let status = match answer {
        Ok(response) => bail!("expected {reason}, was answered {response:?}"),
        Err(status) => status,
    };
    let said = reason_of(&status);
    ensure!(
        (status.code(), said.as_str()) == (code, reason),
        "expected {code:?} {reason}, got {said} {status:?}"
    );
    Ok(())
}

/// The stable word for why; empty where the platform did not say it.
pub fn reason_of(status: &Status) -> String {
    let info = status.get_details_error_info();
    info.map(|info| info.reason).unwrap_or_default()
}

/// A JSON object as the contract carries it.
pub fn object(value: Value) -> prost_types::Struct {
    model::wire::struct_from_json(value.as_object().expect("the caller writes an object"))
}

/// What a Struct says, for comparing with `json!`.
pub fn plain(value: Option<&prost_types::Struct>) -> Value {
    let map = value
        .map(|value| model::wire::json_from_struct(value).expect("it was checked on its way in"));
    map.map_or(Value::Null, Value::Object)
}
