//! The execution service: runs published workflows, keeps their logs, and tells reporting what happened.
//! Invariant: replicas are equal; whatever must survive one is in PostgreSQL before anybody hears of it.

mod access;
mod bulk;
mod committer;
mod config;
mod context;
mod definitions;
mod dispatch;
mod engine;
mod explain;
mod export;
#[cfg(test)]
mod fixtures;
mod history;
mod import;
mod job_types;
mod leasing;
mod outbox;
mod preview;
mod pump;
mod retention;
mod rpc;
mod schedules;
mod simulate;
mod state;
mod store;
mod stuck;
mod timers;
mod who;

use std::sync::Arc;

use chassis::auth::{ServiceKey, Standing, UserKeys, Verifier};
use chassis::client::Peer;
use chassis::server::{Gate, Limits, Readiness, Server, serve};
use chassis::{BoxFuture, Result, Shutdown, db};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::committer::{Committer, Hints};
use crate::definitions::Definitions;
use crate::dispatch::Leaser;
use crate::job_types::JobTypes;
use crate::outbox::OutboxRow;
use crate::pump::Pump;
use crate::state::Service;

pub use config::Config;
/// The committer's statements, for a benchmark that measures them without the committer.
pub use store::write;

const NAME: &str = "execution";
const ROLE: &str = "wfp_execution";

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
    let reporting = Peer::connect_lazy(&config.reporting_addr, key, NAME)?;
    let mut database = config
        .common
        .database(config.database_url.as_deref(), ROLE)?;
    database.max_connections = config.connections;
    let pool = db::open(&database)?;

    let definitions = Definitions::new(pool.clone(), catalog.clone());
    let (handed, outbox) = mpsc::channel(outbox::HANDED);
    let hints = Hints::default();
    let (changes, jobs) = (hints.changes.subscribe(), hints.jobs.subscribe());
    let dispatch = hints.dispatch.clone();
    let commands = hints.commands.subscribe();
    let committer = Committer::start(pool.clone(), definitions.clone(), handed, hints, &shutdown);
    let service = Service {
        pool: pool.clone(),
        committer: committer.clone(),
        definitions,
        catalog: catalog.clone(),
        job_types: JobTypes::default(),
        dispatch,
        computing: Arc::new(Semaphore::new(state::COMPUTING)),
        changes,
        jobs,
        shutdown: shutdown.clone(),
    };
    let readiness = Readiness::new();
    let leaser = {
        let (definitions, job_types) = (service.definitions.clone(), service.job_types.clone());
        Leaser::new(
            pool.clone(),
            definitions,
            service.dispatch.clone(),
            job_types,
        )
    };
    let loops = Loops {
        leaser,
        retention: config.retention(),
        pool,
        committer: committer.clone(),
        reporting,
        outbox,
        commands,
    };
    shutdown.spawn_loop("execution", loops.run(readiness.clone(), shutdown.clone()));

    serve(Server {
        name: NAME,
        listener,
        routes: rpc::routes(&service),
        access: access::ACCESS,
        verifier: Verifier::new(
            verifying,
            UserKeys::remote(catalog.clone()),
            Standing::remote(catalog),
        ),
        serving: rpc::SERVING.to_vec(),
        readiness,
        shutdown,
        gate: gate(&committer),
        patient: &["/workflow.execution.v1.JobService/ActivateJobs"],
        limits: Limits::default(),
    })
    .await
}

/// Refuses starts while too many wait, before they cost anything.
fn gate(committer: &Committer) -> Gate {
    let starts = committer.gate().clone();
    Gate::new(move |path| match path {
        "/workflow.execution.v1.ExecutionService/StartExecution"
        | "/workflow.execution.v1.ExecutionService/BatchStartExecutions" => starts.check(),
        _ => Ok(()),
    })
}

/// What goes on beside the calls.
struct Loops {
    leaser: Leaser,
    retention: retention::Policy,
    pool: PgPool,
    committer: Committer,
    reporting: Peer,
    outbox: mpsc::Receiver<OutboxRow>,
    commands: watch::Receiver<u64>,
}

impl Loops {
    /// Ends with `soft`.
    async fn run(self, readiness: Readiness, shutdown: Shutdown) {
        let soft = shutdown.soft.clone();
        let migrations = sqlx::migrate!("../../migrations/execution");
        let migrated = db::migrate(&self.pool, "execution._sqlx_migrations", migrations);
        match soft.run_until_cancelled(migrated).await {
            Some(Ok(())) => {}
            Some(Err(error)) => return shutdown.fail(format!("migrations: {error}")),
            None => return,
        }
        readiness.set(true);
        let watching = db::watch(self.pool.clone(), readiness, soft.clone());
        shutdown.spawn_loop("execution.database", watching);
        let sender = outbox::run(
            self.pool.clone(),
            self.reporting,
            self.outbox,
            shutdown.clone(),
        );
        shutdown.spawn_loop("execution.outbox", sender);
        shutdown.spawn_loop("execution.dispatch", self.leaser.run(shutdown.clone()));
        let pump = Pump::new(self.pool.clone(), self.committer.clone());
        let pump = pump.run(self.commands, shutdown.clone());
        shutdown.spawn_loop("execution.commands", pump);
        let measuring = stuck::run(self.pool.clone(), shutdown.clone());
        shutdown.spawn_loop("execution.stuck", measuring);
        let purging = retention::run(self.pool.clone(), self.retention, shutdown.clone());
        shutdown.spawn_loop("execution.retention", purging);
        let operations = bulk::run(self.pool.clone(), self.committer.clone(), shutdown.clone());
        shutdown.spawn_loop("execution.bulk", operations);
        let starter = schedules::run(self.pool.clone(), self.committer.clone(), shutdown.clone());
        shutdown.spawn_loop("execution.schedules", starter);
        timers::run(self.pool, self.committer, shutdown).await;
    }
}
