//! The platform as in production: each service a process of its own, on a private PostgreSQL. Invariant: what is
//! measured of a process is measured of that service alone.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use chassis::auth::ServiceKey;
use chassis::client::Peer;
use chassis::config::Common;
use devkit::{Durability, Folder, Options, Postgres};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::admin::Admin;
use crate::client::{Services, Session};
use crate::health;

/// From the first line to "serving".
const START: Duration = Duration::from_secs(60);

/// Three services and their database; dropping it ends all of them.
pub struct Stage {
    services: [Service; 3],
    admin: Admin,
    /// With the rights of the server's owner.
    pub pool: PgPool,
    _postgres: Postgres,
    folder: Folder,
}

/// A service's process.
struct Service {
    name: &'static str,
    address: String,
    process: Child,
}

impl Drop for Service {
    fn drop(&mut self) {
        // It has ended, or does now: the database below it goes next.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Service {
    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(Pid::from_child(&self.process), signal)?)
    }
}

impl Stage {
    pub async fn start() -> anyhow::Result<Self> {
        let folder = Folder::new();
        let options = Options {
            folder: folder.path().to_owned(),
            durability: Durability::Durable,
            fetch: true,
        };
        let say = |sentence: &str| eprintln!("{sentence}");
        let postgres =
            tokio::task::spawn_blocking(move || Postgres::start(&options, &say)).await??;
        let url = postgres.url("postgres");
        chassis::bootstrap::bootstrap(&url).await?;
        let admin = Admin::prepare(folder.path(), "admin@localhost", None)?;
        let addresses = [free_address()?, free_address()?, free_address()?];
        let spawn = |at: usize, name| -> anyhow::Result<Service> {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg(name).stdin(Stdio::null()).stdout(Stdio::null());
            command.env("RUST_LOG", "error");
            command.env("WFP_LOG_FORMAT", "human");
            command.env("WFP_DATA_DIR", folder.path());
            command.env("DATABASE_URL", &url);
            for (variable, address) in ["CATALOG", "EXECUTION", "REPORTING"].iter().zip(&addresses)
            {
                command.env(format!("WFP_{variable}_ADDR"), address);
            }
            Ok(Service {
                name,
                address: addresses[at].clone(),
                process: command.spawn().context(name)?,
            })
        };
        let services = [
            spawn(0, "catalog")?,
            spawn(1, "execution")?,
            spawn(2, "reporting")?,
        ];
        let pool = PgPoolOptions::new().max_connections(8).connect_lazy(&url)?;
        let stage = Self {
            services,
            admin,
            pool,
            _postgres: postgres,
            folder,
        };
        for service in &stage.services {
            let serving = health::until_serving(&service.address);
            let served = tokio::time::timeout(START, serving).await;
            served.with_context(|| format!("{} does not get ready", service.name))?;
        }
        Ok(stage)
    }

    /// Administrators with a connection of their own each, whose tokens are new.
    pub async fn sign_in(&self, connections: usize) -> anyhow::Result<Vec<Session>> {
        let [catalog, execution, reporting] =
            self.services.each_ref().map(|it| it.address.as_str());
        let mut sessions = Vec::new();
        for _ in 0..connections {
            let services = Services::at(catalog, execution, reporting)?;
            let session = services.login(&self.admin.email, &self.admin.password);
            sessions.push(session.await?);
        }
        Ok(sessions)
    }

    /// The way by which the platform's own services reach the execution and the reporting service.
    pub fn peers(&self) -> anyhow::Result<[Peer; 2]> {
        let common = Common {
            data_dir: self.folder.path().to_owned(),
            database_url: None,
            service_key_file: None,
        };
        let key = ServiceKey::load_or_create(&common.service_key_file())?;
        let [_, execution, reporting] = &self.services;
        let to = |it: &Service| Peer::connect_lazy(&it.address, key.clone(), "bench");
        Ok([to(execution)?, to(reporting)?])
    }

    /// Lets the reporting service stand still, whatever it is at.
    pub fn halt_reporting(&self) -> anyhow::Result<()> {
        self.services[2].signal(Signal::STOP)
    }

    pub fn continue_reporting(&self) -> anyhow::Result<()> {
        self.services[2].signal(Signal::CONT)
    }

    /// The process of the execution service.
    pub fn execution(&self) -> u32 {
        self.services[1].process.id()
    }

    /// Names and processes of all services.
    pub fn processes(&self) -> [(&'static str, u32); 3] {
        self.services
            .each_ref()
            .map(|it| (it.name, it.process.id()))
    }
}

/// Free a moment ago: nobody else is looking for one meanwhile.
fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
