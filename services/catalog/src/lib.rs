//! The catalog service: users, clients, and workflow definitions with their published versions.
//! Invariant: what has been published never changes; who may do what is decided by tokens signed here.

mod access;
mod apply;
mod callees;
mod config;
mod diff;
mod document;
mod editing;
mod fields;
mod housekeeping;
mod identity;
mod publish;
mod rpc;
mod store;
mod working_copy;

use std::sync::Arc;

use chassis::auth::{ServiceKey, Standing, UserKeys, Verifier};
use chassis::server::{Gate, Limits, Readiness, Server, serve};
use chassis::{BoxFuture, Result, Shutdown, db};
use proto::catalog::v1::api_key_service_server::{ApiKeyServiceServer, SERVICE_NAME as API_KEY};
use proto::catalog::v1::audit_service_server::{AuditServiceServer, SERVICE_NAME as AUDIT};
use proto::catalog::v1::auth_service_server::{AuthServiceServer, SERVICE_NAME as AUTH};
use proto::catalog::v1::client_service_server::{ClientServiceServer, SERVICE_NAME as CLIENT};
use proto::catalog::v1::definition_service_server::{
    DefinitionServiceServer, SERVICE_NAME as DEFINITION,
};
use proto::catalog::v1::identity_service_server::{
    IdentityServiceServer, SERVICE_NAME as IDENTITY,
};
use proto::catalog::v1::user_service_server::{SERVICE_NAME as USER, UserServiceServer};
use proto::catalog::v1::workflow_service_server::{
    SERVICE_NAME as WORKFLOW, WorkflowServiceServer,
};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::service::Routes;

pub use crate::config::Config;
pub use crate::identity::Proxies;
use crate::identity::{Guard, MasterKey, Passwords, Signer, ensure_admin};

/// The database role the service works in.
const ROLE: &str = "wfp_catalog";

/// Serves the catalog on `listener` until `shutdown`; NOT_SERVING until tables, keys and the first
/// administrator are there.
pub fn run(
    config: Config,
    listener: TcpListener,
    shutdown: Shutdown,
) -> BoxFuture<'static, Result<()>> {
    Box::pin(start(config, listener, shutdown))
}

async fn start(config: Config, listener: TcpListener, shutdown: Shutdown) -> Result<()> {
    let service_key = ServiceKey::load_or_create(&config.common.service_key_file())?;
    let master = MasterKey::load_or_create(&config.master_key_file())?;
    let database = config
        .common
        .database(config.database_url.as_deref(), ROLE)?;
    let pool = db::open(&database)?;
    let passwords = Arc::new(Passwords::start().await?);
    let signer = Arc::new(Signer::new(master.clone(), config.signing_key_days));
    let readiness = Readiness::new();

    let preparing = prepare(&config, &pool, &passwords, &signer);
    let prepared = async {
        if let Some(done) = shutdown.soft.run_until_cancelled(preparing).await {
            done?;
            let keeping = housekeeping::run(
                pool.clone(),
                Arc::clone(&signer),
                config.audit_days,
                shutdown.clone(),
            );
            shutdown.spawn_loop("catalog.housekeeping", keeping);
            readiness.set(true);
        }
        Ok(())
    };
    let served = serve(Server {
        name: "catalog",
        listener,
        routes: routes(&config, &pool, &passwords, &signer, &master),
        access: access::ACCESS,
        verifier: Verifier::new(
            service_key.public().clone(),
            UserKeys::Local(signer.accepted()),
            Standing::new(Arc::new(rpc::identity::Identity { pool: pool.clone() })),
        ),
        serving: vec![
            AUTH, USER, API_KEY, AUDIT, CLIENT, WORKFLOW, DEFINITION, IDENTITY,
        ],
        readiness: readiness.clone(),
        shutdown: shutdown.clone(),
        gate: Gate::default(),
        patient: &[],
        limits: Limits::default(),
    });
    // Refused settings end the process as what they are: there is nothing to drain yet.
    let ended = tokio::try_join!(prepared, served);
    pool.close().await;
    ended.map(drop)
}

/// Everything that must be in the database before the first call.
async fn prepare(
    config: &Config,
    pool: &PgPool,
    passwords: &Passwords,
    signer: &Signer,
) -> Result<()> {
    db::migrate(
        pool,
        "catalog._sqlx_migrations",
        sqlx::migrate!("../../migrations/catalog"),
    )
    .await?;
    let password = config.admin_password.as_deref();
    ensure_admin(pool, passwords, &config.admin_email, password).await?;
    let now = db::now(&mut *db::acquire(pool).await?).await?;
    signer.round(pool, now).await
}

fn routes(
    config: &Config,
    pool: &PgPool,
    passwords: &Arc<Passwords>,
    signer: &Arc<Signer>,
    master: &MasterKey,
) -> Routes {
    let auth = rpc::auth::Auth {
        guard: Guard {
            pool: pool.clone(),
            passwords: Arc::clone(passwords),
            master: master.clone(),
        },
        signer: Arc::clone(signer),
        proxies: config.trusted_proxies.clone(),
    };
    let users = rpc::users::Users {
        pool: pool.clone(),
        passwords: Arc::clone(passwords),
        master: master.clone(),
    };
    let api_keys = rpc::api_keys::ApiKeys { pool: pool.clone() };
    let identity = rpc::identity::Identity { pool: pool.clone() };
    let audit = rpc::audit::Audit { pool: pool.clone() };
    let clients = rpc::clients::Clients { pool: pool.clone() };
    let workflows = rpc::workflows::Workflows { pool: pool.clone() };
    let definitions = rpc::definitions::Definitions { pool: pool.clone() };
    macro_rules! compressed {
        ($server:expr) => {
            $server.accept_compressed(Gzip).send_compressed(Gzip)
        };
    }
    Routes::new(compressed!(AuthServiceServer::new(auth)))
        .add_service(compressed!(UserServiceServer::new(users)))
        .add_service(compressed!(ApiKeyServiceServer::new(api_keys)))
        .add_service(compressed!(AuditServiceServer::new(audit)))
        .add_service(compressed!(ClientServiceServer::new(clients)))
        .add_service(compressed!(WorkflowServiceServer::new(workflows)))
        .add_service(compressed!(DefinitionServiceServer::new(definitions)))
        .add_service(compressed!(IdentityServiceServer::new(identity)))
}
