//! A database of its own for every test: cloned from a template that has all migrations.
//!
//! Invariant: one private cluster per test process, started by the first test that needs it; it and its files are
//! gone soon after the process, however that ends.

use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{OnceLock, mpsc};

use anyhow::{Context, Result};
use chassis::bootstrap::SERVICES;
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;

use crate::account::make_folder;
use crate::cluster::Durability;
use crate::postgres::{Options, Postgres};

const TEMPLATE: &str = "wfp_template";

/// Dropped, with all its sessions, when the value is.
#[derive(Debug)]
pub struct Database {
    name: String,
    cluster: &'static TestCluster,
}

#[derive(Debug)]
struct TestCluster {
    postgres: Postgres,
    /// The names of databases that no test needs any more.
    unneeded: mpsc::Sender<String>,
    /// Open as long as this process lives; its closing tells the undertaker to come.
    _undertaker: ChildStdin,
}

impl Database {
    /// About 50 ms; a second for the first one of a process.
    pub async fn new() -> Database {
        let cluster = tokio::task::spawn_blocking(TestCluster::get)
            .await
            .expect("the cluster starts");
        let name = format!("test_{}", Uuid::now_v7().simple());
        let mut admin = cluster.connect().await.expect("the cluster is up");
        let clone = format!("create database {name} template {TEMPLATE}");
        admin
            .execute(AssertSqlSafe(clone))
            .await
            .expect("nobody is connected to the template");
        Database { name, cluster }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// May do everything: for looking behind the services' backs and for breaking things.
    pub fn admin_url(&self) -> String {
        self.cluster.postgres.url(&self.name)
    }

    /// Connects as the catalog's role, which may do no more than in production; so do the next two.
    pub fn catalog_url(&self) -> String {
        self.cluster.postgres.url_as("wfp_catalog", &self.name)
    }

    pub fn execution_url(&self) -> String {
        self.cluster.postgres.url_as("wfp_execution", &self.name)
    }

    pub fn reporting_url(&self) -> String {
        self.cluster.postgres.url_as("wfp_reporting", &self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The sweeper ends only with the process, where dropping is no longer needed.
        let _ = self.cluster.unneeded.send(std::mem::take(&mut self.name));
    }
}

impl TestCluster {
    fn get() -> &'static TestCluster {
        static CLUSTER: OnceLock<TestCluster> = OnceLock::new();
        CLUSTER.get_or_init(|| TestCluster::start().expect("a private PostgreSQL for the tests"))
    }

    fn start() -> Result<TestCluster> {
        let folder = std::env::temp_dir().join(format!("wfp-tests-{}", Uuid::now_v7().simple()));
        make_folder(&folder)?;
        let options = Options {
            folder: folder.clone(),
            durability: Durability::Test,
            fetch: !std::env::var("WFP_NO_FETCH").is_ok_and(|value| !matches!(&*value, "" | "0")),
        };
        let postgres = Postgres::start(&options, &|sentence| eprintln!("{sentence}"))?;
        let undertaker = undertaker(&postgres, &folder)?;
        let (unneeded, names) = mpsc::channel();
        let (url, admin) = (postgres.url(TEMPLATE), postgres.url("postgres"));
        let catalog = SERVICES.map(|service| postgres.url_as(&format!("wfp_{service}"), TEMPLATE));
        let (prepared, outcome) = mpsc::channel();
        // Not on a test's runtime, which ends with that test.
        std::thread::Builder::new()
            .name("database-sweeper".into())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                let _ = prepared.send(runtime.block_on(prepare(&admin, &url, &catalog)));
                runtime.block_on(sweep(&admin, names))
            })?;
        outcome.recv().context("the template was not finished")??;
        Ok(TestCluster {
            postgres,
            unneeded,
            _undertaker: undertaker,
        })
    }

    async fn connect(&self) -> sqlx::Result<PgConnection> {
        PgConnection::connect(&self.postgres.url("postgres")).await
    }
}

/// Makes the template: what bootstrap makes, then every migration, each run by its own role.
async fn prepare(admin: &str, template: &str, services: &[String]) -> Result<()> {
    let mut connection = PgConnection::connect(admin).await?;
    connection
        .execute(AssertSqlSafe(format!("create database {TEMPLATE}")))
        .await?;
    chassis::bootstrap::bootstrap(template).await?;
    for (service, url) in SERVICES.iter().zip(services) {
        let mut connection = PgConnection::connect(url).await?;
        migrator(service)
            .await?
            .run(&mut connection)
            .await
            .with_context(|| format!("migrations/{service}"))?;
        connection.close().await?;
    }
    // A session in the template would make cloning fail.
    let close = format!("alter database {TEMPLATE} with allow_connections false");
    connection.execute(AssertSqlSafe(close)).await?;
    Ok(())
}

/// The same files and the same bookkeeping table as the service's own migrator, which finds nothing left to do.
async fn migrator(service: &str) -> Result<Migrator> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../migrations")
        .join(service);
    let mut migrator = Migrator::new(folder).await?;
    migrator.dangerous_set_table_name(format!("{service}._sqlx_migrations"));
    Ok(migrator)
}

async fn sweep(admin: &str, names: mpsc::Receiver<String>) -> Result<()> {
    let mut connection = PgConnection::connect(admin).await?;
    for name in names {
        let drop = format!("drop database if exists {name} with (force)");
        connection.execute(AssertSqlSafe(drop)).await?;
    }
    Ok(())
}

/// A shell that waits for our end, in whatever way it comes, and clears away server and files.
fn undertaker(postgres: &Postgres, folder: &Path) -> Result<ChildStdin> {
    const SCRIPT: &str = "read -r _; kill -QUIT $1; i=0; \
        while kill -0 $1 && [ $i -lt 50 ]; do sleep 0.1; i=$((i+1)); done; rm -rf \"$2\" \"$3\" \"$4\"";
    let pid = postgres.pid().context("the server has just been started")?;
    let gone: [PathBuf; 3] = [
        folder.to_owned(),
        postgres.home().to_owned(),
        postgres.socket().to_owned(),
    ];
    let mut command = Command::new("sh");
    command
        .args(["-c", SCRIPT, "undertaker", &pid.to_string()])
        .args(gone);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // Ctrl-C in the terminal must not end it before its work.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn()?.stdin.take().context("its input is a pipe")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_test_has_its_own_tables_and_each_role_only_its_own() {
        let (first, second) = tokio::join!(Database::new(), Database::new());
        let insert = "insert into catalog.clients (id, name) values (gen_random_uuid(), 'Acme')";
        let mut catalog = PgConnection::connect(&first.catalog_url()).await.unwrap();
        catalog.execute(insert).await.unwrap();
        let count = "select count(*) from catalog.clients";
        assert_eq!(
            sqlx::query_scalar::<_, i64>(count)
                .fetch_one(&mut catalog)
                .await
                .unwrap(),
            1
        );
        let mut other = PgConnection::connect(&second.admin_url()).await.unwrap();
        assert_eq!(
            sqlx::query_scalar::<_, i64>(count)
                .fetch_one(&mut other)
                .await
                .unwrap(),
            0
        );
        let mut execution = PgConnection::connect(&first.execution_url()).await.unwrap();
        assert!(
            execution.execute(insert).await.is_err(),
            "the execution role wrote into the catalog"
        );
    }
}
