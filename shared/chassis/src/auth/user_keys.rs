//! The keys that verify people's tokens: the catalog's own, or as the catalog publishes them. However
//! many unknown keys are presented, the catalog is asked at most once a second.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use proto::catalog::v1::ListSigningKeysRequest;
use proto::catalog::v1::auth_service_client::AuthServiceClient;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::PublicKey;
use crate::client::Peer;
use crate::error::{Error, Result};

/// How long the answer of the catalog, whatever it was, stands.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Keys that the catalog has withdrawn are forgotten after this long at the latest.
const REFRESH_AFTER: Duration = Duration::from_secs(60);

/// The catalog's own set, which it fills.
pub type LocalKeys = Arc<RwLock<Vec<PublicKey>>>;

/// Where a service finds the keys for people's tokens.
#[derive(Debug, Clone)]
pub enum UserKeys {
    /// In the catalog itself.
    Local(LocalKeys),
    /// Everywhere else.
    Remote(Arc<RemoteKeys>),
}

/// The published keys as last seen.
#[derive(Debug)]
pub struct RemoteKeys {
    catalog: AuthServiceClient<Peer>,
    seen: RwLock<Seen>,
    /// Held while asking, so that one asks for all.
    asking: Mutex<()>,
}

#[derive(Debug, Default)]
struct Seen {
    keys: Vec<PublicKey>,
    /// When the catalog was last asked, and whether it answered.
    asked: Option<(Instant, bool)>,
}

impl UserKeys {
    pub fn remote(catalog: Peer) -> Self {
        Self::Remote(Arc::new(RemoteKeys {
            catalog: AuthServiceClient::new(catalog),
            seen: RwLock::default(),
            asking: Mutex::default(),
        }))
    }

    /// The key of this id; nothing if there is no such key.
    pub(super) async fn find(&self, id: &str) -> Result<Option<PublicKey>> {
        match self {
            Self::Local(keys) => {
                let keys = keys.read().unwrap_or_else(PoisonError::into_inner);
                Ok(pick(&keys, id))
            }
            Self::Remote(remote) => remote.find(id).await,
        }
    }
}

impl RemoteKeys {
    async fn find(self: &Arc<Self>, id: &str) -> Result<Option<PublicKey>> {
        let (known, age) = self.look(id);
        match known {
            Some(key) => {
                if age.is_none_or(|age| age > REFRESH_AFTER) {
                    self.refresh_aside();
                }
                Ok(Some(key))
            }
            None => {
                self.ask(ASK_AGAIN_AFTER).await?;
                Ok(self.look(id).0)
            }
        }
    }

    fn look(&self, id: &str) -> (Option<PublicKey>, Option<Duration>) {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        (pick(&seen.keys, id), seen.asked.map(|(at, _)| at.elapsed()))
    }

    fn refresh_aside(self: &Arc<Self>) {
        let keys = Arc::clone(self);
        tokio::spawn(async move {
            // If the catalog is away, the keys that are known go on being good.
            let _ = keys.ask(REFRESH_AFTER).await;
        });
    }

    /// Asks the catalog, unless somebody did within `interval`.
    async fn ask(&self, interval: Duration) -> Result<()> {
        let _one_at_a_time = self.asking.lock().await;
        let asked = self
            .seen
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .asked;
        if let Some((at, answered)) = asked
            && at.elapsed() < interval
        {
            return if answered {
                Ok(())
            } else {
                Err(unknown_for_now())
            };
        }
        let answer = self
            .catalog
            .clone()
            .list_signing_keys(ListSigningKeysRequest {})
            .await;
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        seen.asked = Some((Instant::now(), answer.is_ok()));
        let listed = answer
            .inspect_err(|status| tracing::warn!(%status, "the catalog does not list its keys"))
            .map_err(|_| unknown_for_now())?;
        let usable = listed.into_inner().keys.into_iter().filter_map(|key| {
            let bytes = key.public_key.try_into().ok()?;
            Some(PublicKey { id: key.id, bytes })
        });
        seen.keys = usable.collect();
        Ok(())
    }
}

fn pick(keys: &[PublicKey], id: &str) -> Option<PublicKey> {
    keys.iter().find(|key| key.id == id).cloned()
}

fn unknown_for_now() -> Error {
    Error::unavailable(
        "SIGNING_KEYS_UNAVAILABLE",
        "the token cannot be verified at the moment",
    )
}
