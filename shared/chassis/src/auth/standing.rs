//! Whether a caller's access still stands. A token says who somebody was when it was signed; what has
//! ended or changed since is asked of the catalog again and again. Invariant: nobody is let in, or goes on
//! reading a stream, on knowledge of more than a minute ago, by a clock that nobody can set back.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use model::status::Role;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::api_key::{KeyHash, KnownKeys};
use super::{Access, ApiKey, Caller, expired, revoked};
use crate::error::{Error, Result};

/// What the catalog knows of callers, and their tokens do not tell.
pub trait Source: fmt::Debug + Send + Sync {
    /// All that ended or changed within a time that is longer than a token lives.
    fn revocations(&self) -> BoxFuture<'_, Result<Revocations>>;

    /// Whose key has this hash.
    fn api_key(&self, hash: KeyHash) -> BoxFuture<'_, Result<KeyFound>>;
}

/// Whose access has ended or changed lately.
#[derive(Debug, Clone, Default)]
pub struct Revocations {
    /// Sessions and API keys.
    pub ended: HashSet<Uuid>,
    /// Users whose role, groups or activity changed.
    pub accounts: HashMap<Uuid, Account>,
}

/// What replaces what an older token says of its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub role: Role,
    pub groups: Vec<String>,
    pub is_active: bool,
    pub revision: i64,
}

/// What there is to an API key.
#[derive(Debug, Clone)]
pub enum KeyFound {
    Good(ApiKey),
    Revoked,
    Unknown,
}

/// How often things are asked and looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Between two questions to the catalog, ...
    pub ask: Duration,
    /// ... after one that was not answered, and at the least.
    pub ask_again: Duration,
    /// How old an answer may be, counted from before its question.
    pub believed: Duration,
    /// Between two looks at the callers of calls and streams that last.
    pub look: Duration,
}

const PACE: Pace = Pace {
    ask: Duration::from_secs(10),
    ask_again: Duration::from_secs(1),
    believed: Duration::from_secs(60),
    look: Duration::from_secs(5),
};

/// A catalog that is silent for longer is away.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// What one service knows of its callers' standing; a cheap handle.
#[derive(Debug, Clone)]
pub struct Standing(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Arc<dyn Source>,
    keys: KnownKeys,
    pace: Pace,
    known: RwLock<Option<Known>>,
    /// Held while asking, so that one asks for all.
    asking: Mutex<Option<Asked>>,
}

#[derive(Debug)]
struct Known {
    /// Before the question: what was committed until then is in the answer.
    as_of: Instant,
    revocations: Revocations,
}

/// The last question, and what came of it.
#[derive(Debug, Clone, Copy)]
struct Asked {
    ended: Instant,
    answered: bool,
}

impl Standing {
    pub fn new(source: Arc<dyn Source>) -> Self {
        Self::at_pace(source, PACE)
    }

    pub(super) fn at_pace(source: Arc<dyn Source>, pace: Pace) -> Self {
        Self(Arc::new(Inner {
            keys: KnownKeys::new(Arc::clone(&source)),
            source,
            pace,
            known: RwLock::default(),
            asking: Mutex::default(),
        }))
    }

    /// Asks until `soft`.
    pub(crate) async fn keep_up(self, soft: CancellationToken) {
        let asking = async {
            loop {
                let pause = match self.ask().await {
                    Ok(()) => self.0.pace.ask,
                    Err(_) => self.0.pace.ask_again,
                };
                tokio::time::sleep(pause).await;
            }
        };
        soft.run_until_cancelled(asking).await;
    }

    pub(super) async fn api_key(&self, secret: &str) -> Result<ApiKey> {
        self.0.keys.find(secret, Instant::now()).await
    }

    /// Makes the caller what they are now, or says why they are nobody any more. If what is known is too
    /// old, the catalog is asked before anybody is refused for it.
    pub(super) async fn judge(&self, caller: &mut Caller) -> Result<()> {
        match self.look(caller, Instant::now()) {
            Ok(stands) => stands,
            Err(Stale) => {
                self.ask().await?;
                self.look(caller, Instant::now())
                    .unwrap_or_else(|Stale| Err(stale()))
            }
        }
    }

    /// Waits until the caller may not go on with such a call, and says why.
    pub(super) async fn refusal(self, mut caller: Caller, access: Access) -> Error {
        if matches!(caller, Caller::Internal(_)) {
            std::future::pending::<()>().await;
        }
        loop {
            tokio::time::sleep_until(self.next_look()).await;
            let stands = match self.look(&mut caller, Instant::now()) {
                Ok(stands) => stands.and_then(|()| access.check(&caller)),
                Err(Stale) => Err(stale()),
            };
            if let Err(error) = stands {
                return error;
            }
        }
    }

    fn next_look(&self) -> Instant {
        let next = Instant::now() + self.0.pace.look;
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        let stale = known
            .as_ref()
            .map(|known| known.as_of + self.0.pace.believed);
        stale.map_or(next, |stale| stale.min(next))
    }

    pub(super) fn look(&self, caller: &mut Caller, now: Instant) -> Result<Result<()>, Stale> {
        if matches!(caller, Caller::Internal(_)) {
            return Ok(Ok(()));
        }
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        let fresh =
            |known: &&Known| now.saturating_duration_since(known.as_of) < self.0.pace.believed;
        let known = known.as_ref().filter(fresh).ok_or(Stale)?;
        Ok(known.revocations.apply(caller))
    }

    /// Asks the catalog, unless somebody else's question has ended since this one came up.
    async fn ask(&self) -> Result<()> {
        let standing = self.clone();
        // In a task of its own: a caller that goes away cuts nothing short.
        let asked = tokio::spawn(async move { standing.ask_in_turn(Instant::now()).await });
        match asked.await.map_err(Error::internal)? {
            true => Ok(()),
            false => Err(stale()),
        }
    }

    async fn ask_in_turn(&self, since: Instant) -> bool {
        let mut last = self.0.asking.lock().await;
        if let Some(asked) = *last {
            if asked.ended >= since {
                return asked.answered;
            }
            tokio::time::sleep_until(asked.ended + self.0.pace.ask_again).await;
        }
        let as_of = Instant::now();
        let answer = tokio::time::timeout(ANSWERED_WITHIN, self.0.source.revocations()).await;
        let answered = match answer {
            Ok(Ok(revocations)) => {
                let known = Known { as_of, revocations };
                let mut place = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
                *place = Some(known);
                true
            }
            Ok(Err(_)) | Err(_) => false,
        };
        note(*last, answered);
        *last = Some(Asked {
            ended: Instant::now(),
            answered,
        });
        answered
    }
}

/// What is known is too old to let anybody in.
#[derive(Debug)]
pub(super) struct Stale;

impl Revocations {
    fn apply(&self, caller: &mut Caller) -> Result<()> {
        match caller {
            Caller::User(user) => {
                if self.ended.contains(&user.session_id) {
                    return Err(revoked());
                }
                let account = self.accounts.get(&user.id);
                if let Some(account) = account.filter(|account| account.revision > user.revision) {
                    if !account.is_active {
                        return Err(revoked());
                    }
                    user.role = account.role;
                    user.groups.clone_from(&account.groups);
                    user.revision = account.revision;
                }
                Ok(())
            }
            Caller::ApiKey(key) if self.ended.contains(&key.id) => Err(revoked()),
            Caller::ApiKey(key) if key.expires_at.is_some_and(|at| at <= crate::clock::now()) => {
                Err(expired())
            }
            Caller::ApiKey(_) | Caller::Internal(_) => Ok(()),
        }
    }
}

/// Says when it begins to go wrong, and when it is over; a first question may well come too early.
fn note(last: Option<Asked>, answered: bool) {
    match (last.map(|asked| asked.answered), answered) {
        (Some(true), false) => {
            tracing::warn!(
                "the catalog does not say whose access has ended: nobody is let in soon"
            );
        }
        (Some(false), true) => tracing::info!("the catalog says whose access has ended"),
        (None, false) => tracing::debug!("the catalog does not say yet whose access has ended"),
        _ => {}
    }
}

fn stale() -> Error {
    Error::unavailable(
        "IDENTITY_STALE",
        "whether this access still stands is not known at the moment",
    )
}
