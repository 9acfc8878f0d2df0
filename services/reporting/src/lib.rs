//! The reporting service: counts what executions did, and shows it as reports.
//! Invariant: every figure is a function of the set of events, whatever their order, company or repetition.

mod access;
mod config;
mod definitions;
mod export;
mod history;
mod ingest;
mod insight;
mod materialize;
mod meters;
mod names;
mod projection;
mod query;
mod rebuild;
mod recount;
mod rpc;
mod store;
mod verify;
mod wire;

#[cfg(test)]
mod tests;

use chassis::auth::{ServiceKey, Standing, UserKeys, Verifier};
use chassis::client::Peer;
use chassis::server::{Gate, Limits, Readiness, Server, serve};
use chassis::{BoxFuture, Result, Shutdown, db};
use proto::reporting::v1::report_service_server::{self, ReportServiceServer};
use proto::reporting::v1::step_event_service_server::{self, StepEventServiceServer};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::service::Routes;

pub use config::Config;

const NAME: &str = "reporting";
const ROLE: &str = "wfp_reporting";

/// Serves on the listener until `shutdown`; NOT_SERVING until the tables are up to date.
pub fn run(
    config: Config,
    listener: TcpListener,
    shutdown: Shutdown,
) -> BoxFuture<'static, Result<()>> {
    Box::pin(start(config, listener, shutdown))
}

async fn start(config: Config, listener: TcpListener, shutdown: Shutdown) -> Result<()> {
    let key = ServiceKey::load_or_create(&config.common.service_key_file())?;
    let verifying = key.public().clone();
    let catalog = Peer::connect_lazy(&config.catalog_addr, key.clone(), NAME)?;
    let execution = Peer::connect_lazy(&config.execution_addr, key, NAME)?;
    let mut database = config
        .common
        .database(config.database_url.as_deref(), ROLE)?;
    database.max_connections = config.connections;
    let pool = db::open(&database)?;

    let (intake, writer, complete) = ingest::queue();
    let names = names::Names::new(catalog.clone());
    let history = history::History::new(execution);
    let events = rpc::events::StepEvents::new(intake, shutdown.clone());
    let verifier = verify::Verifier::new(pool.clone(), history.clone());
    let rebuilder = rebuild::Rebuilder::new(pool.clone(), history.clone());
    let analyst = rpc::insight::Analyst::new(
        pool.clone(),
        history.clone(),
        definitions::Definitions::new(catalog.clone()),
        names.clone(),
    );
    let reports =
        rpc::reports::Reports::new(pool.clone(), names, analyst, verifier, shutdown.clone());
    let loops = Loops {
        rebuilder,
        writer,
        materializer: materialize::Materializer::new(pool.clone(), complete),
        repair: history::Repair::new(pool.clone(), history),
    };
    let readiness = Readiness::new();
    let ready = readiness.clone();
    shutdown.spawn_loop("reporting", loops.run(pool, ready, shutdown.clone()));

    serve(Server {
        name: NAME,
        listener,
        routes: Routes::new(
            StepEventServiceServer::new(events)
                .accept_compressed(Gzip)
                .send_compressed(Gzip),
        )
        .add_service(
            ReportServiceServer::new(reports)
                .accept_compressed(Gzip)
                .send_compressed(Gzip),
        ),
        access: access::ACCESS,
        verifier: Verifier::new(
            verifying,
            UserKeys::remote(catalog.clone()),
            Standing::remote(catalog),
        ),
        serving: vec![
            step_event_service_server::SERVICE_NAME,
            report_service_server::SERVICE_NAME,
        ],
        readiness,
        shutdown,
        gate: Gate::default(),
        patient: &[],
        limits: Limits::default(),
    })
    .await
}

/// What goes on beside the calls.
struct Loops {
    writer: ingest::Writer,
    materializer: materialize::Materializer,
    repair: history::Repair,
    rebuilder: rebuild::Rebuilder,
}

impl Loops {
    /// Ends with `soft`.
    async fn run(self, pool: PgPool, readiness: Readiness, shutdown: Shutdown) {
        let soft = shutdown.soft.clone();
        let migrations = sqlx::migrate!("../../migrations/reporting");
        let migrated = db::migrate(&pool, "reporting._sqlx_migrations", migrations);
        match soft.run_until_cancelled(migrated).await {
            Some(Ok(())) => {}
            Some(Err(error)) => return shutdown.fail(format!("migrations: {error}")),
            None => return,
        }
        readiness.set(true);
        let watching = db::watch(pool.clone(), readiness, soft.clone());
        shutdown.spawn_loop("reporting.database", watching);
        shutdown.spawn_loop("reporting.reports", self.materializer.run(soft.clone()));
        shutdown.spawn_loop("reporting.repair", self.repair.run(soft.clone()));
        shutdown.spawn_loop("reporting.rebuild", self.rebuilder.run(soft.clone()));
        self.writer.run(pool, soft).await;
    }
}
