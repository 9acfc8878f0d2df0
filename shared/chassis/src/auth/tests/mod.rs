//! Which tokens are believed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use futures_util::future::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::*;
use crate::client::Peer;

mod keys;
mod standing;

const CATALOG_SEED: [u8; 32] = [7; 32];
const SERVICE_SEED: [u8; 32] = [9; 32];

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("in range")
}

fn catalog_key() -> SigningKey {
    SigningKey::from_seed("k1", &CATALOG_SEED)
}

fn service_key() -> ServiceKey {
    ServiceKey::from_seed(&SERVICE_SEED)
}

/// What a catalog says that does as it is told.
#[derive(Debug, Default)]
struct Catalog {
    is_away: AtomicBool,
    asked: AtomicU32,
    revocations: Mutex<Revocations>,
    keys: Mutex<HashMap<KeyHash, KeyFound>>,
}

impl Catalog {
    fn answer<T: Send + 'static>(&self, answer: T) -> BoxFuture<'_, Result<T>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let is_away = self.is_away.load(Ordering::Relaxed);
        Box::pin(async move {
            // Not at once, so that others come meanwhile.
            tokio::task::yield_now().await;
            match is_away {
                true => Err(Error::unavailable("AWAY", "away")),
                false => Ok(answer),
            }
        })
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    fn go_away(&self) {
        self.is_away.store(true, Ordering::Relaxed);
    }
}

impl Source for Catalog {
    fn revocations(&self) -> BoxFuture<'_, Result<Revocations>> {
        let revocations = self.revocations.lock().expect("no panic").clone();
        self.answer(revocations)
    }

    fn api_key(&self, hash: KeyHash) -> BoxFuture<'_, Result<KeyFound>> {
        let keys = self.keys.lock().expect("no panic");
        self.answer(keys.get(&hash).cloned().unwrap_or(KeyFound::Unknown))
    }
}

fn verifier_with(standing: Standing) -> Verifier {
    let keys = Arc::new(RwLock::new(vec![catalog_key().public().clone()]));
    let keys = UserKeys::Local(keys);
    Verifier::new(service_key().public().clone(), keys, standing)
}

fn verifier() -> Verifier {
    verifier_with(Standing::new(Arc::new(Catalog::default())))
}

fn ada() -> User {
    User {
        id: Uuid::from_u128(1),
        email: "ada@example.com".to_owned(),
        name: "Ada".to_owned(),
        role: Role::Admin,
        groups: vec!["legal".to_owned()],
        session_id: Uuid::from_u128(8),
        revision: 3,
    }
}

fn token_of(key: &SigningKey) -> String {
    key.user_token(&ada(), now(), now() + TimeDelta::minutes(15))
        .expect("signed")
}

async fn reason(token: &str) -> String {
    let error = verifier().verify(token, now()).await.expect_err("refused");
    assert_eq!(error.code(), tonic::Code::Unauthenticated);
    error.reason().to_owned()
}

#[tokio::test]
async fn users_and_services_are_who_their_tokens_say() {
    let verifier = verifier();
    let token = token_of(&catalog_key());
    for _ in ["verified", "remembered"] {
        let caller = verifier.verify(&token, now()).await.expect("accepted");
        assert_eq!(caller, Caller::User(ada()));
    }
    let (token, _) = service_key().token("execution", now()).expect("signed");
    let caller = verifier.verify(&token, now()).await.expect("accepted");
    assert_eq!(caller, Caller::Internal("execution".to_owned()));
    assert_eq!(caller.key(), "internal:execution");
}

#[tokio::test]
async fn expired_token_is_refused_even_if_it_was_believed_before() {
    let verifier = verifier();
    let token = token_of(&catalog_key());
    let last = now() + TimeDelta::minutes(15) - TimeDelta::seconds(1);
    assert!(verifier.verify(&token, now()).await.is_ok());
    assert!(verifier.verify(&token, last).await.is_ok());
    for _ in 0..2 {
        let late = now() + TimeDelta::minutes(15);
        let error = verifier.verify(&token, late).await.expect_err("expired");
        assert_eq!(error.reason(), "TOKEN_EXPIRED");
    }
    let (token, _) = service_key().token("execution", now()).expect("signed");
    let skewed = now() + TimeDelta::minutes(14);
    assert!(
        verifier.verify(&token, skewed).await.is_ok(),
        "clocks may differ"
    );
    let error = verifier
        .verify(&token, now() + TimeDelta::minutes(16))
        .await;
    assert_eq!(error.expect_err("expired").reason(), "TOKEN_EXPIRED");
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let token = token_of(&catalog_key());
    let parts: Vec<&str> = token.split('.').collect();
    let claims = URL_SAFE_NO_PAD.decode(parts[1]).expect("base64");
    let text = String::from_utf8(claims).expect("JSON");
    let raised = URL_SAFE_NO_PAD.encode(text.replace("legal", "board"));
    let header = |header: serde_json::Value| URL_SAFE_NO_PAD.encode(header.to_string());
    let none = header(json!({"alg": "none", "typ": "JWT", "kid": "k1"}));
    for forged in [
        String::new(),
        "a.b.c".to_owned(),
        "x".repeat(100_000),
        format!("{}.{raised}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{none}.{}.", parts[1]),
        format!("{none}.{}.{}", parts[1], parts[2]),
        token_of(&SigningKey::from_seed("k1", &[8; 32])),
        // The services' key speaks for services, the catalog's for users; never across.
        token_of(&SigningKey::from_seed("k1", &SERVICE_SEED)),
        ServiceKey::from_seed(&CATALOG_SEED)
            .token("execution", now())
            .expect("signed")
            .0,
    ] {
        assert_eq!(reason(&forged).await, "TOKEN_INVALID", "{forged}");
    }
}

/// The public key as an HMAC secret: the classic confusion.
#[tokio::test]
async fn no_other_algorithm_is_accepted() {
    let claims = json!({
        "sub": Uuid::from_u128(1), "email": "a@b", "name": "A", "role": "ADMIN", "groups": [],
        "iss": "workflow-platform/catalog", "iat": 1, "exp": 4_000_000_000_i64,
    });
    let public = catalog_key().public().bytes;
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!(
        "{}.{}",
        part(json!({"alg": "HS256", "kid": "k1"})),
        part(claims)
    );
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&public).expect("any length");
    mac.update(signed.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    assert_eq!(
        reason(&format!("{signed}.{signature}")).await,
        "TOKEN_INVALID"
    );
}

#[tokio::test]
async fn unknown_key_or_issuer_is_refused() {
    assert_eq!(
        reason(&token_of(&SigningKey::from_seed("k2", &CATALOG_SEED))).await,
        "TOKEN_INVALID"
    );
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some("k1".to_owned());
    let claims = json!({"sub": "x", "iss": "elsewhere", "iat": 1, "exp": 4_000_000_000_i64});
    let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(&CATALOG_SEED));
    assert_eq!(reason(&token.expect("signed")).await, "TOKEN_INVALID");
}

#[tokio::test]
async fn unreachable_catalog_makes_unknown_keys_unavailable_not_invalid() {
    // Port 1 answers nobody.
    let peer = Peer::connect_lazy("127.0.0.1:1", service_key(), "execution").expect("an address");
    let standing = Standing::new(Arc::new(Catalog::default()));
    let keys = UserKeys::remote(peer);
    let verifier = Verifier::new(service_key().public().clone(), keys, standing);
    for _ in 0..2 {
        let error = verifier
            .verify(&token_of(&catalog_key()), now())
            .await
            .expect_err("unknown");
        assert_eq!(error.reason(), "SIGNING_KEYS_UNAVAILABLE");
    }
}

#[tokio::test]
async fn header_is_a_bearer_token() {
    let token = token_of(&catalog_key());
    let ask = async |value: Option<String>| {
        let mut headers = http::HeaderMap::new();
        if let Some(value) = value {
            headers.insert("authorization", value.parse().expect("a header"));
        }
        verifier()
            .caller(&headers, now())
            .await
            .map_err(|e| e.reason().to_owned())
    };
    assert!(ask(Some(format!("Bearer {token}"))).await.is_ok());
    assert!(ask(Some(format!("bearer {token}"))).await.is_ok());
    assert_eq!(ask(None).await, Err("TOKEN_MISSING".to_owned()));
    for wrong in [
        token.clone(),
        format!("Basic {token}"),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
    ] {
        assert_eq!(ask(Some(wrong)).await, Err("TOKEN_INVALID".to_owned()));
    }
}

#[test]
fn access_is_by_kind_role_and_scope() {
    let admin = Caller::User(ada());
    let user = Caller::User(User {
        role: Role::User,
        ..ada()
    });
    let [worker, service] = [KeyScope::Worker, KeyScope::Service].map(|scope| {
        Caller::ApiKey(ApiKey {
            id: Uuid::from_u128(7),
            name: "a machine".to_owned(),
            scope,
            expires_at: None,
        })
    });
    let internal = Caller::Internal("reporting".to_owned());
    let callers = [&admin, &user, &service, &worker, &internal];
    let (user, admin, scope) = ("USER_REQUIRED", "ADMIN_REQUIRED", "SCOPE_REQUIRED");
    let own = "INTERNAL_ONLY";
    for (access, expected) in [
        (Access::Open, ["", "", "", "", ""]),
        (Access::Person, ["", "", user, user, user]),
        (Access::Member, ["", "", "", scope, user]),
        (Access::Worker, ["", "", "", "", user]),
        (Access::Admin, ["", admin, admin, admin, admin]),
        (Access::Internal, [own, own, own, own, ""]),
    ] {
        let said = callers.map(|caller| match access.check(caller) {
            Ok(()) => String::new(),
            Err(error) => error.reason().to_owned(),
        });
        assert_eq!(said, expected, "{access:?}");
    }
}

#[test]
fn everybody_who_starts_at_once_gets_the_same_key() {
    let folder = std::env::temp_dir().join(format!("chassis-{}", Uuid::now_v7()));
    let path = folder.join("keys").join("service.key");
    let keys: Vec<PublicKey> = std::thread::scope(|scope| {
        let starters: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| ServiceKey::load_or_create(&path).expect("a key")))
            .collect();
        starters
            .into_iter()
            .map(|s| s.join().expect("no panic").public().clone())
            .collect()
    });
    assert!(keys.iter().all(|key| key == &keys[0]));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&path).expect("made").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let left = std::fs::read_dir(path.parent().expect("a folder"))
        .expect("readable")
        .count();
    assert_eq!(left, 1, "drafts are cleared away");

    std::fs::write(&path, "not a key").expect("writable");
    let error = ServiceKey::load_or_create(&path).expect_err("refused, not replaced");
    assert_eq!(error.reason(), "KEY_FILE_INVALID");
    std::fs::remove_dir_all(&folder).expect("removable");
}
