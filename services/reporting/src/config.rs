//! What this service is told at start. Invariant: nothing else in this crate reads the environment.

use chassis::config::Common;

/// Settings of the reporting service.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    #[command(flatten)]
    pub common: Common,

    /// Database URL of this service, as role wfp_reporting. Default: DATABASE_URL, with SET ROLE.
    #[arg(
        long = "reporting-database-url",
        env = "WFP_REPORTING_DATABASE_URL",
        hide_env_values = true
    )]
    pub database_url: Option<String>,

    /// Address to serve on.
    #[arg(
        long = "reporting-addr",
        env = "WFP_REPORTING_ADDR",
        default_value = "127.0.0.1:50053"
    )]
    pub addr: String,

    /// Address of the catalog service: it tells names, and the keys of access tokens.
    #[arg(
        long = "catalog-addr",
        env = "WFP_CATALOG_ADDR",
        default_value = "127.0.0.1:50051"
    )]
    pub catalog_addr: String,

    /// Address of the execution service: it tells histories.
    #[arg(
        long = "execution-addr",
        env = "WFP_EXECUTION_ADDR",
        default_value = "127.0.0.1:50052"
    )]
    pub execution_addr: String,

    /// Database connections at most, beside the one by which the service watches the database.
    #[arg(
        long = "reporting-connections",
        env = "WFP_REPORTING_CONNECTIONS",
        default_value_t = 8
    )]
    pub connections: u32,
}
