//! Finds PostgreSQL's programs on this machine.
//!
//! Invariant: what is returned can be run by the server's user and fits the data, if there are any.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::account::Account;

/// Names the folder to use; the word `own` means "only what this program fetched itself".
pub const VARIABLE: &str = "WFP_POSTGRES_BIN_DIR";

#[derive(Clone, Debug)]
pub struct Binaries {
    pub folder: PathBuf,
    pub major: u32,
}

/// Looks in the order: the environment, `pg_config`, the systems' usual places (newest first), `own`.
/// With `wanted` only that major version will do, and finding only others is an error.
pub fn find(
    own: &Path,
    wanted: Option<u32>,
    account: Option<&Account>,
) -> Result<Option<Binaries>> {
    let chosen = std::env::var(VARIABLE)
        .ok()
        .filter(|value| !value.is_empty());
    let folders = match chosen.as_deref() {
        None => usual_places(own),
        Some("own") => vec![own.to_owned()],
        Some(folder) => {
            probe(Path::new(folder), account).with_context(|| {
                format!("{VARIABLE}={folder}: no usable initdb and postgres there")
            })?;
            vec![PathBuf::from(folder)]
        }
    };
    let found: Vec<Binaries> = folders
        .iter()
        .filter_map(|folder| probe(folder, account))
        .collect();
    let Some(wanted) = wanted else {
        return Ok(found.into_iter().next());
    };
    if let Some(fitting) = found.iter().find(|binaries| binaries.major == wanted) {
        return Ok(Some(fitting.clone()));
    }
    if let Some(other) = found.first() {
        bail!(
            "the data were written by PostgreSQL {wanted}, but {} holds version {}; \
             install PostgreSQL {wanted}, or name its folder in {VARIABLE}, or take another data folder",
            other.folder.display(),
            other.major
        );
    }
    Ok(None)
}

fn probe(folder: &Path, account: Option<&Account>) -> Option<Binaries> {
    let reachable = account.is_none_or(|account| account.can_search(folder));
    if !reachable || !folder.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(folder.join("postgres"))
        .arg("--version")
        .output()
        .ok()?;
    let major = major_version(&String::from_utf8_lossy(&output.stdout))?;
    Some(Binaries {
        folder: folder.to_owned(),
        major,
    })
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` is 15, and so is `15beta2`.
fn major_version(text: &str) -> Option<u32> {
    let number = text
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    number
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

fn usual_places(own: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        folders.push(PathBuf::from(
            String::from_utf8_lossy(&output.stdout).trim(),
        ));
    }
    // Debian, RHEL, Alpine, Homebrew on both kinds of processor.
    for (parent, prefix) in [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/usr/libexec", "postgresql"),
        ("/opt/homebrew/opt", "postgresql@"),
        ("/usr/local/opt", "postgresql@"),
    ] {
        folders.extend(newest_first(Path::new(parent), prefix));
    }
    folders.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    folders.push(own.to_owned());
    folders
}

fn newest_first(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut versions: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix(prefix)?;
            Some((major_version(version)?, entry.path()))
        })
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    // Alpine keeps the programs in the folder itself.
    versions
        .into_iter()
        .flat_map(|(_, path)| [path.join("bin"), path])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_version_is_read_from_what_distributions_print() {
        for (text, major) in [
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n",
                Some(15),
            ),
            ("postgres (PostgreSQL) 19beta2", Some(19)),
            ("17", Some(17)),
            ("", None),
        ] {
            assert_eq!(major_version(text), major, "{text}");
        }
    }

    #[test]
    fn newer_versions_come_first_and_other_folders_are_passed_over() {
        let folder = crate::Folder::new();
        for name in ["9", "15", "18", "common"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let found = newest_first(folder.path(), "");
        let names: Vec<_> = found
            .iter()
            .step_by(2)
            .map(|path| path.parent().unwrap())
            .collect();
        assert_eq!(
            names,
            ["18", "15", "9"].map(|name| folder.path().join(name))
        );
    }
}
