//! Tells who a bearer token speaks for. What was verified once is remembered until it expires, so
//! that the common case is one hash and two look-ups. Whether it still stands is asked at every call.

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use lru::LruCache;
use sha2::{Digest, Sha256};

use super::token::{self, Refused, SERVICE_ISSUER, USER_ISSUER, Unverified};
use super::{Access, Caller, PublicKey, Standing, UserKeys, api_key, expired, refused, sign_in};
use crate::error::{Error, Result};

const REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");
/// Longer ones are not ours: a user with very many groups stays below.
const LONGEST_TOKEN: usize = 16 * 1024;

/// Verifies tokens of people, API keys, and tokens of the platform's own services.
#[derive(Debug, Clone)]
pub struct Verifier {
    service_key: PublicKey,
    user_keys: UserKeys,
    standing: Standing,
    seen: Arc<Mutex<LruCache<[u8; 32], Seen>>>,
}

#[derive(Debug, Clone)]
struct Seen {
    caller: Caller,
    expires: DateTime<Utc>,
}

impl Verifier {
    pub fn new(service_key: PublicKey, user_keys: UserKeys, standing: Standing) -> Self {
        let seen = Arc::new(Mutex::new(LruCache::new(REMEMBERED)));
        Self {
            service_key,
            user_keys,
            standing,
            seen,
        }
    }

    pub(crate) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Ends when the caller may not go on with a call of this kind, and says why.
    pub(crate) fn refusal(
        &self,
        caller: Caller,
        access: Access,
    ) -> impl Future<Output = Error> + Send + 'static {
        self.standing.clone().refusal(caller, access)
    }

    /// Who sends these headers.
    pub async fn caller(&self, headers: &http::HeaderMap, now: DateTime<Utc>) -> Result<Caller> {
        let value = headers
            .get(http::header::AUTHORIZATION)
            .ok_or_else(sign_in)?;
        let (scheme, token) = value
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .ok_or_else(refused)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(refused());
        }
        self.verify(token.trim(), now).await
    }

    /// Who this token speaks for, as they are now.
    pub async fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Caller> {
        let mut caller = if api_key::is_meant(token) {
            Caller::ApiKey(self.standing.api_key(token).await?)
        } else {
            self.read(token, now).await?
        };
        self.standing.judge(&mut caller).await?;
        Ok(caller)
    }

    async fn read(&self, token: &str, now: DateTime<Utc>) -> Result<Caller> {
        if token.len() > LONGEST_TOKEN {
            return Err(refused());
        }
        let hash: [u8; 32] = Sha256::digest(token).into();
        let remembered = self.remembered(&hash);
        let seen = match remembered {
            Some(seen) => seen,
            None => {
                let seen = self.check(token).await?;
                if seen.expires > now {
                    self.lock().put(hash, seen.clone());
                }
                seen
            }
        };
        if seen.expires <= now {
            self.lock().pop(&hash);
            return Err(expired());
        }
        Ok(seen.caller)
    }

    async fn check(&self, token: &str) -> Result<Seen> {
        let unverified = Unverified::read(token).map_err(|Refused| refused())?;
        match unverified.issuer.as_str() {
            SERVICE_ISSUER => {
                let (name, expires) =
                    token::verify_service(token, &self.service_key).map_err(|Refused| refused())?;
                Ok(Seen {
                    caller: Caller::Internal(name),
                    expires,
                })
            }
            USER_ISSUER => {
                let kid = unverified.kid.ok_or_else(refused)?;
                let key = self.user_keys.find(&kid).await?.ok_or_else(refused)?;
                let (user, expires) =
                    token::verify_user(token, &key).map_err(|Refused| refused())?;
                Ok(Seen {
                    caller: Caller::User(user),
                    expires,
                })
            }
            _ => Err(refused()),
        }
    }

    fn remembered(&self, hash: &[u8; 32]) -> Option<Seen> {
        self.lock().get(hash).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<[u8; 32], Seen>> {
        // A cache is good whatever the thread that held it did.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
