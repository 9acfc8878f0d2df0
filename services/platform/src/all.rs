//! All three services, and if nobody names a server a PostgreSQL, in this process: the same code and the same
//! gRPC between them as in three.
//!
//! Invariant: nothing runs half. Whatever part ends takes the others with it, and the database goes last.

use std::time::Duration;

use anyhow::{Context, bail};
use chassis::{BoxFuture, Shutdown};
use devkit::{Durability, Options, Postgres};
use tokio::task::JoinSet;

use crate::admin::Admin;
use crate::config::AllConfig;
use crate::health;
use crate::services::{Addresses, Ended, Listeners, Wiring, describe};

/// From the first line to "serving", migrations of a large installation included.
const START: Duration = Duration::from_secs(600);

/// Somebody asked it to stop before it served; no failure.
#[derive(Debug, thiserror::Error)]
#[error("stopped while starting")]
pub struct Stopped;

/// The platform, serving.
#[derive(Debug)]
pub struct Running {
    pub addresses: Addresses,
    /// None if what we know does not let one in: an administrator was there before, or has another password now.
    pub admin: Option<Admin>,
    /// With the rights of the private server's owner; None if the server is somebody else's.
    pub private_database_url: Option<String>,
    services: JoinSet<Ended>,
    shutdown: Shutdown,
    postgres: Option<Postgres>,
}

/// Returns when all three serve. Cancelling `shutdown.soft` stops them; so does `Running::stop`.
pub fn start(config: AllConfig, shutdown: Shutdown) -> BoxFuture<'static, anyhow::Result<Running>> {
    Box::pin(started(config, shutdown))
}

async fn started(config: AllConfig, shutdown: Shutdown) -> anyhow::Result<Running> {
    let listeners = Listeners::bind(&config).await?;
    let addresses = listeners.addresses()?;
    let (postgres, url) = database(&config).await?;
    let admin = Admin::prepare(
        &config.common.data_dir,
        &config.admin_email,
        config.given_password(),
    )?;
    chassis::bootstrap::bootstrap(&url)
        .await
        .context("preparing the database")?;
    let wiring = Wiring {
        config: &config,
        admin: &admin,
        url: &url,
        shutdown: &shutdown,
    };
    let mut running = Running {
        addresses,
        services: wiring.spawn(listeners)?,
        admin: None,
        private_database_url: postgres.as_ref().map(|postgres| postgres.url("postgres")),
        shutdown,
        postgres,
    };
    match running.until_serving(admin).await {
        Ok(admin) => {
            running.admin = admin;
            Ok(running)
        }
        Err(error) => {
            running.shutdown.soft.cancel();
            // Why a service ended says more than that it did.
            Err(running.finish().await.err().unwrap_or(error))
        }
    }
}

impl Running {
    async fn until_serving(&mut self, admin: Admin) -> anyhow::Result<Option<Admin>> {
        let Addresses {
            catalog,
            execution,
            reporting,
        } = self.addresses;
        let (catalog, execution, reporting) = (
            catalog.to_string(),
            execution.to_string(),
            reporting.to_string(),
        );
        let serving = async {
            tokio::join!(
                health::until_serving(&catalog),
                health::until_serving(&execution),
                health::until_serving(&reporting)
            )
        };
        tokio::select! {
            biased;
            // A service that ends once it was told to has done nothing wrong.
            () = self.shutdown.soft.cancelled() => return Err(Stopped.into()),
            _ = serving => {}
            Some(ended) = self.services.join_next() => return Err(describe(ended)),
            () = tokio::time::sleep(START) => bail!("the services do not get ready"),
        }
        admin.verified(&catalog).await
    }

    /// None if the server is somebody else's, or is being started again.
    pub fn private_database_pid(&self) -> Option<u32> {
        self.postgres.as_ref().and_then(Postgres::pid)
    }

    /// Runs until something ends: a signal (then all is well), a service, the database.
    pub async fn wait(mut self) -> anyhow::Result<()> {
        let mut lost = self.postgres.as_ref().map(Postgres::lost);
        let gone = async {
            match &mut lost {
                Some(lost) => lost
                    .wait_for(Option::is_some)
                    .await
                    .ok()
                    .and_then(|reason| reason.clone()),
                None => std::future::pending().await,
            }
        };
        let failure = tokio::select! {
            biased;
            () = self.shutdown.soft.cancelled() => None,
            Some(ended) = self.services.join_next() => Some(describe(ended)),
            reason = gone => Some(anyhow::anyhow!(reason.unwrap_or_default())),
        };
        let Some(error) = failure else {
            return self.finish().await;
        };
        self.shutdown.fail(format!("{error:#}"));
        // What else goes wrong now is only its consequence.
        let _ = self.finish().await;
        Err(error)
    }

    /// Drains, then stops the database.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.soft.cancel();
        self.finish().await
    }

    async fn finish(mut self) -> anyhow::Result<()> {
        let mut first = None;
        while let Some(ended) = self.services.join_next().await {
            if !matches!(ended, Ok((_, Ok(())))) {
                first.get_or_insert(describe(ended));
            }
        }
        if let Some(postgres) = self.postgres.take() {
            tokio::task::spawn_blocking(|| postgres.stop()).await?;
        }
        self.shutdown.outcome()?;
        first.map_or(Ok(()), Err)
    }
}

/// The server that was named, else our own, and the URL to it.
async fn database(config: &AllConfig) -> anyhow::Result<(Option<Postgres>, String)> {
    if let Some(url) = config.database_url() {
        return Ok((None, url.to_owned()));
    }
    let options = Options {
        folder: config.common.data_dir.clone(),
        durability: Durability::Durable,
        fetch: !config.no_fetch,
    };
    let say = |sentence: &str| eprintln!("{sentence}");
    let postgres = tokio::task::spawn_blocking(move || Postgres::start(&options, &say)).await??;
    let url = postgres.url("postgres");
    Ok((Some(postgres), url))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    /// Which of two things that have both happened is seen first is chance, unless it is said.
    #[tokio::test]
    async fn services_that_end_when_told_to_are_no_failure() {
        for _ in 0..64 {
            let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
            let mut services = JoinSet::new();
            services.spawn(async { ("catalog", Ok(())) });
            let running = Running {
                addresses: Addresses {
                    catalog: nowhere,
                    execution: nowhere,
                    reporting: nowhere,
                },
                admin: None,
                private_database_url: None,
                services,
                shutdown: Shutdown::default(),
                postgres: None,
            };
            tokio::task::yield_now().await;
            running.shutdown.soft.cancel();
            running.wait().await.expect("it was told to stop");
        }
    }
}
