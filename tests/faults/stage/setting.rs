//! One installation: a database, a catalog, some replicas of execution, reporting, and a proxy on every wire that
//! a scenario may want to break. Invariant: the auditor's triggers watch it before the first call.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use devkit::Folder;
use sqlx::PgPool;

use super::cluster::Cluster;
use super::process::Process;
use super::proxy::{Proxy, Way};
use super::sessions::{ADMIN, PASSWORD, Sessions};

/// What there is of what.
#[derive(Debug, Clone)]
pub struct Props {
    pub replicas: usize,
    /// Database connections of each replica of execution.
    pub connections: u32,
    /// By how many seconds the clock of each replica is off; the rest are right.
    pub clocks: Vec<i64>,
}

impl Default for Props {
    fn default() -> Self {
        Self {
            replicas: 2,
            connections: 8,
            clocks: Vec::new(),
        }
    }
}

pub struct Stage {
    pub cluster: Arc<Cluster>,
    pub database: String,
    /// To look behind the services' backs; by no proxy.
    pub admin: PgPool,
    pub catalog: Process,
    pub executions: Vec<Process>,
    pub reporting: Process,
    /// From each replica of execution to the database.
    pub databases: Vec<Proxy>,
    /// From reporting to the database.
    pub reports: Proxy,
    /// From each replica of execution to reporting.
    pub wires: Vec<Proxy>,
    pub sessions: Sessions,
    _folder: Folder,
}

impl Stage {
    pub async fn set(
        cluster: &Arc<Cluster>,
        database: &str,
        props: &Props,
    ) -> anyhow::Result<Self> {
        cluster.database(database).await?;
        let folder = Folder::new();
        let addresses = free_addresses(props.replicas + 2)?;
        let (catalog_at, reporting_at) = (addresses[0].clone(), addresses[1].clone());
        let wiring = Wiring {
            cluster,
            database,
            folder: folder.path().to_owned(),
            catalog: catalog_at.clone(),
        };
        let (mut databases, mut wires, mut executions) = (Vec::new(), Vec::new(), Vec::new());
        for (n, address) in addresses[2..].iter().enumerate() {
            let database = Proxy::to(Way::Unix(cluster.socket()?)).await?;
            let wire = Proxy::to(Way::Tcp(reporting_at.clone())).await?;
            let mut environment = wiring.environment("execution", address, Some(&database));
            let offset = props.clocks.get(n).copied().unwrap_or_default();
            environment.extend([
                own("WFP_REPORTING_ADDR", &wire.address),
                own("WFP_EXECUTION_CONNECTIONS", &props.connections),
                own("WFP_CLOCK_OFFSET", &offset),
            ]);
            let name = format!("execution-{n}");
            let names = ("execution", name.as_str());
            let process = Process::new(names, address.clone(), environment, folder.path());
            databases.push(database);
            wires.push(wire);
            executions.push(process);
        }
        let reports = Proxy::to(Way::Unix(cluster.socket()?)).await?;
        let mut environment = wiring.environment("reporting", &reporting_at, Some(&reports));
        environment.push(own("WFP_EXECUTION_ADDR", &addresses[2]));
        let names = ("reporting", "reporting");
        let mut reporting = Process::new(names, reporting_at.clone(), environment, folder.path());
        let environment = wiring.environment("catalog", &catalog_at, None);
        let names = ("catalog", "catalog");
        let mut catalog = Process::new(names, catalog_at.clone(), environment, folder.path());

        // It makes the keys that the others read.
        catalog.start()?;
        catalog.serving().await?;
        reporting.start()?;
        for execution in &mut executions {
            execution.start()?;
        }
        for execution in &executions {
            execution.serving().await?;
        }
        reporting.serving().await?;
        let admin = cluster.admin(database)?;
        crate::audit::watch(&admin).await?;
        let sessions = Sessions::begin(&catalog_at, &addresses[2..], &reporting_at).await?;
        Ok(Self {
            cluster: Arc::clone(cluster),
            database: database.to_owned(),
            admin,
            catalog,
            executions,
            reporting,
            databases,
            reports,
            wires,
            sessions,
            _folder: folder,
        })
    }

    /// All processes, with their names.
    pub fn processes(&self) -> impl Iterator<Item = (String, &Process)> {
        let executions = self.executions.iter().enumerate();
        let executions = executions.map(|(n, process)| (format!("execution {n}"), process));
        let others = [("catalog", &self.catalog), ("reporting", &self.reporting)];
        executions.chain(others.map(|(name, process)| (name.to_owned(), process)))
    }

    /// Ends everything and forgets the database.
    pub async fn strike(self) -> anyhow::Result<()> {
        let (cluster, database) = (Arc::clone(&self.cluster), self.database.clone());
        self.admin.close().await;
        drop(self);
        cluster.drop_database(&database).await
    }
}

struct Wiring<'a> {
    cluster: &'a Cluster,
    database: &'a str,
    folder: PathBuf,
    catalog: String,
}

impl Wiring<'_> {
    /// What a service is told.
    fn environment(
        &self,
        service: &str,
        address: &str,
        proxy: Option<&Proxy>,
    ) -> Vec<(String, String)> {
        let url = match proxy {
            None => self.cluster.url(service, self.database),
            Some(proxy) => format!(
                "postgres://wfp_{service}@{}/{}",
                proxy.address, self.database
            ),
        };
        let word = service.to_uppercase();
        let mut environment = vec![
            own("WFP_DATA_DIR", &self.folder.display()),
            own("WFP_CATALOG_ADDR", &self.catalog),
            own("WFP_ADMIN_EMAIL", &ADMIN),
            own("WFP_ADMIN_PASSWORD", &PASSWORD),
        ];
        environment.push((format!("WFP_{word}_DATABASE_URL"), url));
        if service != "catalog" {
            environment.push((format!("WFP_{word}_ADDR"), address.to_owned()));
        }
        environment
    }
}

fn own(name: &str, value: &dyn std::fmt::Display) -> (String, String) {
    (name.to_owned(), value.to_string())
}

/// Below those that the system gives to whoever connects, and never the same twice: stages are set side by side.
fn free_addresses(count: usize) -> anyhow::Result<Vec<String>> {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 15_000;
    const ALL: u32 = 17_000;
    let mut free = Vec::new();
    while free.len() < count {
        let tried = TRIED.fetch_add(1, Ordering::Relaxed);
        anyhow::ensure!(tried < ALL, "there are no free ports");
        let port = FIRST + ((std::process::id() % ALL) * 97 + tried) % ALL;
        let address = format!("127.0.0.1:{port}");
        if TcpListener::bind(&address).is_ok() {
            free.push(address);
        }
    }
    Ok(free)
}
