//! How the first administrator gets in. There is no default password: without one from the operator, a random
//! one is made.
//!
//! Invariant: a made password is in its file before the catalog can have seen it, so no crash locks everybody out.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use proto::catalog::v1::auth_service_client::AuthServiceClient;
use proto::catalog::v1::{LoginRequest, LogoutRequest};
use tonic::{Code, Request};

/// 32 letters without those that look alike: 5 bits each, 100 in all.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const LENGTH: usize = 20;

/// With which the catalog makes the first administrator, if it has no user yet.
#[derive(Clone)]
pub struct Admin {
    pub email: String,
    pub password: String,
    /// Where the password is kept; None if the operator gave it.
    pub file: Option<PathBuf>,
    /// Whether it was made by this start.
    pub is_new: bool,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin")
            .field("email", &self.email)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Admin {
    /// What the operator gave or the file keeps, else a new password in a new file.
    pub fn prepare(data: &Path, email: &str, given: Option<&str>) -> anyhow::Result<Admin> {
        if let Some(known) = Admin::known(data, email, given)? {
            return Ok(known);
        }
        let file = password_file(data);
        let password = make(&file)?;
        Ok(Admin {
            email: email.to_owned(),
            password,
            file: Some(file),
            is_new: true,
        })
    }

    fn known(data: &Path, email: &str, given: Option<&str>) -> anyhow::Result<Option<Admin>> {
        let (password, file) = match given {
            Some(password) => (password.to_owned(), None),
            None => match std::fs::read_to_string(password_file(data)) {
                Ok(text) => (text.trim().to_owned(), Some(password_file(data))),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("cannot read {}", password_file(data).display()));
                }
            },
        };
        Ok(Some(Admin {
            email: email.to_owned(),
            password,
            file,
            is_new: false,
        }))
    }

    /// What lets one in at a catalog that runs already; None if nothing does.
    pub async fn find(
        data: &Path,
        email: &str,
        given: Option<&str>,
        catalog: &str,
    ) -> anyhow::Result<Option<Admin>> {
        match Admin::known(data, email, given)? {
            Some(known) => known.verified(catalog).await,
            None => Ok(None),
        }
    }

    /// None if the catalog does not take it: it had users before, or the password was changed. A file that
    /// was made in vain is removed.
    pub async fn verified(self, catalog: &str) -> anyhow::Result<Option<Admin>> {
        let mut auth = AuthServiceClient::connect(format!("http://{catalog}")).await?;
        let request = LoginRequest {
            email: self.email.clone(),
            password: self.password.clone(),
        };
        match auth.login(request).await {
            Ok(answer) => {
                let bearer = format!("Bearer {}", answer.get_ref().access_token);
                let mut request = Request::new(LogoutRequest::default());
                let header = bearer.parse().context("a token is no header")?;
                request.metadata_mut().insert("authorization", header);
                // A start is no sign-in: a session for each would end those that are in use. One that is
                // left does no harm.
                let _ = auth.logout(request).await;
                Ok(Some(self))
            }
            Err(status) if status.code() == Code::Unauthenticated => {
                if let Some(file) = self.file.filter(|_| self.is_new) {
                    std::fs::remove_file(file)?;
                }
                Ok(None)
            }
            // Too many have failed to sign in lately, it may be with a password in the file that is no longer
            // the one: no reason not to run.
            Err(status) if status.code() == Code::ResourceExhausted => Ok(None),
            Err(status) => Err(status.into()),
        }
    }
}

fn password_file(data: &Path) -> PathBuf {
    data.join("admin-password")
}

fn make(file: &Path) -> anyhow::Result<String> {
    let mut random = [0; LENGTH];
    getrandom::fill(&mut random).context("the system has no random numbers")?;
    let password: String = random
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect();
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut opened = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .with_context(|| format!("cannot make {}", file.display()))?;
    writeln!(opened, "{password}")?;
    opened.sync_all()?;
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn made_password_is_kept_for_its_owner_and_found_again() {
        let folder = devkit::Folder::new();
        let first = Admin::prepare(folder.path(), "a@b", None).unwrap();
        let again = Admin::prepare(folder.path(), "a@b", None).unwrap();
        assert!(first.is_new && !again.is_new);
        assert_eq!(
            (first.password.len(), &first.password),
            (LENGTH, &again.password)
        );
        let mode = first.file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn given_password_is_not_written_down() {
        let folder = devkit::Folder::new();
        let admin = Admin::prepare(folder.path(), "a@b", Some("from the operator")).unwrap();
        assert_eq!(admin.password, "from the operator");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
