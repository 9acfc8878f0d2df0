//! What this service is told at start. Invariant: nothing else in this crate reads the environment.

use chassis::config::Common;

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

    /// Database connections at most.
    #[arg(
        long = "execution-connections",
        env = "WFP_EXECUTION_CONNECTIONS",
        default_value_t = 16
    )]
    pub connections: u32,
}
