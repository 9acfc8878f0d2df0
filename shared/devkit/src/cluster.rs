//! The files of one PostgreSQL cluster: made once, checked at every start.
//!
//! Invariant: a folder named `postgres` is a finished cluster; a half-made one has another name.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use uuid::Uuid;

use crate::account::{Account, run_as};
use crate::binaries::Binaries;

/// The name under which everything is owned; only this machine's user and root can reach the socket.
pub const SUPERUSER: &str = "wfp";

const LOCALE: &str = if cfg!(target_os = "linux") {
    "C.UTF-8"
} else {
    "C"
};

/// A log file this large is started anew, keeping one old one.
const LOG_BYTES: u64 = 16 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// What was committed survives the power cut.
    Durable,
    /// Fast and forgetful.
    Test,
}

impl Durability {
    pub(crate) fn settings(self) -> &'static [&'static str] {
        match self {
            Durability::Durable => &[
                "max_connections=200",
                "shared_buffers=256MB",
                "max_wal_size=4GB",
                "timezone=UTC",
                // Plans here take milliseconds; compiling one takes longer than running it.
                "jit=off",
            ],
            Durability::Test => &[
                "max_connections=400",
                "shared_buffers=128MB",
                "max_wal_size=4GB",
                "timezone=UTC",
                "jit=off",
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
                "autovacuum=off",
            ],
        }
    }
}

#[derive(Clone, Debug)]
pub struct Cluster {
    pub data: PathBuf,
    pub socket: PathBuf,
    pub log: PathBuf,
    pub account: Option<Account>,
    pub binaries: Binaries,
    pub durability: Durability,
}

/// The major version that wrote the data, None if there are none yet.
pub fn data_version(data: &Path) -> Result<Option<u32>> {
    match fs::read_to_string(data.join("PG_VERSION")) {
        Ok(text) => {
            Ok(Some(text.trim().parse().with_context(|| {
                format!("{}/PG_VERSION", data.display())
            })?))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(error).with_context(|| format!("cannot read {}/PG_VERSION", data.display()))
        }
    }
}

impl Cluster {
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.binaries.folder.join(name));
        run_as(&mut command, self.account.as_ref());
        command
    }

    /// Makes the cluster unless there is one. Killed half-way it leaves only a folder that the next try removes.
    pub fn make(&self) -> Result<()> {
        if self.data.join("PG_VERSION").exists() {
            return Ok(());
        }
        let new = self.data.with_extension("new");
        if new.exists() {
            fs::remove_dir_all(&new)?;
        }
        self.make_private(&new)?;
        let mut initdb = self.program("initdb");
        initdb.arg("-D").arg(&new).args([
            "-U",
            SUPERUSER,
            "-E",
            "UTF8",
            "--auth=trust",
            "--data-checksums",
        ]);
        initdb.arg(format!("--locale={LOCALE}"));
        if self.durability == Durability::Test {
            initdb.arg("--no-sync");
        }
        let output = initdb
            .stdin(Stdio::null())
            .output()
            .context("initdb did not start")?;
        if !output.status.success() {
            bail!(
                "initdb failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        fs::rename(&new, &self.data).with_context(|| format!("cannot name {}", self.data.display()))
    }

    /// The socket's folder: its name must stay below the 107 bytes that a socket address may have.
    pub fn make_socket_folder(&self) -> Result<()> {
        let _ = fs::remove_file(self.socket.join(".s.PGSQL.5432"));
        let _ = fs::remove_file(self.socket.join(".s.PGSQL.5432.lock"));
        if let Ok(meta) = fs::symlink_metadata(&self.socket) {
            let owner = self
                .account
                .as_ref()
                .map_or(rustix::process::geteuid().as_raw(), |account| account.uid);
            // Everybody may write to the temp folder: what lies there by this name may be a trap.
            if !meta.is_dir() || meta.uid() != owner {
                bail!(
                    "{} belongs to somebody else; remove it",
                    self.socket.display()
                );
            }
            fs::set_permissions(&self.socket, fs::Permissions::from_mode(0o700))?;
            return Ok(());
        }
        self.make_private(&self.socket)
    }

    fn make_private(&self, folder: &Path) -> Result<()> {
        fs::DirBuilder::new()
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        if let Some(account) = &self.account {
            chown(folder, Some(account.uid), Some(account.gid)).with_context(|| {
                format!("cannot give {} to user {}", folder.display(), account.name)
            })?;
        }
        Ok(())
    }

    /// Stops a server that a killed predecessor of ours left behind. Only the holder of the lock may call this.
    pub fn stop_left_over(&self, say: &dyn Fn(&str)) -> Result<()> {
        let Some(pid) = self.postmaster().map(|(pid, _)| pid) else {
            return Ok(());
        };
        match command_line(pid) {
            None => return Ok(()),
            Some(line) if !line.contains(&*self.data.to_string_lossy()) => {
                // The number was given to another process since; PostgreSQL would take that for its own server.
                return Ok(fs::remove_file(self.data.join("postmaster.pid"))?);
            }
            Some(_) => {}
        }
        say(&format!(
            "stopping a PostgreSQL (process {pid}) that was left over from the last run"
        ));
        for (signal, patience) in [(Signal::INT, 60), (Signal::QUIT, 10), (Signal::KILL, 10)] {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = kill_process(pid, signal);
            }
            let deadline = Instant::now() + Duration::from_secs(patience);
            while Instant::now() < deadline {
                if command_line(pid).is_none() {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        bail!("the left-over PostgreSQL, process {pid}, cannot be stopped")
    }

    /// The process named in postmaster.pid, and whether it says that it takes connections.
    fn postmaster(&self) -> Option<(i32, bool)> {
        let text = fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
        let pid = text.lines().next()?.trim().parse().ok()?;
        Some((
            pid,
            text.lines()
                .nth(7)
                .is_some_and(|word| word.trim() == "ready"),
        ))
    }

    pub fn is_ready(&self, pid: Pid) -> bool {
        self.postmaster() == Some((pid.as_raw_nonzero().get(), true))
            && UnixStream::connect(self.socket.join(".s.PGSQL.5432")).is_ok()
    }

    pub fn open_log(&self) -> Result<fs::File> {
        if fs::metadata(&self.log).is_ok_and(|meta| meta.len() > LOG_BYTES) {
            fs::rename(&self.log, self.log.with_extension("log.old"))?;
        }
        fs::File::options()
            .create(true)
            .append(true)
            // Failed statements are quoted there.
            .mode(0o600)
            .open(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))
    }

    /// The last lines of the server's log: the reason why it did not start is among them.
    pub fn last_words(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = fs::File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(2000)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

/// What a living process runs; None if there is none (a dead one that nobody has reaped has no command line).
fn command_line(pid: i32) -> Option<String> {
    if Path::new("/proc/self/cmdline").exists() {
        let bytes = fs::read(format!("/proc/{pid}/cmdline"))
            .ok()
            .filter(|bytes| !bytes.is_empty())?;
        return Some(String::from_utf8_lossy(&bytes).into_owned());
    }
    let output = Command::new("ps")
        .args(["-o", "command=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Short, and the same for the same data.
pub fn socket_folder(data: &Path) -> PathBuf {
    let name = Uuid::new_v5(&Uuid::NAMESPACE_URL, data.as_os_str().as_encoded_bytes())
        .simple()
        .to_string();
    Path::new("/tmp").join(format!("wfp-{}", &name[..16]))
}
