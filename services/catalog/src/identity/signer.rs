//! The key that signs access tokens, and all that are accepted. Invariant: every replica of the catalog
//! can verify what any other signed, within one refresh.

use std::sync::{OnceLock, PoisonError, RwLock};

use chassis::auth::{LocalKeys, PublicKey, SigningKey, User};
use chassis::{Error, Result, db};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use super::MasterKey;
use crate::store;
use crate::store::signing_keys::{self, StoredKey};

/// How long an access token is accepted.
const TOKEN_LIFE: TimeDelta = TimeDelta::minutes(15);

#[derive(Debug, Default)]
pub struct Signer {
    /// None until the start.
    own: OnceLock<SigningKey>,
    /// As stored, the newest first.
    stored: RwLock<Vec<StoredKey>>,
    /// The same for whoever verifies.
    accepted: LocalKeys,
}

impl Signer {
    /// Takes the newest key that the master key opens, or makes one.
    pub async fn start(&self, pool: &PgPool, master: &MasterKey) -> Result<()> {
        let master = master.clone();
        let (own, stored) = db::transaction(pool, async move |conn| {
            store::serialize(conn, "catalog.signing_keys").await?;
            let stored = signing_keys::list(conn).await?;
            if let Some(own) = stored.iter().find_map(|key| open(&master, key)) {
                return Ok((own, stored));
            }
            if !stored.is_empty() {
                tracing::warn!("no signing key opens with this master key: making another");
            }
            let (own, sealed) = make(&master)?;
            let PublicKey { id, bytes } = own.public();
            signing_keys::insert(conn, id, bytes, &sealed).await?;
            Ok((own, signing_keys::list(conn).await?))
        })
        .await?;
        self.own.get_or_init(|| own);
        self.publish(stored);
        Ok(())
    }

    /// Learns of keys that other replicas made.
    pub async fn refresh(&self, pool: &PgPool) -> Result<()> {
        let stored = signing_keys::list(&mut *db::acquire(pool).await?).await?;
        self.publish(stored);
        Ok(())
    }

    /// A token that speaks for the user, and when it ends.
    pub fn token(&self, user: &User, now: DateTime<Utc>) -> Result<(String, DateTime<Utc>)> {
        let expires_at = now + TOKEN_LIFE;
        let own = (self.own.get()).expect("no call is let in before the start");
        Ok((own.user_token(user, now, expires_at)?, expires_at))
    }

    /// The keys that are accepted, the newest first.
    pub fn published(&self) -> Vec<StoredKey> {
        let stored = self.stored.read().unwrap_or_else(PoisonError::into_inner);
        stored.clone()
    }

    /// The set that the catalog's own verifier looks into.
    pub fn accepted(&self) -> LocalKeys {
        self.accepted.clone()
    }

    fn publish(&self, stored: Vec<StoredKey>) {
        let accepted = (stored.iter())
            .filter_map(|key| {
                Some(PublicKey {
                    id: key.id.clone(),
                    bytes: key.public_key.as_slice().try_into().ok()?,
                })
            })
            .collect();
        *self
            .accepted
            .write()
            .unwrap_or_else(PoisonError::into_inner) = accepted;
        *self.stored.write().unwrap_or_else(PoisonError::into_inner) = stored;
    }
}

fn make(master: &MasterKey) -> Result<(SigningKey, Vec<u8>)> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(Error::internal)?;
    let id = Uuid::now_v7().to_string();
    let sealed = master.seal(&purpose(&id), &seed)?;
    Ok((SigningKey::from_seed(id, &seed), sealed))
}

fn open(master: &MasterKey, key: &StoredKey) -> Option<SigningKey> {
    let seed = master.open(&purpose(&key.id), &key.sealed_private_key)?;
    let seed: [u8; 32] = seed.try_into().ok()?;
    Some(SigningKey::from_seed(&key.id, &seed))
}

fn purpose(id: &str) -> String {
    format!("signing key {id}")
}
