//! One running catalog and ways to call it. Invariant: it stops with the value, and its database goes.

use catalog::Config;
use chassis::Shutdown;
use chassis::auth::ServiceKey;
use chassis::config::Common;
use devkit::{Database, Folder};
use proto::catalog::v1::api_key_service_client::ApiKeyServiceClient;
use proto::catalog::v1::audit_service_client::AuditServiceClient;
use proto::catalog::v1::auth_service_client::AuthServiceClient;
use proto::catalog::v1::client_service_client::ClientServiceClient;
use proto::catalog::v1::definition_service_client::DefinitionServiceClient;
use proto::catalog::v1::identity_service_client::IdentityServiceClient;
use proto::catalog::v1::user_service_client::UserServiceClient;
use proto::catalog::v1::workflow_service_client::WorkflowServiceClient;
use proto::catalog::v1::{self as pb, problem::Severity};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

pub const ADMIN_EMAIL: &str = "Root@Example.com";
pub const ADMIN_PASSWORD: &str = "correct horse battery";

/// Of everybody else.
pub const PASSWORD: &str = "staple staple staple";

/// The workflows that are in use today: what the platform must take as they are.
pub const IN_USE: &str =
    include_str!("../../../../shared/model/src/graph/tests/workflows-in-use.yaml");

pub struct Catalog {
    pub database: Database,
    pub admin_token: String,
    folder: Folder,
    address: String,
    channel: Channel,
    shutdown: Shutdown,
}

pub type Called = InterceptedService<Channel, Bearer>;

/// Sends a token, if there is one, with every call.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", value.clone());
        }
        Ok(request)
    }
}

pub fn called(channel: Channel, token: &str) -> Called {
    let value = (!token.is_empty()).then(|| format!("Bearer {token}").parse().unwrap());
    InterceptedService::new(channel, Bearer(value))
}

pub fn config(database: &Database, folder: &Folder) -> Config {
    Config {
        common: Common {
            data_dir: folder.path().to_owned(),
            database_url: None,
            service_key_file: Some(folder.service_key()),
        },
        addr: String::new(),
        database_url: Some(database.catalog_url()),
        master_key_file: Some(folder.master_key()),
        admin_email: ADMIN_EMAIL.to_owned(),
        admin_password: Some(ADMIN_PASSWORD.to_owned()),
        audit_days: 400,
        signing_key_days: 30,
        trusted_proxies: catalog::Proxies::default(),
    }
}

/// Runs a catalog on a port of its own, and returns when it serves.
pub async fn launch(config: Config, shutdown: &Shutdown) -> Channel {
    launch_at(config, shutdown).await.1
}

/// The same, and tells where.
pub async fn launch_at(config: Config, shutdown: &Shutdown) -> (String, Channel) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(catalog::run(config, listener, shutdown.clone()));
    let channel = Endpoint::from_shared(address.clone())
        .unwrap()
        .connect_lazy();
    let mut auth = AuthServiceClient::new(channel.clone());
    let keys = || pb::ListSigningKeysRequest {};
    while let Err(status) = auth.list_signing_keys(keys()).await {
        refused::<()>(Err(status), Code::Unavailable, "NOT_READY");
    }
    (address, channel)
}

/// The way there from an address of this machine.
pub fn channel_from(address: &str, source: &str) -> Channel {
    (Endpoint::from_shared(address.to_owned()).unwrap())
        .local_address(Some(source.parse().unwrap()))
        .connect_lazy()
}

pub async fn sign_in(
    channel: &Channel,
    email: &str,
    password: &str,
) -> Result<pb::LoginResponse, Status> {
    let request = pb::LoginRequest {
        email: email.to_owned(),
        password: password.to_owned(),
    };
    let answer = AuthServiceClient::new(channel.clone()).login(request).await;
    answer.map(tonic::Response::into_inner)
}

impl Catalog {
    /// Running, with an administrator who has signed in.
    pub async fn start() -> Self {
        let (database, folder) = (Database::new().await, Folder::new());
        let shutdown = Shutdown::new();
        let (address, channel) = launch_at(config(&database, &folder), &shutdown).await;
        let mut catalog = Self {
            database,
            admin_token: String::new(),
            folder,
            address,
            channel,
            shutdown,
        };
        catalog.admin_token = catalog.login(ADMIN_EMAIL, ADMIN_PASSWORD).await.unwrap();
        catalog
    }

    /// The same after a restart: nothing but the database and the key files has stayed.
    pub async fn restarted(mut self) -> Self {
        self.shutdown.soft.cancel();
        self.shutdown.tasks.wait().await;
        self.shutdown = Shutdown::new();
        let config = config(&self.database, &self.folder);
        (self.address, self.channel) = launch_at(config, &self.shutdown).await;
        self
    }

    /// The way to another replica, which stops with the first.
    pub async fn replica(&self) -> Channel {
        launch(config(&self.database, &self.folder), &self.shutdown).await
    }

    pub async fn login(&self, email: &str, password: &str) -> Result<String, Status> {
        Ok(sign_in(&self.channel, email, password).await?.access_token)
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Begins a session.
    pub async fn sign_in(&self, email: &str, password: &str) -> Result<pb::LoginResponse, Status> {
        sign_in(&self.channel, email, password).await
    }

    /// The same from an address of this machine.
    pub async fn sign_in_from(
        &self,
        source: &str,
        email: &str,
        password: &str,
    ) -> Result<pb::LoginResponse, Status> {
        sign_in(&channel_from(&self.address, source), email, password).await
    }

    /// With the password `PASSWORD`, and of the role that is said.
    pub async fn user(&self, email: &str, role: pb::UserRole) -> pb::User {
        let user = pb::User {
            email: email.to_owned(),
            name: "Jane Doe".to_owned(),
            role: role.into(),
            ..pb::User::default()
        };
        let request = pb::CreateUserRequest {
            user: Some(user),
            password: PASSWORD.to_owned(),
            request_id: String::new(),
        };
        let mut users = self.users(&self.admin_token);
        users.create_user(request).await.unwrap().into_inner()
    }

    /// As the catalog itself, for what no call shows.
    pub async fn pool(&self) -> sqlx::PgPool {
        sqlx::PgPool::connect(&self.database.catalog_url())
            .await
            .unwrap()
    }

    pub fn service_token(&self) -> String {
        let key = ServiceKey::load_or_create(&self.folder.service_key()).unwrap();
        key.token("execution", chrono::Utc::now()).unwrap().0
    }

    fn called(&self, token: &str) -> Called {
        called(self.channel.clone(), token)
    }

    pub fn auth(&self, token: &str) -> AuthServiceClient<Called> {
        AuthServiceClient::new(self.called(token))
    }

    pub fn audit(&self, token: &str) -> AuditServiceClient<Called> {
        AuditServiceClient::new(self.called(token))
    }

    pub fn users(&self, token: &str) -> UserServiceClient<Called> {
        UserServiceClient::new(self.called(token))
    }

    pub fn clients_as(&self, token: &str) -> ClientServiceClient<Called> {
        ClientServiceClient::new(self.called(token))
    }

    /// As the administrator.
    pub fn clients(&self) -> ClientServiceClient<Called> {
        self.clients_as(&self.admin_token)
    }

    pub fn workflows_as(&self, token: &str) -> WorkflowServiceClient<Called> {
        WorkflowServiceClient::new(self.called(token))
    }

    /// As the administrator.
    pub fn workflows(&self) -> WorkflowServiceClient<Called> {
        self.workflows_as(&self.admin_token)
    }

    pub fn api_keys(&self, token: &str) -> ApiKeyServiceClient<Called> {
        ApiKeyServiceClient::new(self.called(token))
    }

    pub fn identity(&self, token: &str) -> IdentityServiceClient<Called> {
        IdentityServiceClient::new(self.called(token))
    }

    pub fn definitions(&self, token: &str) -> DefinitionServiceClient<Called> {
        DefinitionServiceClient::new(self.called(token))
    }

    pub async fn client(&self, name: &str) -> pb::Client {
        let client = pb::Client {
            name: name.to_owned(),
            ..pb::Client::default()
        };
        let request = pb::CreateClientRequest {
            client: Some(client),
            request_id: String::new(),
        };
        self.clients()
            .create_client(request)
            .await
            .unwrap()
            .into_inner()
    }

    /// An empty draft.
    pub async fn workflow(&self, client: &pb::Client, name: &str) -> pb::Workflow {
        let request = pb::CreateWorkflowRequest {
            workflow: Some(pb::Workflow {
                name: name.to_owned(),
                client_id: client.id.clone(),
                ..pb::Workflow::default()
            }),
            request_id: String::new(),
        };
        self.workflows()
            .create_workflow(request)
            .await
            .unwrap()
            .into_inner()
    }

    pub async fn read(&self, id: &str) -> pb::Workflow {
        let request = pb::GetWorkflowRequest { id: id.to_owned() };
        self.workflows()
            .get_workflow(request)
            .await
            .unwrap()
            .into_inner()
    }

    pub async fn apply(&self, document: &str) -> Result<pb::ApplyWorkflowResponse, Status> {
        let request = pb::ApplyWorkflowRequest {
            document: document.to_owned(),
            validate_only: false,
            ..pb::ApplyWorkflowRequest::default()
        };
        Ok(self.workflows().apply_workflow(request).await?.into_inner())
    }

    pub async fn publish(&self, id: &str) -> Result<pb::Workflow, Status> {
        let request = pb::PublishWorkflowRequest {
            id: id.to_owned(),
            etag: String::new(),
            ..pb::PublishWorkflowRequest::default()
        };
        Ok(self
            .workflows()
            .publish_workflow(request)
            .await?
            .into_inner())
    }

    pub async fn create_step(&self, step: pb::WorkflowStep) -> Result<pb::WorkflowStep, Status> {
        let request = pb::CreateStepRequest {
            step: Some(step),
            request_id: String::new(),
            ..pb::CreateStepRequest::default()
        };
        Ok(self.workflows().create_step(request).await?.into_inner())
    }

    pub async fn delete_step(&self, id: &str) -> Result<(), Status> {
        let request = pb::DeleteStepRequest {
            id: id.to_owned(),
            etag: String::new(),
        };
        self.workflows().delete_step(request).await?;
        Ok(())
    }
}

impl Drop for Catalog {
    fn drop(&mut self) {
        self.shutdown.soft.cancel();
    }
}

pub fn step(workflow: &pb::Workflow, name: &str, order: i32) -> pb::WorkflowStep {
    pb::WorkflowStep {
        workflow_id: workflow.id.clone(),
        name: name.to_owned(),
        step_type: "custom".to_owned(),
        order: Some(order),
        ..pb::WorkflowStep::default()
    }
}

/// The first error that the answer should have been, with this code and reason.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, reason: &str) -> Status {
    let status = answer.expect_err("is refused");
    assert_eq!(status.code(), code, "{status:?}");
    let info = status.get_details_error_info().expect("says why");
    assert_eq!(info.reason, reason, "{status:?}");
    status
}

/// Why somebody could not make the last administrator none: there would be no other, or whoever tried is none
/// any more.
#[track_caller]
pub fn last_or_none_any_more(status: Status) {
    let (code, reason) = match status.code() {
        Code::PermissionDenied => (Code::PermissionDenied, "ADMIN_REQUIRED"),
        _ => (Code::FailedPrecondition, "LAST_ADMIN"),
    };
    refused::<()>(Err(status), code, reason);
}

/// The fields that are named as malformed, in order.
#[track_caller]
pub fn malformed<T: std::fmt::Debug>(answer: Result<T, Status>) -> Vec<String> {
    let status = refused(answer, Code::InvalidArgument, "INVALID_ARGUMENT");
    violations(&status)
        .into_iter()
        .map(|(field, _)| field)
        .collect()
}

/// Field and description of each violation.
pub fn violations(status: &Status) -> Vec<(String, String)> {
    let details = status.get_details_bad_request().expect("names fields");
    (details.field_violations.into_iter())
        .map(|violation| (violation.field, violation.description))
        .collect()
}

pub fn errors(problems: &[pb::Problem]) -> Vec<&str> {
    (problems.iter())
        .filter(|problem| problem.severity() == Severity::Error)
        .map(|problem| problem.code.as_str())
        .collect()
}
