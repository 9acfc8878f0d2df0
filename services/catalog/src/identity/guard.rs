//! Judges the passwords that people present. Invariant: whether the account is unknown, not active or the
//! password wrong, the same is asked of the database and the same work is done on the password.

use std::sync::Arc;

use chassis::{Result, db};
use sqlx::PgPool;

use super::limits::{Attempt, KNOWN_FOR};
use super::{MasterKey, Passwords};
use crate::store::login_failures::Failures;
use crate::store::users::{self, Credentials};

#[derive(Clone)]
pub struct Guard {
    pub pool: PgPool,
    pub passwords: Arc<Passwords>,
    pub master: MasterKey,
}

/// That somebody knows the password of an account.
#[derive(Debug, Clone)]
pub struct Proof {
    /// As it was when the password was judged.
    pub account: Credentials,
    /// What the attempt was counted for: to be taken back with what the proof is used for.
    pub counted: Vec<Failures>,
}

impl Guard {
    /// The proof, or nothing. Too many failed attempts are refused.
    pub async fn judge(
        &self,
        email: &str,
        source: &str,
        password: String,
    ) -> Result<Option<Proof>> {
        let mut conn = db::acquire(&self.pool).await?;
        let now = db::now(&mut conn).await?;
        let account = users::credentials(&mut conn, email, source, now - KNOWN_FOR).await?;
        let knows_source = (account.as_ref()).is_some_and(|account| account.knows_source);
        let attempt = Attempt::new(&self.master, email, source, knows_source);
        attempt.check(&mut conn, now).await?;
        drop(conn);

        // Counted when it is its turn, so that those who wait in line count for nobody.
        let turn = self.passwords.turn().await?;
        let counted = db::transaction(&self.pool, async move |conn| {
            let now = db::now(conn).await?;
            attempt.count(conn, now).await
        })
        .await?;
        let hash = (account.as_ref()).map(|account| account.password_hash.clone());
        let right = turn.verify(password, hash).await?;
        Ok(account
            .filter(|account| right && account.is_active)
            .map(|account| Proof { account, counted }))
    }
}
