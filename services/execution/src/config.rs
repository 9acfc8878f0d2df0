//! What this service is told at start. Invariant: nothing else in this crate reads the environment.

use chassis::config::Common;

use crate::retention::Policy;

/// Settings of the execution service.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    #[command(flatten)]
    pub common: Common,

    /// Database URL of this service, as role wfp_execution. Default: DATABASE_URL, with SET ROLE.
    #[arg(
        long = "execution-database-url",
        env = "WFP_EXECUTION_DATABASE_URL",
        hide_env_values = true
    )]
    pub database_url: Option<String>,

    /// Address to serve on.
    #[arg(
        long = "execution-addr",
        env = "WFP_EXECUTION_ADDR",
        default_value = "127.0.0.1:50052"
    )]
    pub addr: String,

    /// Address of the catalog service.
    #[arg(
        long = "catalog-addr",
        env = "WFP_CATALOG_ADDR",
        default_value = "127.0.0.1:50051"
    )]
    pub catalog_addr: String,

    /// Address of the reporting service.
    #[arg(
        long = "reporting-addr",
        env = "WFP_REPORTING_ADDR",
        default_value = "127.0.0.1:50053"
    )]
    pub reporting_addr: String,

    /// Database connections at most, beside the one by which the service watches the database.
    #[arg(
        long = "execution-connections",
        env = "WFP_EXECUTION_CONNECTIONS",
        default_value_t = 16
    )]
    pub connections: u32,

    /// Days for which executions are kept after their end, logs included; 0: for ever. Reports stay.
    #[arg(
        long = "retention-days",
        env = "WFP_RETENTION_DAYS",
        default_value_t = 0,
        value_parser = clap::value_parser!(u16).range(0..=36_500)
    )]
    pub retention_days: u16,

    /// The same for stored simulations.
    #[arg(
        long = "simulation-retention-days",
        env = "WFP_SIMULATION_RETENTION_DAYS",
        default_value_t = 7,
        value_parser = clap::value_parser!(u16).range(0..=36_500)
    )]
    pub simulation_retention_days: u16,
}

impl Config {
    pub(crate) fn retention(&self) -> Policy {
        let days = |days: u16| (days > 0).then_some(i32::from(days));
        Policy {
            days: days(self.retention_days),
            simulation_days: days(self.simulation_retention_days),
        }
    }
}
