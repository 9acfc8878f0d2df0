//! The command line: which part of the platform this process is.
//!
//! Invariant: the exit code tells a signal (0) from a failure (1) from a mistake in the configuration (64).

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use chassis::Shutdown;
use chassis::telemetry::{self, Logs};
use clap::{Args, Parser, Subcommand};
use tokio::net::TcpListener;
use tonic::Code;

use crate::AllConfig;
use crate::admin::Admin;
use crate::all;
use crate::listen::listen;
use crate::{bench, demo, health, screen};

/// What sysexits.h calls EX_USAGE.
const BAD_CONFIGURATION: u8 = 64;

/// Executes workflows. Without a command: all three services in one process, with a PostgreSQL of their own
/// unless DATABASE_URL names a server.
#[derive(Debug, Parser)]
#[command(
    name = "workflow-platform",
    version,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    all: AllConfig,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes the roles and schemas that the services need, with the rights of DATABASE_URL's user.
    Bootstrap(BootstrapConfig),
    /// Serves users, clients and workflows.
    Catalog(catalog::Config),
    /// Serves executions, tasks and jobs.
    Execution(execution::Config),
    /// Serves reports.
    Reporting(reporting::Config),
    /// Runs workflows on a running platform and shows the reports.
    Demo(demo::Args),
    /// Measures the engine on a database of its own, beside what the database can do without it; or the catalog, or reports.
    Bench(bench::Args),
    /// Fails unless the service at an address serves.
    Health(health::Args),
}

#[derive(Args)]
struct BootstrapConfig {
    /// PostgreSQL server, with a user who may create roles and schemas.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
}

/// Without the database's password.
impl std::fmt::Debug for BootstrapConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BootstrapConfig").finish_non_exhaustive()
    }
}

pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refusal) => {
            // Help and version come this way too, and are no mistakes.
            let code = if refusal.use_stderr() {
                BAD_CONFIGURATION
            } else {
                0
            };
            let _ = refusal.print();
            return ExitCode::from(code);
        }
    };
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .and_then(|runtime| runtime.block_on(run(cli)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "workflow-platform: {error:#}");
            if is_configuration(&error) {
                ExitCode::from(BAD_CONFIGURATION)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        None => run_all(cli.all).await,
        Some(Command::Bootstrap(config)) => {
            Ok(chassis::bootstrap::bootstrap(&config.database_url).await?)
        }
        Some(Command::Catalog(mut config)) => {
            let address = config.addr.clone();
            let given = config
                .admin_password
                .as_deref()
                .filter(|password| !password.is_empty());
            let admin = Admin::prepare(&config.common.data_dir, &config.admin_email, given)?;
            config.admin_password = Some(admin.password);
            serve("catalog", &address, async |listener, shutdown| {
                catalog::run(config, listener, shutdown).await
            })
            .await
        }
        Some(Command::Execution(config)) => {
            let address = config.addr.clone();
            serve("execution", &address, async |listener, shutdown| {
                execution::run(config, listener, shutdown).await
            })
            .await
        }
        Some(Command::Reporting(config)) => {
            let address = config.addr.clone();
            serve("reporting", &address, async |listener, shutdown| {
                reporting::run(config, listener, shutdown).await
            })
            .await
        }
        Some(Command::Demo(args)) => demo::run(&args).await,
        Some(Command::Bench(args)) => bench::run(args).await,
        Some(Command::Health(args)) => health::run(&args).await,
    }
}

async fn run_all(config: AllConfig) -> anyhow::Result<()> {
    let _telemetry = telemetry::init("workflow-platform", Logs::TERMINAL)?;
    let shutdown = Shutdown::new();
    shutdown.listen_for_signals()?;
    let folder = config.common.data_dir.clone();
    let running = match all::start(config, shutdown).await {
        Ok(running) => running,
        Err(error) if error.is::<all::Stopped>() => return Ok(()),
        Err(error) => return Err(error),
    };
    std::io::stdout().write_all(screen::render(&running, &folder).as_bytes())?;
    running.wait().await?;
    writeln!(std::io::stderr(), "stopped")?;
    Ok(())
}

/// One service as a process of its own.
async fn serve(
    name: &'static str,
    address: &str,
    run: impl AsyncFnOnce(TcpListener, Shutdown) -> chassis::Result<()>,
) -> anyhow::Result<()> {
    let _telemetry = telemetry::init(name, Logs::SERVICE)?;
    let variable = format!("WFP_{}_ADDR", name.to_uppercase());
    let listener = listen(address, &variable).await?;
    let shutdown = Shutdown::new();
    shutdown.listen_for_signals()?;
    run(listener, shutdown.clone()).await?;
    // A loop that died has stopped it, too.
    Ok(shutdown.outcome()?)
}

/// Whether the operator has to change something, rather than the machine to try again.
fn is_configuration(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let refused = cause
            .downcast_ref::<chassis::Error>()
            .map(chassis::Error::code);
        let unreadable = cause
            .downcast_ref::<std::io::Error>()
            .map(std::io::Error::kind);
        matches!(
            refused,
            Some(Code::FailedPrecondition | Code::InvalidArgument)
        ) || unreadable == Some(std::io::ErrorKind::InvalidInput)
            || cause.is::<clap::Error>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_argument_has_a_name_of_its_own() {
        Cli::command().debug_assert();
    }

    #[test]
    fn refused_setting_is_a_mistake_and_a_crash_is_not() {
        let refused =
            chassis::Error::precondition("DATABASE_URL_MISSING", "DATABASE_URL is not set");
        assert!(is_configuration(
            &anyhow::Error::new(refused).context("catalog")
        ));
        assert!(!is_configuration(&anyhow::anyhow!("PostgreSQL ended")));
    }
}
