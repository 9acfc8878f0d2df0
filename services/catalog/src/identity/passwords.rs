//! Hashes and checks passwords with argon2id. Invariant: never more at once than the processor has room
//! for, and never on a thread that serves calls — each check takes 19 MiB and tens of milliseconds.

use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use chassis::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Checks that may wait for their turn: more would be answered after their callers gave up.
const QUEUE: usize = 64;
/// Checks at once, however large the machine: an attempt that is under way counts as failed, and right
/// passwords must not limit each other.
const MOST_AT_ONCE: usize = 8;

/// The pool in which passwords are worked on.
#[derive(Debug)]
pub struct Passwords {
    queue: Arc<Semaphore>,
    running: Arc<Semaphore>,
    /// What the password of an unknown user is compared with, so that the answer takes as long.
    nobody: String,
}

/// Leave to work on one password now.
#[derive(Debug)]
pub struct Turn {
    place: (OwnedSemaphorePermit, OwnedSemaphorePermit),
    nobody: String,
}

impl Passwords {
    pub async fn start() -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut passwords = Self {
            queue: Arc::new(Semaphore::new(QUEUE)),
            running: Arc::new(Semaphore::new(cores.div_ceil(2).min(MOST_AT_ONCE))),
            nobody: String::new(),
        };
        let mut unguessable = [0; 32];
        getrandom::fill(&mut unguessable).map_err(Error::internal)?;
        passwords.nobody = passwords.hash(format!("{unguessable:?}")).await?;
        Ok(passwords)
    }

    /// Waits until it is the caller's turn; refuses if too many wait.
    pub async fn turn(&self) -> Result<Turn> {
        let place = Arc::clone(&self.queue).try_acquire_owned().map_err(|_| {
            Error::exhausted(
                "PASSWORD_CHECKS_BUSY",
                "too many passwords are being checked at once",
                Duration::from_secs(1),
            )
        })?;
        let running = Arc::clone(&self.running)
            .acquire_owned()
            .await
            .map_err(Error::internal)?;
        Ok(Turn {
            place: (place, running),
            nobody: self.nobody.clone(),
        })
    }

    /// The password's hash in PHC form, with a salt of its own.
    pub async fn hash(&self, password: String) -> Result<String> {
        self.turn()
            .await?
            .work(move || {
                Argon2::default()
                    .hash_password(password.as_bytes())
                    .map(|hash| hash.to_string())
                    .map_err(Error::internal)
            })
            .await?
    }
}

impl Turn {
    /// Whether the password is the one that was hashed; without a hash it is not, after the same time.
    pub async fn verify(self, password: String, hash: Option<String>) -> Result<bool> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobody.clone());
        let equal = self
            .work(move || {
                PasswordVerifier::<str>::verify_password(
                    &Argon2::default(),
                    password.as_bytes(),
                    hash.as_str(),
                )
                .is_ok()
            })
            .await?;
        Ok(known && equal)
    }

    async fn work<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        // The permits go along: a caller who gives up must not make room for work that goes on.
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(self.place);
            done
        })
        .await
        .map_err(Error::internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_is_right() {
        let passwords = Passwords::start().await.expect("starts");
        let hash = passwords
            .hash("correct horse".into())
            .await
            .expect("hashes");
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        let check = async |password: &str, hash: Option<&str>| {
            let turn = passwords.turn().await?;
            turn.verify(password.to_owned(), hash.map(str::to_owned))
                .await
        };
        assert!(check("correct horse", Some(&hash)).await.expect("checks"));
        assert!(!check("correct horsE", Some(&hash)).await.expect("checks"));
        assert!(!check("correct horse", None).await.expect("checks"));
        assert!(!check("x", Some("not a hash")).await.expect("checks"));
    }

    #[tokio::test]
    async fn whoever_finds_no_place_in_the_line_is_told_to_come_back() {
        let passwords = Passwords::start().await.expect("starts");
        let all = u32::try_from(QUEUE).expect("few");
        let taken = (passwords.queue.try_acquire_many(all)).expect("nobody waits");
        let refusal = passwords.turn().await.expect_err("no place");
        assert_eq!(refusal.reason(), "PASSWORD_CHECKS_BUSY");
        drop(taken);
        assert!(passwords.turn().await.is_ok());
    }
}
