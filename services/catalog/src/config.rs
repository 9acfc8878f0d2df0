//! What the catalog is told at start. Invariant: nothing else in this crate reads the environment.

use std::fmt;
use std::path::PathBuf;

use chassis::config::Common;

use crate::identity::Proxies;

/// Settings of the catalog.
#[derive(clap::Args)]
pub struct Config {
    #[command(flatten)]
    pub common: Common,

    /// Address to serve on.
    #[arg(
        long = "catalog-addr",
        env = "WFP_CATALOG_ADDR",
        default_value = "127.0.0.1:50051"
    )]
    pub addr: String,

    /// The catalog's own database URL. Default: DATABASE_URL, in the role wfp_catalog.
    #[arg(
        long = "catalog-database-url",
        env = "WFP_CATALOG_DATABASE_URL",
        hide_env_values = true
    )]
    pub database_url: Option<String>,

    /// Key that encrypts signing keys before they are stored. Made if it is missing.
    /// Default: master.key in the data folder.
    #[arg(long, env = "WFP_MASTER_KEY_FILE")]
    pub master_key_file: Option<PathBuf>,

    /// Email address of the first administrator, who is made while there is no user at all.
    #[arg(long, env = "WFP_ADMIN_EMAIL", default_value = "admin@localhost")]
    pub admin_email: String,

    /// Password of the first administrator, 8 to 256 characters. Default: a random one, kept in the file
    /// admin-password of the data folder.
    #[arg(long, env = "WFP_ADMIN_PASSWORD", hide_env_values = true)]
    pub admin_password: Option<String>,

    /// Days for which it is kept who changed what: 1 to 3650.
    #[arg(
        long,
        env = "WFP_AUDIT_DAYS",
        default_value_t = 400,
        value_parser = clap::value_parser!(u16).range(1..=3650)
    )]
    pub audit_days: u16,

    /// Days after which a new key signs access tokens, 1 to 365.
    #[arg(
        long,
        env = "WFP_SIGNING_KEY_DAYS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u16).range(1..=365)
    )]
    pub signing_key_days: u16,

    /// Addresses or networks of proxies, e.g. 192.0.2.1,192.0.2.2, that say in `x-forwarded-for` where a call
    /// comes from: failed logins are counted by that. No client may be among them. Default: none is believed.
    #[arg(
        long,
        env = "WFP_TRUSTED_PROXIES",
        default_value = "",
        hide_default_value = true
    )]
    pub trusted_proxies: Proxies,
}

impl Config {
    pub(crate) fn master_key_file(&self) -> PathBuf {
        (self.master_key_file.clone()).unwrap_or_else(|| self.common.data_dir.join("master.key"))
    }
}

/// Without the passwords.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("common", &self.common)
            .field("master_key_file", &self.master_key_file)
            .field("admin_email", &self.admin_email)
            .field("signing_key_days", &self.signing_key_days)
            .field("trusted_proxies", &self.trusted_proxies)
            .finish_non_exhaustive()
    }
}
