//! The database server: durable, because its own end is one of the faults. Invariant: every scenario has a
//! database of its own in it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use devkit::{Durability, Folder, Options, Postgres};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};

use super::until;

const START: Duration = Duration::from_secs(300);

pub struct Cluster {
    postgres: Postgres,
    _folder: Folder,
}

impl Cluster {
    pub async fn start() -> anyhow::Result<Self> {
        let folder = Folder::new();
        let options = Options {
            folder: folder.path().to_owned(),
            durability: Durability::Durable,
            fetch: true,
        };
        let started = tokio::task::spawn_blocking(move || {
            Postgres::start(&options, &|line| eprintln!("{line}"))
        });
        Ok(Self {
            postgres: started.await??,
            _folder: folder,
        })
    }

    /// Makes a database, with roles and schemas and nothing in them.
    pub async fn database(&self, name: &str) -> anyhow::Result<()> {
        let mut admin = PgConnection::connect(&self.postgres.url("postgres")).await?;
        let create = format!("create database {name}");
        admin.execute(AssertSqlSafe(create)).await?;
        chassis::bootstrap::bootstrap(&self.postgres.url(name)).await?;
        Ok(())
    }

    pub async fn drop_database(&self, name: &str) -> anyhow::Result<()> {
        let mut admin = PgConnection::connect(&self.postgres.url("postgres")).await?;
        let drop = format!("drop database if exists {name} with (force)");
        admin.execute(AssertSqlSafe(drop)).await?;
        Ok(())
    }

    /// With the rights to see and break everything; by no proxy.
    pub fn admin(&self, database: &str) -> anyhow::Result<PgPool> {
        let pool = PgPoolOptions::new().max_connections(3);
        Ok(pool.connect_lazy(&self.postgres.url(database))?)
    }

    pub fn url(&self, service: &str, database: &str) -> String {
        self.postgres.url_as(&format!("wfp_{service}"), database)
    }

    /// Where its sockets are.
    pub fn socket(&self) -> anyhow::Result<PathBuf> {
        let url = self.postgres.url("postgres");
        let (_, folder) = url.split_once("host=").context("the URL names a folder")?;
        Ok(PathBuf::from(folder).join(".s.PGSQL.5432"))
    }

    /// Kills the server as a power cut would; its keeper starts it again at once.
    pub async fn kill(&self) -> anyhow::Result<()> {
        let old = self.postgres.pid().context("the server runs")?;
        let pid = Pid::from_raw(old.try_into()?).context("it has a number")?;
        kill_process(pid, Signal::KILL)?;
        until("PostgreSQL is back", START, async || {
            if self.postgres.pid().is_none_or(|pid| pid == old) {
                return Ok(false);
            }
            Ok(PgConnection::connect(&self.postgres.url("postgres"))
                .await
                .is_ok())
        })
        .await
    }
}
