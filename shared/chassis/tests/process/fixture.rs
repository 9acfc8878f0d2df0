//! A small service on the contract of AuthService, whose Login does what its email says.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use chassis::auth::{
    Access, AccessTable, Caller, KeyFound, KeyHash, Revocations, ServiceKey, SigningKey, Source,
    Standing, User, UserKeys, Verifier,
};
use chassis::client::Peer;
use chassis::server::{CallerGone, Gate, Limits, Readiness, Server, serve};
use chassis::{BoxFuture, Error, Shutdown, auth};
use chrono::{TimeDelta, Utc};
use model::status::Role;
use proto::catalog::v1 as pb;
use proto::catalog::v1::auth_service_client::AuthServiceClient;
use proto::catalog::v1::auth_service_server::{AuthService, AuthServiceServer};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use uuid::Uuid;

pub const NAME: &str = "workflow.catalog.v1.AuthService";
pub const TABLE: AccessTable = &[
    ("/workflow.catalog.v1.AuthService/Login", Access::Open),
    (
        "/workflow.catalog.v1.AuthService/RefreshToken",
        Access::Open,
    ),
    ("/workflow.catalog.v1.AuthService/Logout", Access::Person),
    (
        "/workflow.catalog.v1.AuthService/ChangePassword",
        Access::Person,
    ),
    (
        "/workflow.catalog.v1.AuthService/GetCurrentUser",
        Access::Person,
    ),
    (
        "/workflow.catalog.v1.AuthService/ListSigningKeys",
        Access::Internal,
    ),
];

/// What the handlers and the test share.
#[derive(Debug)]
pub struct Stage {
    /// A permit lets one waiting call go on.
    pub go: Semaphore,
    /// A permit for each call that reached its handler.
    pub begun: Semaphore,
    /// A permit for each call that came to its end.
    pub done: Semaphore,
    /// How often somebody wanted the signing keys.
    pub asked: AtomicU32,
    /// Whether Login is refused at the gate.
    pub closed: AtomicBool,
    pub pool: Option<PgPool>,
}

struct Auth(Arc<Stage>);

#[tonic::async_trait]
impl AuthService for Auth {
    async fn login(
        &self,
        request: Request<pb::LoginRequest>,
    ) -> Result<Response<pb::LoginResponse>, Status> {
        self.0.begun.add_permits(1);
        match request.get_ref().email.as_str() {
            "panic" => panic!("canary"),
            "wait" => self.0.go.acquire().await.expect("open").forget(),
            "stay" => {
                self.0.done.add_permits(1);
                CallerGone::from(&request).0.cancelled().await;
                assert!(CallerGone::current().0.is_cancelled(), "the same one");
            }
            "begin" => begin(self.0.pool()).await?,
            "write" => write(self.0.pool()).await?,
            _ => {}
        }
        self.0.done.add_permits(1);
        Ok(Response::new(pb::LoginResponse::default()))
    }

    async fn refresh_token(
        &self,
        _: Request<pb::RefreshTokenRequest>,
    ) -> Result<Response<pb::RefreshTokenResponse>, Status> {
        self.0.begun.add_permits(1);
        self.0.go.acquire().await.expect("open").forget();
        Ok(Response::new(pb::RefreshTokenResponse::default()))
    }

    async fn logout(&self, _: Request<pb::LogoutRequest>) -> Result<Response<()>, Status> {
        Err(no_part())
    }

    async fn change_password(
        &self,
        _: Request<pb::ChangePasswordRequest>,
    ) -> Result<Response<pb::User>, Status> {
        Err(no_part())
    }

    async fn get_current_user(
        &self,
        request: Request<pb::GetCurrentUserRequest>,
    ) -> Result<Response<pb::User>, Status> {
        let user = auth::user(&request)?;
        Ok(Response::new(pb::User {
            id: user.id.to_string(),
            ..pb::User::default()
        }))
    }

    async fn list_signing_keys(
        &self,
        request: Request<pb::ListSigningKeysRequest>,
    ) -> Result<Response<pb::ListSigningKeysResponse>, Status> {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        assert!(matches!(auth::caller(&request)?, Caller::Internal(_)));
        let keys = vec![pb::SigningKey {
            id: "k1".to_owned(),
            public_key: signing_key().public().bytes.to_vec(),
            created_at: None,
        }];
        Ok(Response::new(pb::ListSigningKeysResponse { keys }))
    }
}

/// Calls of the contract that no test makes.
fn no_part() -> Status {
    Error::precondition("NO_PART", "plays no part in these tests").into()
}

impl Stage {
    fn pool(&self) -> &PgPool {
        self.pool.as_ref().expect("this test has a database")
    }
}

fn gate(stage: Arc<Stage>) -> Gate {
    Gate::new(move |path| {
        let is_closed = path.ends_with("/Login") && stage.closed.load(Ordering::Relaxed);
        match is_closed {
            true => Err(Error::exhausted(
                "CLOSED",
                "not now",
                Duration::from_secs(1),
            )),
            false => Ok(()),
        }
    })
}

/// A transaction by bare sqlx, as a handler might have one: nothing but its own task protects it.
async fn begin(pool: &PgPool) -> Result<(), Error> {
    let transaction = pool.begin().await?;
    Ok(transaction.rollback().await?)
}

async fn write(pool: &PgPool) -> Result<(), Error> {
    sqlx::query("insert into canary values (1)")
        .execute(pool)
        .await?;
    Ok(())
}

pub struct Running {
    pub address: SocketAddr,
    pub stage: Arc<Stage>,
    pub readiness: Readiness,
    pub shutdown: Shutdown,
    pub serving: JoinHandle<chassis::Result<()>>,
}

impl Running {
    pub async fn start(limits: Limits, pool: Option<PgPool>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let stage = Arc::new(Stage {
            go: Semaphore::new(0),
            begun: Semaphore::new(0),
            done: Semaphore::new(0),
            asked: AtomicU32::new(0),
            closed: AtomicBool::new(false),
            pool,
        });
        let readiness = Readiness::new();
        readiness.set(true);
        let shutdown = Shutdown::new();
        let server = Server {
            name: "auth",
            listener,
            routes: Routes::new(AuthServiceServer::new(Auth(Arc::clone(&stage)))),
            access: TABLE,
            verifier: verifier(),
            serving: vec![NAME],
            readiness: readiness.clone(),
            shutdown: shutdown.clone(),
            gate: gate(Arc::clone(&stage)),
            patient: &["/workflow.catalog.v1.AuthService/RefreshToken"],
            limits,
        };
        let serving = tokio::spawn(serve(server));
        Self {
            address,
            stage,
            readiness,
            shutdown,
            serving,
        }
    }

    pub async fn with_defaults() -> Self {
        Self::start(Limits::default(), None).await
    }

    pub async fn channel(&self) -> Channel {
        let url = format!("http://{}", self.address);
        Channel::from_shared(url)
            .expect("a URL")
            .connect()
            .await
            .expect("listening")
    }

    pub async fn client(&self) -> AuthServiceClient<Channel> {
        AuthServiceClient::new(self.channel().await)
    }

    pub fn peer(&self) -> Peer {
        Peer::connect_lazy(&self.address.to_string(), service_key(), "execution")
            .expect("an address")
    }

    /// Waits until as many calls have come to their end.
    pub async fn finished(&self, calls: u32) {
        let all = self.stage.done.acquire_many(calls);
        tokio::time::timeout(Duration::from_secs(20), all)
            .await
            .expect("calls end although nobody waits for them")
            .expect("open")
            .forget();
    }
}

pub fn login(email: &str) -> pb::LoginRequest {
    pb::LoginRequest {
        email: email.to_owned(),
        password: String::new(),
    }
}

pub fn service_key() -> ServiceKey {
    ServiceKey::from_seed(&[9; 32])
}

pub fn signing_key() -> SigningKey {
    SigningKey::from_seed("k1", &[7; 32])
}

fn verifier() -> Verifier {
    let keys = vec![signing_key().public().clone()];
    Verifier::new(
        service_key().public().clone(),
        UserKeys::Local(Arc::new(RwLock::new(keys))),
        Standing::new(Arc::new(Peace)),
    )
}

/// A catalog in which nobody's access ever ends.
#[derive(Debug)]
pub struct Peace;

impl Source for Peace {
    fn revocations(&self) -> BoxFuture<'_, chassis::Result<Revocations>> {
        Box::pin(async { Ok(Revocations::default()) })
    }

    fn api_key(&self, _: KeyHash) -> BoxFuture<'_, chassis::Result<KeyFound>> {
        Box::pin(async { Ok(KeyFound::Unknown) })
    }
}

/// A token of an ordinary user.
pub fn user_token() -> String {
    let user = User {
        id: Uuid::from_u128(1),
        email: "ada@example.com".to_owned(),
        name: "Ada".to_owned(),
        role: Role::User,
        groups: Vec::new(),
        session_id: Uuid::from_u128(8),
        revision: 1,
    };
    let now = Utc::now();
    signing_key()
        .user_token(&user, now, now + TimeDelta::minutes(15))
        .expect("signed")
}

pub fn signed<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().expect("a header");
    request.metadata_mut().insert("authorization", value);
    request
}
