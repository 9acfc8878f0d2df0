//! The keys that sign access tokens, and all that are accepted. Invariant: whatever a replica of the
//! catalog signs, everybody who verifies has the key for: it was listed well before it signs, and stays
//! listed for longer than the last token that it signed is good.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use chassis::auth::{LocalKeys, PublicKey, SigningKey, User};
use chassis::{Error, Result, db};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use tokio::time::Instant;
use uuid::Uuid;

use super::MasterKey;
use crate::store;
use crate::store::signing_keys::{self, StoredKey};

/// How long an access token is accepted.
const TOKEN_LIFE: TimeDelta = TimeDelta::minutes(15);
/// How long a key is listed before it signs: whoever verifies has asked for the list by then.
const LEAD: TimeDelta = TimeDelta::minutes(2);
/// How long a key is listed after the next one took over.
const KEPT: TimeDelta = TimeDelta::hours(1);
/// How old the list of keys may be when one of them signs. Far below KEPT.
const STALE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Signer {
    rules: Rules,
    keys: RwLock<Keys>,
    /// The public halves, for whoever verifies.
    accepted: LocalKeys,
}

#[derive(Debug, Clone)]
struct Rules {
    master: MasterKey,
    /// How long a key signs.
    life: TimeDelta,
}

#[derive(Debug, Default)]
struct Keys {
    /// All, the newest first.
    stored: Vec<StoredKey>,
    /// Those that the master key opens, in the same order.
    own: Vec<(DateTime<Utc>, SigningKey)>,
    /// None until the start.
    read: Option<Instant>,
}

/// What is to be done about the keys.
#[derive(Debug, PartialEq)]
struct Plan {
    make: bool,
    withdraw: Vec<String>,
}

impl Signer {
    pub fn new(master: MasterKey, days: u16) -> Self {
        let life = TimeDelta::days(days.into());
        Self {
            rules: Rules { master, life },
            keys: RwLock::default(),
            accepted: LocalKeys::default(),
        }
    }

    /// Makes the next key when it is time, and the first one at once; withdraws those that are over.
    /// Learns of what other replicas did.
    pub async fn round(&self, pool: &PgPool, now: DateTime<Utc>) -> Result<()> {
        let mut stored = signing_keys::list(&mut *db::acquire(pool).await?).await?;
        if self.rules.plan(&stored, now).is_something() {
            let rules = self.rules.clone();
            stored = db::transaction(pool, async move |conn| {
                store::serialize(conn, "catalog.signing_keys").await?;
                let plan = rules.plan(&signing_keys::list(conn).await?, now);
                if plan.make {
                    signing_keys::insert(conn, &rules.make(now)?).await?;
                }
                signing_keys::delete(conn, &plan.withdraw).await?;
                signing_keys::list(conn).await
            })
            .await?;
        }
        self.take(stored);
        Ok(())
    }

    /// Reads the keys again if that is long ago, so that none signs which others hold to be withdrawn.
    pub async fn keep_fresh(&self, pool: &PgPool) -> Result<()> {
        let read = self
            .keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .read;
        if read.is_none_or(|read| read.elapsed() > STALE) {
            self.take(signing_keys::list(&mut *db::acquire(pool).await?).await?);
        }
        Ok(())
    }

    /// A token that speaks for the user, and when it ends: not after the session.
    pub fn token(
        &self,
        user: &User,
        now: DateTime<Utc>,
        session_ends: DateTime<Utc>,
    ) -> Result<(String, DateTime<Utc>)> {
        let expires_at = (now + TOKEN_LIFE).min(session_ends);
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let listed = |(made, _): &&(DateTime<Utc>, SigningKey)| *made + LEAD <= now;
        // Without any that was listed long enough, the first one: nobody knows others either.
        let (_, key) = (keys.own.iter().find(listed))
            .or(keys.own.last())
            .ok_or_else(|| Error::internal("there is no key to sign with"))?;
        Ok((key.user_token(user, now, expires_at)?, expires_at))
    }

    /// The keys that are accepted, the newest first.
    pub fn published(&self) -> Vec<StoredKey> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.stored.clone()
    }

    /// The set that the catalog's own verifier looks into.
    pub fn accepted(&self) -> LocalKeys {
        self.accepted.clone()
    }

    fn take(&self, stored: Vec<StoredKey>) {
        let accepted = (stored.iter())
            .filter_map(|key| {
                Some(PublicKey {
                    id: key.id.clone(),
                    bytes: key.public_key.as_slice().try_into().ok()?,
                })
            })
            .collect();
        let own = (stored.iter())
            .filter_map(|key| Some((key.created_at, self.rules.open(key)?)))
            .collect();
        *(self.accepted.write()).unwrap_or_else(PoisonError::into_inner) = accepted;
        *(self.keys.write()).unwrap_or_else(PoisonError::into_inner) = Keys {
            stored,
            own,
            read: Some(Instant::now()),
        };
    }
}

impl Plan {
    fn is_something(&self) -> bool {
        self.make || !self.withdraw.is_empty()
    }
}

impl Rules {
    /// `stored` has the newest key first.
    fn plan(&self, stored: &[StoredKey], now: DateTime<Utc>) -> Plan {
        let (own, foreign): (Vec<&StoredKey>, Vec<&StoredKey>) =
            (stored.iter()).partition(|key| self.open(key).is_some());
        let make = own
            .first()
            .is_none_or(|key| key.created_at + self.life <= now);
        let took_over = (own.iter()).position(|key| key.created_at + LEAD + KEPT <= now);
        let over = took_over.map_or(&[][..], |at| &own[at + 1..]);
        // Of another master key: one that was lost, or that another replica has. Then that replica has
        // made itself the next one, and this one can be over.
        let lost =
            (foreign.iter()).filter(|key| key.created_at + self.life + TimeDelta::days(1) <= now);
        let withdraw = over.iter().chain(lost).map(|key| key.id.clone());
        Plan {
            make,
            withdraw: withdraw.collect(),
        }
    }

    fn make(&self, now: DateTime<Utc>) -> Result<StoredKey> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(Error::internal)?;
        let id = Uuid::now_v7().to_string();
        Ok(StoredKey {
            public_key: SigningKey::from_seed(&id, &seed).public().bytes.to_vec(),
            sealed_private_key: self.master.seal(&purpose(&id), &seed)?,
            created_at: now,
            id,
        })
    }

    fn open(&self, key: &StoredKey) -> Option<SigningKey> {
        let seed = (self.master).open(&purpose(&key.id), &key.sealed_private_key)?;
        let seed: [u8; 32] = seed.try_into().ok()?;
        Some(SigningKey::from_seed(&key.id, &seed))
    }
}

fn purpose(id: &str) -> String {
    format!("signing key {id}")
}

#[cfg(test)]
mod tests;
