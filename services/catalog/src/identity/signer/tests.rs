//! Keys through the months, on a clock that is stepped.

use std::sync::Arc;

use chassis::BoxFuture;
use chassis::auth::{
    Caller, KeyFound, KeyHash, Revocations, ServiceKey, Source, Standing, UserKeys, Verifier,
};
use model::status::Role;

use super::*;

/// Nobody's access has ended.
#[derive(Debug)]
struct AllStand;

impl Source for AllStand {
    fn revocations(&self) -> BoxFuture<'_, Result<Revocations>> {
        Box::pin(async { Ok(Revocations::default()) })
    }

    fn api_key(&self, _: KeyHash) -> BoxFuture<'_, Result<KeyFound>> {
        Box::pin(async { Ok(KeyFound::Unknown) })
    }
}

struct Stage {
    pool: PgPool,
    /// Keeps the database as long as the pool.
    _database: devkit::Database,
    folder: devkit::Folder,
    now: DateTime<Utc>,
}

impl Stage {
    async fn new() -> Self {
        let database = devkit::Database::new().await;
        let pool = PgPool::connect(&database.catalog_url())
            .await
            .expect("it runs");
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        Self {
            pool,
            _database: database,
            folder: devkit::Folder::new(),
            now,
        }
    }

    fn replica(&self, master: &str, days: u16) -> Signer {
        let path = self.folder.path().join(master);
        Signer::new(MasterKey::load_or_create(&path).expect("a key"), days)
    }

    async fn round(&mut self, signer: &Signer, step: TimeDelta) {
        self.now += step;
        signer.round(&self.pool, self.now).await.expect("a round");
    }

    /// The id of the key that signs now, if the token is one that `verifier` accepts.
    async fn signs(&self, signer: &Signer, verifier: &Signer) -> String {
        let user = User {
            id: Uuid::from_u128(1),
            email: "jane@example.com".to_owned(),
            name: "Jane".to_owned(),
            role: Role::User,
            groups: Vec::new(),
            session_id: Uuid::from_u128(2),
            revision: 1,
        };
        let later = self.now + TimeDelta::days(1);
        let (token, expires_at) = signer.token(&user, self.now, later).expect("a token");
        assert_eq!(expires_at, self.now + TOKEN_LIFE);
        let own = ServiceKey::from_seed(&[1; 32]);
        let keys = UserKeys::Local(verifier.accepted());
        let standing = Standing::new(Arc::new(AllStand));
        let caller = Verifier::new(own.public().clone(), keys, standing)
            .verify(&token, self.now)
            .await
            .expect("is accepted");
        assert_eq!(caller, Caller::User(user));
        kid(&token)
    }
}

fn kid(token: &str) -> String {
    use base64::Engine;
    let header = token.split('.').next().expect("three parts");
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header);
    let header: serde_json::Value = serde_json::from_slice(&header.expect("base64")).expect("JSON");
    header["kid"].as_str().expect("a key's name").to_owned()
}

fn listed(signer: &Signer) -> Vec<String> {
    signer.published().into_iter().map(|key| key.id).collect()
}

#[tokio::test]
async fn a_key_is_listed_before_it_signs_and_after_it_signed() {
    let mut stage = Stage::new().await;
    let (one, other) = (stage.replica("m", 30), stage.replica("m", 30));
    stage.round(&one, TimeDelta::zero()).await;
    stage.round(&other, TimeDelta::zero()).await;
    let first = stage.signs(&one, &other).await;
    assert_eq!(listed(&one), [first.as_str()]);

    stage
        .round(&one, TimeDelta::days(30) - TimeDelta::seconds(1))
        .await;
    assert_eq!(listed(&one), [first.as_str()], "not a second early");
    // Both find that it is time, and one key is made.
    stage.round(&one, TimeDelta::seconds(1)).await;
    stage.round(&other, TimeDelta::zero()).await;
    let keys = listed(&one);
    assert_eq!((keys.len(), &listed(&other)), (2, &keys));
    assert_eq!(stage.signs(&one, &other).await, first, "the new one waits");
    stage.now += LEAD - TimeDelta::seconds(1);
    assert_eq!(stage.signs(&other, &one).await, first);
    stage.now += TimeDelta::seconds(1);
    let second = stage.signs(&other, &one).await;
    assert_eq!(second, keys[0]);
    assert_ne!(second, first);

    stage.round(&one, KEPT - TimeDelta::seconds(1)).await;
    assert_eq!(listed(&one), keys, "tokens of the first may be good still");
    stage.round(&one, TimeDelta::seconds(1)).await;
    assert_eq!(listed(&one), [second.as_str()]);
    // The other has not heard of it, and goes on with the same key.
    assert_eq!(stage.signs(&other, &one).await, second);
}

#[tokio::test]
async fn a_key_of_a_lost_master_key_goes_when_it_can_no_longer_be_in_use() {
    let mut stage = Stage::new().await;
    let (lost, found) = (stage.replica("lost", 30), stage.replica("found", 30));
    stage.round(&lost, TimeDelta::zero()).await;
    let old = listed(&lost);
    stage.round(&found, TimeDelta::days(20)).await;
    let new = stage.signs(&found, &found).await;
    assert_eq!(listed(&found), [new.clone(), old[0].clone()]);
    stage.round(&found, TimeDelta::days(10)).await;
    assert!(listed(&found).contains(&old[0]), "a replica may have it");
    stage.round(&found, TimeDelta::days(1)).await;
    assert_eq!(listed(&found), [new]);
    // Whoever lost its keys makes new ones, and signs at once.
    stage.round(&lost, TimeDelta::zero()).await;
    assert!(!old.contains(&stage.signs(&lost, &lost).await));
}

#[tokio::test]
async fn an_outage_of_months_leaves_tokens_that_are_accepted() {
    let mut stage = Stage::new().await;
    let signer = stage.replica("m", 1);
    stage.round(&signer, TimeDelta::zero()).await;
    let first = stage.signs(&signer, &signer).await;
    stage.round(&signer, TimeDelta::days(100)).await;
    assert_eq!(stage.signs(&signer, &signer).await, first);
    assert_eq!(listed(&signer).len(), 2);
    stage.round(&signer, LEAD).await;
    assert_ne!(stage.signs(&signer, &signer).await, first);
}
