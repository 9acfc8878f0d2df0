//! How often passwords may be guessed. Invariant: an attempt is counted before its password is looked at,
//! and stays counted unless it was right: any number of guesses at once gets as far as one after another.

use std::time::Duration;

use chassis::{Error, Result};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::MasterKey;
use crate::store::login_failures::{self, Failures};

/// How long a failure counts.
pub const WINDOW: TimeDelta = TimeDelta::minutes(15);
/// How long a source is known as one that a user signs in from.
pub const KNOWN_FOR: TimeDelta = TimeDelta::days(90);
/// How many sources are known of a user at most.
pub const MOST_KNOWN: i64 = 50;

const OF_ACCOUNT_AT_SOURCE: i32 = 10;
const OF_SOURCE: i32 = 300;
/// At sources that the account's owner does not use: so nobody who guesses there locks the owner out.
const OF_ACCOUNT_ELSEWHERE: i32 = 100;

/// What an attempt to sign in is counted for, and how much of each there may be.
#[derive(Debug, Clone)]
pub struct Attempt(Vec<(String, i32)>);

impl Attempt {
    /// The same for an account that there is and one that there is not.
    pub fn new(master: &MasterKey, email: &str, source: &str, knows_source: bool) -> Self {
        let of_account = |place: &str| master.fingerprint(&format!("login {place} {email}"));
        let mut counted = vec![
            (of_account(source), OF_ACCOUNT_AT_SOURCE),
            (format!("source:{source}"), OF_SOURCE),
        ];
        if !knows_source {
            counted.push((of_account("elsewhere"), OF_ACCOUNT_ELSEWHERE));
        }
        Self(counted)
    }

    /// Refuses if there were too many already, without writing: what is limited must cost little.
    pub async fn check(&self, conn: &mut PgConnection, now: DateTime<Utc>) -> Result<()> {
        let before = login_failures::list(conn, &self.keys(), now - WINDOW).await?;
        self.judge(&before, now, |most, count| count < most)
    }

    /// Counts the attempt, or refuses it and leaves no trace when the transaction is rolled back.
    pub async fn count(
        &self,
        conn: &mut PgConnection,
        now: DateTime<Utc>,
    ) -> Result<Vec<Failures>> {
        let counted = login_failures::add(conn, &self.keys(), now, now - WINDOW).await?;
        self.judge(&counted, now, |most, count| count <= most)?;
        Ok(counted)
    }

    fn keys(&self) -> Vec<String> {
        self.0.iter().map(|(key, _)| key.clone()).collect()
    }

    fn judge(
        &self,
        found: &[Failures],
        now: DateTime<Utc>,
        fits: impl Fn(i32, i32) -> bool,
    ) -> Result<()> {
        let too_many = found.iter().filter(|failures| {
            let most = self.0.iter().find(|(key, _)| *key == failures.key);
            most.is_some_and(|(_, most)| !fits(*most, failures.count))
        });
        match too_many.map(|failures| failures.since + WINDOW).max() {
            None => Ok(()),
            Some(until) => Err(limited((until - now).to_std().unwrap_or_default())),
        }
    }
}

fn limited(wait: Duration) -> Error {
    Error::exhausted(
        "LOGIN_LIMITED",
        "too many failed attempts to sign in: try again later",
        wait,
    )
}
