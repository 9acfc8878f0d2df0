//! A PostgreSQL of our own in a data folder: no installation, no port, no password.
//!
//! Invariant: whoever holds the lock file of a folder is the only one who starts or stops servers there.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tokio::sync::watch;

use crate::account::{self, Account};
use crate::cluster::{self, Cluster, Durability, SUPERUSER};
use crate::keeper::Keeper;
use crate::{binaries, fetch};

#[derive(Clone, Debug)]
pub struct Options {
    pub folder: PathBuf,
    pub durability: Durability,
    /// Whether PostgreSQL may be downloaded if this machine has none.
    pub fetch: bool,
}

#[derive(Debug)]
pub struct Postgres {
    keeper: Keeper,
    cluster: Cluster,
    home: PathBuf,
    /// Given back after the server has gone.
    _lock: File,
}

impl Postgres {
    /// Blocks for 2 s the first time, then for 0.1 s; `say` gets a sentence about whatever is out of the ordinary.
    pub fn start(options: &Options, say: &dyn Fn(&str)) -> Result<Postgres> {
        let account = Account::for_server(&options.folder.join("postgres"));
        let home = account::home(&options.folder, account.as_ref(), say)?;
        let lock = lock(&home)?;
        let data = home.join("postgres");
        let own = fetch::own_programs(&home);
        let wanted = cluster::data_version(&data)?;
        let binaries = match binaries::find(&own, wanted, account.as_ref())? {
            Some(binaries) => binaries,
            None => {
                fetch::fetch(&home, options.fetch, say)?;
                binaries::find(&own, wanted, account.as_ref())?
                    .context("what was fetched does not run here")?
            }
        };
        let cluster = Cluster {
            socket: cluster::socket_folder(&data),
            log: home.join("postgres.log"),
            durability: options.durability,
            data,
            account,
            binaries,
        };
        cluster.stop_left_over(say)?;
        cluster.make()?;
        cluster.make_socket_folder()?;
        let keeper = Keeper::start(cluster.clone())?;
        Ok(Postgres {
            keeper,
            cluster,
            home,
            _lock: lock,
        })
    }

    /// For the owner of everything in it.
    pub fn url(&self, database: &str) -> String {
        self.url_as(SUPERUSER, database)
    }

    pub fn url_as(&self, role: &str, database: &str) -> String {
        format!(
            "postgres://{role}@localhost/{database}?host={}",
            self.cluster.socket.display()
        )
    }

    /// The server's process; None in the moment between its death and its next start.
    pub fn pid(&self) -> Option<u32> {
        self.keeper.pid()
    }

    /// The folder that holds the cluster: the data folder or the public one in its place.
    pub fn home(&self) -> &Path {
        &self.home
    }

    pub fn log(&self) -> &Path {
        &self.cluster.log
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.cluster.socket
    }

    /// Turns into the reason when the server could not be kept alive.
    pub fn lost(&self) -> watch::Receiver<Option<String>> {
        self.keeper.lost()
    }

    /// Blocks until the server has written everything and gone; dropping does the same.
    pub fn stop(self) {}
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.keeper.stop();
        let _ = std::fs::remove_dir(&self.cluster.socket);
    }
}

fn lock(home: &Path) -> Result<File> {
    let path = home.join("lock");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            bail!(
                "{} is in use by process {}; stop that one, or set WFP_DATA_DIR to another folder",
                home.display(),
                holder.trim()
            );
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())?;
    Ok(file)
}
