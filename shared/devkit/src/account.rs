//! Whom the server runs as, and which folder that user can reach.
//!
//! Invariant: PostgreSQL is never started as root, and never in a folder that its user cannot search.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use uuid::Uuid;

/// Survives restarts and is searchable by everybody, unlike the folders below /root.
const PUBLIC: &str = "/var/lib/workflow-platform";

#[derive(Clone, Debug)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// None when we are not root: then the server runs as we do. A cluster that exists keeps its owner, who
    /// is the only one that PostgreSQL accepts.
    pub fn for_server(cluster: &Path) -> Option<Account> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        if let Some(meta) = fs::metadata(cluster).ok().filter(|meta| meta.uid() != 0) {
            let (uid, gid) = (meta.uid(), meta.gid());
            return Some(Account {
                name: uid.to_string(),
                uid,
                gid,
            });
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let known = ["postgres", "nobody"];
        let found = known.iter().find_map(|name| find_user(&users, name));
        found.or(Some(Account {
            name: "nobody".into(),
            uid: 65534,
            gid: 65534,
        }))
    }

    /// Whether this user may pass through `path` and every folder above it, by their mode bits.
    pub fn can_search(&self, path: &Path) -> bool {
        path.ancestors()
            .filter(|folder| !folder.as_os_str().is_empty())
            .all(|folder| {
                let Ok(meta) = fs::metadata(folder) else {
                    return false;
                };
                let needed = if meta.uid() == self.uid {
                    0o100
                } else if meta.gid() == self.gid {
                    0o010
                } else {
                    0o001
                };
                meta.mode() & needed != 0
            })
    }
}

fn find_user(users: &str, name: &str) -> Option<Account> {
    let line = users
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    let uid = fields.next()?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(Account {
        name: name.into(),
        uid,
        gid,
    })
}

/// Makes `command` run as `account`, away from our working folder, which that user may not be able to enter.
pub fn run_as(command: &mut Command, account: Option<&Account>) {
    command.current_dir("/");
    for (name, _) in std::env::vars_os() {
        // PGDATA, PGPORT, PGOPTIONS and the like belong to another server.
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
}

/// Makes the folder if it is missing; others may pass through it but not list it.
pub fn make_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(path)
        .with_context(|| format!("cannot make the folder {}", path.display()))
}

/// Where the server of this data folder lives: the data folder itself, or, when the server's user cannot get
/// there, a public folder that depends only on the data folder's path and is linked from it.
pub fn home(data: &Path, account: Option<&Account>, say: &dyn Fn(&str)) -> Result<PathBuf> {
    make_folder(data)?;
    let data = data.canonicalize()?;
    let Some(account) = account else {
        return Ok(data);
    };
    let link = data.join("postgres");
    if let Ok(target) = fs::read_link(&link) {
        let home = target
            .parent()
            .with_context(|| format!("{} points nowhere", link.display()))?;
        make_folder(home)?;
        return Ok(home.to_owned());
    }
    if account.can_search(&data) {
        return Ok(data);
    }
    if link.exists() {
        bail!(
            "the database lies in {}, where user {} (root must not run PostgreSQL) cannot get to; \
             let others search the folders above it (chmod o+x) or move the data folder",
            link.display(),
            account.name
        );
    }
    let name = Uuid::new_v5(&Uuid::NAMESPACE_URL, data.as_os_str().as_encoded_bytes());
    let home = Path::new(PUBLIC).join(name.simple().to_string());
    make_folder(&home)?;
    set_aside(&home.join("postgres"), say)?;
    symlink(home.join("postgres"), &link)
        .with_context(|| format!("cannot make the link {}", link.display()))?;
    say(&format!(
        "root must not run PostgreSQL, and user {} cannot get to {}: the database goes to {} (linked from there)",
        account.name,
        data.display(),
        home.display()
    ));
    Ok(home)
}

/// A database here without a link to it belonged to a data folder that somebody has deleted since. Its keys are
/// gone with that folder, so it cannot be used; it is not ours to destroy either.
fn set_aside(cluster: &Path, say: &dyn Fn(&str)) -> Result<()> {
    if !cluster.exists() {
        return Ok(());
    }
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |age| age.as_secs());
    let aside = cluster.with_extension(format!("before-{seconds}"));
    fs::rename(cluster, &aside)?;
    say(&format!(
        "the database of an earlier data folder was kept as {}",
        aside.display()
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn passwd_lines_are_found_by_whole_name() {
        let users = "root:x:0:0:root:/root:/bin/sh\npostgresql:x:7:7::/:\npostgres:x:101:104:x:/var/lib:/bin/sh\n";
        let found = find_user(users, "postgres").expect("is listed");
        assert_eq!((found.uid, found.gid), (101, 104));
        assert!(find_user(users, "nobody").is_none());
    }

    #[test]
    fn folder_closed_to_others_is_not_searchable_by_a_stranger() {
        let folder = crate::Folder::new();
        let closed = folder.path().join("closed/inner");
        fs::create_dir_all(&closed).unwrap();
        let stranger = Account {
            name: "stranger".into(),
            uid: 60001,
            gid: 60001,
        };
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(stranger.can_search(&closed));
        let parent = closed.parent().unwrap();
        fs::set_permissions(parent, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!stranger.can_search(&closed));
    }
}
