//! A caller's way to the platform, for the demo, the benchmark and the tests: three channels, a caller who
//! is signed in, and patience with a server that is busy. Knows the contract and nothing of the services.

use std::fmt;
use std::time::Duration;

use proto::catalog::v1::api_key_service_client::ApiKeyServiceClient;
use proto::catalog::v1::auth_service_client::AuthServiceClient;
use proto::catalog::v1::client_service_client::ClientServiceClient;
use proto::catalog::v1::user_service_client::UserServiceClient;
use proto::catalog::v1::workflow_service_client::WorkflowServiceClient;
use proto::catalog::v1::{LoginRequest, LoginResponse};
use proto::execution::v1::bulk_operation_service_client::BulkOperationServiceClient;
use proto::execution::v1::execution_service_client::ExecutionServiceClient;
use proto::execution::v1::job_service_client::JobServiceClient;
use proto::execution::v1::schedule_service_client::ScheduleServiceClient;
use proto::execution::v1::task_service_client::TaskServiceClient;
use proto::reporting::v1::report_service_client::ReportServiceClient;
use tokio::task::JoinSet;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

/// Longer than any call takes; the longest waits a few seconds for a job.
const DEADLINE: Duration = Duration::from_secs(30);

/// The services, before anybody has signed in.
#[derive(Debug, Clone)]
pub struct Services {
    catalog: Channel,
    execution: Channel,
    reporting: Channel,
}

impl Services {
    /// Connects on the first call; each address is `host:port`.
    pub fn at(catalog: &str, execution: &str, reporting: &str) -> anyhow::Result<Self> {
        let channel = |address: &str| -> anyhow::Result<Channel> {
            Ok(Endpoint::from_shared(format!("http://{address}"))?
                .timeout(DEADLINE)
                .connect_lazy())
        };
        Ok(Self {
            catalog: channel(catalog)?,
            execution: channel(execution)?,
            reporting: channel(reporting)?,
        })
    }

    /// Exchanges a password for a token that all three services accept for 15 minutes.
    pub async fn login(&self, email: &str, password: &str) -> Result<Session, Status> {
        let auth = AuthServiceClient::new(self.catalog.clone());
        let request = LoginRequest {
            email: email.to_owned(),
            password: password.to_owned(),
        };
        let LoginResponse { access_token, .. } =
            again(&auth, &request, |mut client, request| async move {
                client.login(request).await
            })
            .await?;
        self.bearing(email, access_token)
    }

    /// Whoever an access token or an API key speaks for.
    pub fn bearing(&self, name: &str, token: String) -> Result<Session, Status> {
        let bearer = format!("Bearer {token}")
            .parse()
            .map_err(|_| Status::internal("the token is not ASCII"))?;
        Ok(Session::new(self, name, token, Bearer(bearer)))
    }
}

type Authorized = InterceptedService<Channel, Bearer>;

/// Puts the token on every call.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

/// Without the token.
impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer")
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let token = self.0.clone();
        request.metadata_mut().insert("authorization", token);
        Ok(request)
    }
}

/// A caller with a token or a key: the clients of every service, to be cloned for a call.
#[derive(Clone)]
pub struct Session {
    /// Of a person; what a machine is called otherwise.
    pub email: String,
    pub token: String,
    pub clients: ClientServiceClient<Authorized>,
    pub users: UserServiceClient<Authorized>,
    pub api_keys: ApiKeyServiceClient<Authorized>,
    pub workflows: WorkflowServiceClient<Authorized>,
    pub executions: ExecutionServiceClient<Authorized>,
    pub tasks: TaskServiceClient<Authorized>,
    pub jobs: JobServiceClient<Authorized>,
    pub bulk_operations: BulkOperationServiceClient<Authorized>,
    pub schedules: ScheduleServiceClient<Authorized>,
    pub reports: ReportServiceClient<Authorized>,
}

impl Session {
    fn new(to: &Services, email: &str, token: String, bearer: Bearer) -> Self {
        let with = |channel: &Channel| InterceptedService::new(channel.clone(), bearer.clone());
        Self {
            email: email.to_owned(),
            token,
            clients: ClientServiceClient::new(with(&to.catalog)),
            users: UserServiceClient::new(with(&to.catalog)),
            api_keys: ApiKeyServiceClient::new(with(&to.catalog)),
            workflows: WorkflowServiceClient::new(with(&to.catalog)),
            executions: ExecutionServiceClient::new(with(&to.execution)),
            tasks: TaskServiceClient::new(with(&to.execution)),
            jobs: JobServiceClient::new(with(&to.execution)),
            bulk_operations: BulkOperationServiceClient::new(with(&to.execution)),
            schedules: ScheduleServiceClient::new(with(&to.execution)),
            reports: ReportServiceClient::new(with(&to.reporting)),
        }
    }
}

/// Without the token.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("email", &self.email)
            .finish_non_exhaustive()
    }
}

/// Repeats a call while the server says that repeating helps, for about 12 seconds in all.
/// For calls that may be repeated: writes carry a `request_id` or are idempotent by themselves, and
/// jobs whose lease got lost on the way come back by themselves.
pub async fn again<C: Clone, R: Clone, T, F>(
    client: &C,
    request: &R,
    call: impl Fn(C, R) -> F,
) -> Result<T, Status>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let mut pause = Duration::from_millis(100);
    loop {
        match call(client.clone(), request.clone()).await {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) if may_repeat(&status) && pause < Duration::from_secs(10) => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            Err(status) => return Err(status),
        }
    }
}

fn may_repeat(status: &Status) -> bool {
    // UNKNOWN is what the library makes of a connection that broke in the middle; no service answers so.
    matches!(
        status.code(),
        Code::Unavailable | Code::ResourceExhausted | Code::Unknown
    )
}

/// Runs `work` for every item, at most `limit` at a time; the first error ends it.
pub async fn each<T, F>(
    items: impl IntoIterator<Item = T>,
    limit: usize,
    work: impl Fn(T) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut running = JoinSet::new();
    for item in items {
        if running.len() >= limit
            && let Some(ended) = running.join_next().await
        {
            ended??;
        }
        running.spawn(work(item));
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(())
}

/// A fresh `request_id`.
pub fn request_id() -> String {
    uuid::Uuid::now_v7().to_string()
}
