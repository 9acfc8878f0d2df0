//! API keys: how they look, and whose they are. Invariant: nothing but a key's hash is kept, sent on or
//! compared; and what was learnt of one is believed for a minute at the very most.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lru::LruCache;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::standing::{KeyFound, Source};
use super::{ApiKey, refused, revoked};
use crate::error::{Error, Result};

/// What every key begins with: tells it from an access token, and scanners for leaked secrets from noise.
const MARK: &str = "wfp_";
/// Characters of 32 bytes in base64.
const LENGTH: usize = 43;
/// Characters of a key that may be shown: 36 of its 256 random bits.
const SHOWN: usize = 10;

/// How long a key is believed to be what it was.
const BELIEVED: Duration = Duration::from_secs(30);
/// The same while the catalog does not answer.
const BELIEVED_ALONE: Duration = Duration::from_secs(60);
/// How long what is no key stays none.
const REFUSED: Duration = Duration::from_secs(5);
/// More than may be valid at a time. Apart from what is refused, so that rubbish drives none out.
const GOOD: NonZeroUsize = NonZeroUsize::new(2000).expect("not zero");
const BAD: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");
/// Questions to the catalog at the same time; whoever comes then waits for their turn.
const QUESTIONS: usize = 16;

/// SHA-256 of a key as it is sent.
pub type KeyHash = [u8; 32];

/// A key that was made just now.
pub struct NewApiKey {
    /// To be shown once.
    pub secret: String,
    pub hash: KeyHash,
    /// By which people recognise it.
    pub prefix: String,
}

impl NewApiKey {
    pub fn make() -> Result<Self> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(Error::internal)?;
        let secret = format!("{MARK}{}", URL_SAFE_NO_PAD.encode(random));
        Ok(Self {
            hash: hash(&secret),
            prefix: secret[..SHOWN].to_owned(),
            secret,
        })
    }
}

/// Without the secret.
impl std::fmt::Debug for NewApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("NewApiKey").field(&self.prefix).finish()
    }
}

/// Whether this is meant to be a key, and not an access token.
pub(super) fn is_meant(token: &str) -> bool {
    token.starts_with(MARK)
}

fn hash(secret: &str) -> KeyHash {
    Sha256::digest(secret).into()
}

/// What was learnt of keys.
#[derive(Debug)]
pub(super) struct KnownKeys {
    source: Arc<dyn Source>,
    good: Mutex<LruCache<KeyHash, (ApiKey, Instant)>>,
    bad: Mutex<LruCache<KeyHash, (Error, Instant)>>,
    questions: Semaphore,
}

impl KnownKeys {
    pub(super) fn new(source: Arc<dyn Source>) -> Self {
        Self {
            source,
            good: Mutex::new(LruCache::new(GOOD)),
            bad: Mutex::new(LruCache::new(BAD)),
            questions: Semaphore::new(QUESTIONS),
        }
    }

    /// Whose key this is. Whether it has expired, or has been revoked since, is for others to say.
    pub(super) async fn find(&self, secret: &str, now: Instant) -> Result<ApiKey> {
        if secret.len() != MARK.len() + LENGTH || !secret.is_ascii() {
            return Err(refused());
        }
        let hash = hash(secret);
        if let Some(known) = self.remembered(&hash, now) {
            return known;
        }
        let turn = self.questions.acquire().await;
        let _turn = turn.map_err(Error::internal)?;
        // Somebody may have asked meanwhile.
        if let Some(known) = self.remembered(&hash, now) {
            return known;
        }
        match self.ask(hash).await {
            Ok(KeyFound::Good(key)) => {
                locked(&self.bad).pop(&hash);
                locked(&self.good).put(hash, (key.clone(), now));
                Ok(key)
            }
            Ok(KeyFound::Revoked) => Err(self.remember_bad(hash, revoked(), now)),
            Ok(KeyFound::Unknown) => Err(self.remember_bad(hash, refused(), now)),
            Err(_) => self.good(&hash, now, BELIEVED_ALONE).ok_or_else(|| {
                let message = "the API key cannot be verified at the moment";
                Error::unavailable("API_KEYS_UNAVAILABLE", message)
            }),
        }
    }

    /// In a task of its own: a caller that goes away cuts nothing short.
    async fn ask(&self, hash: KeyHash) -> Result<KeyFound> {
        let source = Arc::clone(&self.source);
        let asked = tokio::spawn(async move { source.api_key(hash).await });
        asked.await.map_err(Error::internal)?
    }

    fn remembered(&self, hash: &KeyHash, now: Instant) -> Option<Result<ApiKey>> {
        if let Some(key) = self.good(hash, now, BELIEVED) {
            return Some(Ok(key));
        }
        let mut bad = locked(&self.bad);
        let (error, since) = bad.get(hash)?;
        (now.saturating_duration_since(*since) < REFUSED).then(|| Err(error.clone()))
    }

    fn good(&self, hash: &KeyHash, now: Instant, believed: Duration) -> Option<ApiKey> {
        let mut good = locked(&self.good);
        let (key, since) = good.get(hash)?;
        (now.saturating_duration_since(*since) < believed).then(|| key.clone())
    }

    fn remember_bad(&self, hash: KeyHash, error: Error, now: Instant) -> Error {
        locked(&self.good).pop(&hash);
        locked(&self.bad).put(hash, (error.clone(), now));
        error
    }
}

/// A cache is good whatever the thread that held it did.
fn locked<T>(cache: &Mutex<T>) -> MutexGuard<'_, T> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}
