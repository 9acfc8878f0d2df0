//! For how long what was learnt of an API key is believed.

use std::time::Duration;

use tokio::time::Instant;

use super::super::api_key::KnownKeys;
use super::*;

struct Stage {
    catalog: Arc<Catalog>,
    known: KnownKeys,
    begun: Instant,
}

impl Stage {
    fn new() -> Self {
        let catalog = Arc::new(Catalog::default());
        Self {
            known: KnownKeys::new(catalog.clone()),
            catalog,
            begun: Instant::now(),
        }
    }

    fn put(&self, key: &NewApiKey, found: KeyFound) {
        let mut keys = self.catalog.keys.lock().expect("no panic");
        keys.insert(key.hash, found);
    }

    /// As many seconds after the beginning; the reason if it is refused.
    async fn find(&self, secret: &str, seconds: u64) -> std::result::Result<ApiKey, String> {
        let now = self.begun + Duration::from_secs(seconds);
        let found = self.known.find(secret, now).await;
        found.map_err(|error| error.reason().to_owned())
    }
}

fn good() -> (NewApiKey, ApiKey) {
    let key = ApiKey {
        id: Uuid::from_u128(7),
        name: "packer".to_owned(),
        scope: KeyScope::Worker,
        expires_at: None,
    };
    (NewApiKey::make().expect("random"), key)
}

#[tokio::test]
async fn good_key_is_asked_for_every_half_minute() {
    let stage = Stage::new();
    let (secret, key) = good();
    stage.put(&secret, KeyFound::Good(key.clone()));
    for (second, asked) in [(0, 1), (29, 1), (30, 2), (59, 2)] {
        assert_eq!(stage.find(&secret.secret, second).await, Ok(key.clone()));
        assert_eq!(stage.catalog.asked(), asked, "after {second} s");
    }
    stage.put(&secret, KeyFound::Revoked);
    let found = stage.find(&secret.secret, 60).await;
    assert_eq!(found, Err("TOKEN_REVOKED".to_owned()));
}

#[tokio::test]
async fn key_is_believed_for_a_minute_while_the_catalog_is_away() {
    let stage = Stage::new();
    let (secret, key) = good();
    stage.put(&secret, KeyFound::Good(key.clone()));
    assert!(stage.find(&secret.secret, 0).await.is_ok());
    stage.catalog.go_away();
    assert_eq!(stage.find(&secret.secret, 59).await, Ok(key));
    for wanted in [&secret.secret, &good().0.secret] {
        let found = stage.find(wanted, 60).await;
        assert_eq!(found, Err("API_KEYS_UNAVAILABLE".to_owned()));
    }
}

#[tokio::test]
async fn rubbish_is_asked_for_once_in_five_seconds_and_drives_no_good_key_out() {
    let stage = Stage::new();
    let (secret, key) = good();
    stage.put(&secret, KeyFound::Good(key));
    assert!(stage.find(&secret.secret, 0).await.is_ok());
    let rubbish = good().0.secret;
    for (second, asked) in [(0, 2), (4, 2), (5, 3)] {
        let found = stage.find(&rubbish, second).await;
        assert_eq!(found, Err("TOKEN_INVALID".to_owned()));
        assert_eq!(stage.catalog.asked(), asked, "after {second} s");
    }
    for _ in 0..2500 {
        let found = stage.find(&good().0.secret, 0).await;
        assert_eq!(found, Err("TOKEN_INVALID".to_owned()));
    }
    let asked = stage.catalog.asked();
    assert!(stage.find(&secret.secret, 1).await.is_ok());
    assert_eq!(stage.catalog.asked(), asked, "still remembered");
    // What cannot be a key is no question.
    for shape in [
        "wfp_",
        "wfp_short",
        &format!("{}x", secret.secret),
        &rubbish.replace('w', "ß"),
    ] {
        let found = stage.find(shape, 0).await;
        assert_eq!(found, Err("TOKEN_INVALID".to_owned()));
    }
    assert_eq!(stage.catalog.asked(), asked);
}

#[tokio::test]
async fn calls_that_come_together_ask_for_few() {
    let stage = Stage::new();
    let (secret, key) = good();
    stage.put(&secret, KeyFound::Good(key));
    let calls = (0..200).map(|_| stage.find(&secret.secret, 0));
    let found = futures_util::future::join_all(calls).await;
    assert!(found.iter().all(std::result::Result::is_ok));
    assert!(stage.catalog.asked() <= 16, "{}", stage.catalog.asked());
}

#[test]
fn keys_are_long_random_and_told_by_their_beginning() {
    let (one, other) = (
        NewApiKey::make().expect("random"),
        NewApiKey::make().expect("random"),
    );
    assert_eq!(one.secret.len(), 47);
    assert!(one.secret.starts_with("wfp_") && one.secret.starts_with(&one.prefix));
    assert_ne!(one.secret, other.secret);
    assert_ne!(one.hash, other.hash);
    assert!(!format!("{one:?}").contains(&one.secret[10..]));
}
