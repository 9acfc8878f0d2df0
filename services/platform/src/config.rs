//! What the all-in-one is told, by flags or by environment.
//!
//! Invariant: with nothing set it runs on this machine, for this machine only.

use std::path::PathBuf;

use chassis::config::Common;

/// What the three together are told; the services' own settings come from their environment.
#[derive(Clone, Debug, clap::Args)]
pub struct AllConfig {
    #[command(flatten)]
    pub common: Common,

    /// Where the catalog listens.
    #[arg(long, env = "WFP_CATALOG_ADDR", default_value = "127.0.0.1:50051", value_parser = address)]
    pub catalog_addr: String,

    /// Where the execution service listens.
    #[arg(long, env = "WFP_EXECUTION_ADDR", default_value = "127.0.0.1:50052", value_parser = address)]
    pub execution_addr: String,

    /// Where the reporting service listens.
    #[arg(long, env = "WFP_REPORTING_ADDR", default_value = "127.0.0.1:50053", value_parser = address)]
    pub reporting_addr: String,

    /// Email address of the first administrator.
    #[arg(long, env = "WFP_ADMIN_EMAIL", default_value = "admin@localhost")]
    pub admin_email: String,

    /// Password of the first administrator. Default: a random one, kept in the file admin-password of the
    /// data folder.
    #[arg(long, env = "WFP_ADMIN_PASSWORD", hide_env_values = true)]
    pub admin_password: Option<String>,

    /// Fail rather than download PostgreSQL when this machine has none and DATABASE_URL is not set.
    #[arg(long, env = "WFP_NO_FETCH", value_parser = clap::builder::FalseyValueParser::new())]
    pub no_fetch: bool,
}

impl AllConfig {
    /// For tests and other guests of a process: ports that are free, and the private PostgreSQL unless a server is
    /// named. `Running::addresses` tells the ports.
    pub fn on_free_ports(data_dir: PathBuf, database_url: Option<String>) -> AllConfig {
        let any = || "127.0.0.1:0".to_owned();
        AllConfig {
            common: Common {
                data_dir,
                database_url,
                service_key_file: None,
            },
            catalog_addr: any(),
            execution_addr: any(),
            reporting_addr: any(),
            admin_email: "admin@localhost".into(),
            admin_password: None,
            no_fetch: false,
        }
    }

    /// The server to use; an empty variable is as good as none.
    pub(crate) fn database_url(&self) -> Option<&str> {
        let url = self.common.database_url.as_deref();
        url.filter(|url| !url.is_empty())
    }

    /// The operator's password for the first administrator; an empty variable is as good as none.
    pub(crate) fn given_password(&self) -> Option<&str> {
        let password = self.admin_password.as_deref();
        password.filter(|password| !password.is_empty())
    }
}

/// Says what is wrong before anything is started; whether the name exists shows when it is used.
fn address(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or_default();
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err("must be host:port, e.g. 127.0.0.1:50051".into());
    }
    Ok(text.to_owned())
}
