//! The three services as tasks of this process, each given its listener and the others' addresses.
//!
//! Invariant: they know of each other what three processes would know, and nothing more.

use std::net::SocketAddr;

use anyhow::bail;
use chassis::{Error, Shutdown};
use clap::Parser;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};

use crate::admin::Admin;
use crate::config::AllConfig;
use crate::listen::{listen, reachable};

#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub catalog: SocketAddr,
    pub execution: SocketAddr,
    pub reporting: SocketAddr,
}

/// A service's name, and how its `run` ended.
pub type Ended = (&'static str, chassis::Result<()>);

pub struct Listeners {
    catalog: TcpListener,
    execution: TcpListener,
    reporting: TcpListener,
}

impl Listeners {
    /// Says about all that are taken at once.
    pub async fn bind(config: &AllConfig) -> anyhow::Result<Listeners> {
        let bound = tokio::join!(
            listen(&config.catalog_addr, "WFP_CATALOG_ADDR"),
            listen(&config.execution_addr, "WFP_EXECUTION_ADDR"),
            listen(&config.reporting_addr, "WFP_REPORTING_ADDR")
        );
        match bound {
            (Ok(catalog), Ok(execution), Ok(reporting)) => Ok(Listeners {
                catalog,
                execution,
                reporting,
            }),
            (catalog, execution, reporting) => {
                let refusals = [catalog.err(), execution.err(), reporting.err()];
                let lines: Vec<String> = refusals
                    .iter()
                    .flatten()
                    .map(|error| format!("{error:#}"))
                    .collect();
                bail!(lines.join("\n"))
            }
        }
    }

    pub fn addresses(&self) -> anyhow::Result<Addresses> {
        Ok(Addresses {
            catalog: reachable(&self.catalog)?,
            execution: reachable(&self.execution)?,
            reporting: reachable(&self.reporting)?,
        })
    }
}

/// What all three are started with.
pub struct Wiring<'a> {
    pub config: &'a AllConfig,
    pub admin: &'a Admin,
    /// The database of all that are not sent elsewhere.
    pub url: &'a str,
    pub shutdown: &'a Shutdown,
}

impl Wiring<'_> {
    pub fn spawn(&self, listeners: Listeners) -> anyhow::Result<JoinSet<Ended>> {
        let Addresses {
            catalog,
            execution,
            reporting,
        } = listeners.addresses()?;
        let (catalog, execution, reporting) = (
            catalog.to_string(),
            execution.to_string(),
            reporting.to_string(),
        );
        let mut common = self.config.common.clone();
        common.database_url = Some(self.url.to_owned());
        let catalog_config = catalog::Config {
            common: common.clone(),
            addr: catalog.clone(),
            admin_email: self.admin.email.clone(),
            admin_password: Some(self.admin.password.clone()),
            ..from_environment()?
        };
        let execution_config = execution::Config {
            common: common.clone(),
            addr: execution.clone(),
            catalog_addr: catalog.clone(),
            reporting_addr: reporting.clone(),
            ..from_environment()?
        };
        let reporting_config = reporting::Config {
            common,
            addr: reporting,
            catalog_addr: catalog,
            execution_addr: execution,
            ..from_environment()?
        };
        if self.config.database_url().is_none() {
            own_server_has_all([
                ("WFP_CATALOG_DATABASE_URL", &catalog_config.database_url),
                ("WFP_EXECUTION_DATABASE_URL", &execution_config.database_url),
                ("WFP_REPORTING_DATABASE_URL", &reporting_config.database_url),
            ])?;
        }
        let mut services = JoinSet::new();
        let catalog = catalog::run(catalog_config, listeners.catalog, self.shutdown.clone());
        services.spawn(async { ("catalog", catalog.await) });
        let execution =
            execution::run(execution_config, listeners.execution, self.shutdown.clone());
        services.spawn(async { ("execution", execution.await) });
        let reporting =
            reporting::run(reporting_config, listeners.reporting, self.shutdown.clone());
        services.spawn(async { ("reporting", reporting.await) });
        Ok(services)
    }
}

/// Two servers for one installation are a mistake: foreign keys lead from one service's tables to another's.
fn own_server_has_all(urls: [(&str, &Option<String>); 3]) -> chassis::Result<()> {
    match urls.iter().find(|(_, url)| url.is_some()) {
        None => Ok(()),
        Some((variable, _)) => {
            let message = format!("{variable} is set, but DATABASE_URL is not");
            Err(Error::precondition("DATABASE_URL_MISSING", message))
        }
    }
}

/// A service's own settings, as its environment has them.
#[derive(Debug, Parser)]
#[command(name = "workflow-platform")]
struct Alone<C: clap::Args> {
    #[command(flatten)]
    config: C,
}

fn from_environment<C: clap::Args>() -> anyhow::Result<C> {
    Ok(Alone::<C>::try_parse_from(["workflow-platform"])?.config)
}

/// Why this ended, when it should not have.
pub fn describe(ended: Result<Ended, JoinError>) -> anyhow::Error {
    match ended {
        Ok((name, Ok(()))) => anyhow::anyhow!("{name} ended by itself"),
        Ok((name, Err(error))) => anyhow::Error::new(error).context(name),
        Err(panic) => anyhow::Error::new(panic).context("a service died"),
    }
}
