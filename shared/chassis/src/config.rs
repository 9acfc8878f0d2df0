//! What every service is told at start, by flags or by environment. Nothing else reads the environment.

use std::fmt;
use std::path::PathBuf;

use crate::db::DbConfig;
use crate::error::{Error, Result};

/// Settings that the services of one installation share.
#[derive(Clone, clap::Args)]
pub struct Common {
    /// Folder for what the platform makes itself: key files and, without DATABASE_URL, the database.
    #[arg(long, env = "WFP_DATA_DIR", default_value = ".workflow-platform")]
    pub data_dir: PathBuf,

    /// PostgreSQL server to use, e.g. postgres://user:password@host/database.
    // The name of its own is for clap: a service has a `database_url`, too.
    #[arg(
        id = "shared_database_url",
        long = "database-url",
        env = "DATABASE_URL",
        hide_env_values = true
    )]
    pub database_url: Option<String>,

    /// Key with which services recognise each other; the same for all of them. Made if it is missing.
    /// Default: service.key in the data folder.
    #[arg(long, env = "WFP_SERVICE_KEY_FILE")]
    pub service_key_file: Option<PathBuf>,
}

impl Common {
    pub fn service_key_file(&self) -> PathBuf {
        self.service_key_file
            .clone()
            .unwrap_or_else(|| self.data_dir.join("service.key"))
    }

    /// Where a service finds its database: its own URL, else the shared one in its own role.
    pub fn database(&self, own_url: Option<&str>, role: &'static str) -> Result<DbConfig> {
        let url = own_url.or(self.database_url.as_deref()).ok_or_else(|| {
            Error::precondition("DATABASE_URL_MISSING", "DATABASE_URL is not set")
        })?;
        Ok(DbConfig::new(url, role))
    }
}

/// Without the database's password.
impl fmt::Debug for Common {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Common")
            .field("data_dir", &self.data_dir)
            .field("service_key_file", &self.service_key_file)
            .finish_non_exhaustive()
    }
}
