//! How often passwords may be guessed, and whom that does not hinder.

use proto::catalog::v1 as pb;
use proto::catalog::v1::auth_service_client::AuthServiceClient;
use sqlx::PgPool;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::harness::{
    ADMIN_EMAIL, ADMIN_PASSWORD, Catalog, PASSWORD, channel_from, config, launch_at, refused,
};
use crate::sessions::JANE;

const WRONG: &str = "wrong password";
const HOME: &str = "127.0.0.1";
const ELSEWHERE: [&str; 3] = ["127.0.0.2", "127.0.0.3", "127.0.0.4"];

#[track_caller]
fn failed<T: std::fmt::Debug>(answer: Result<T, Status>) {
    refused(answer, Code::Unauthenticated, "LOGIN_FAILED");
}

#[track_caller]
fn limited<T: std::fmt::Debug>(answer: Result<T, Status>) {
    let status = refused(answer, Code::ResourceExhausted, "LOGIN_LIMITED");
    let retry = status.get_details_retry_info().unwrap();
    let wait = retry.retry_delay.unwrap().as_secs();
    assert!((14 * 60..=15 * 60).contains(&wait), "{wait} s");
}

/// What is counted, digests without what they are of.
async fn counts(pool: &PgPool) -> Vec<(String, i32)> {
    sqlx::query_as(
        "select case when key like 'source:%' then key else 'digest' end as name, count
         from catalog.login_failures order by name, count",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

async fn execute(pool: &PgPool, statement: &'static str) {
    let done = sqlx::query(statement).execute(pool).await.unwrap();
    assert!(done.rows_affected() > 0);
}

#[tokio::test]
async fn who_guesses_is_stopped_and_the_owner_elsewhere_is_not() {
    let catalog = Catalog::start().await;
    catalog.user(JANE, pb::UserRole::User).await;
    let [there, ..] = ELSEWHERE;
    for email in [JANE, "nobody@example.com"] {
        for _ in 0..10 {
            failed(catalog.sign_in_from(there, email, WRONG).await);
        }
        limited(catalog.sign_in_from(there, email, WRONG).await);
    }
    // The right password is of no use there now, but it is here.
    limited(catalog.sign_in_from(there, JANE, PASSWORD).await);
    limited(
        catalog
            .sign_in_from(there, "JANE@example.com", PASSWORD)
            .await,
    );
    assert!(catalog.sign_in_from(HOME, JANE, PASSWORD).await.is_ok());
    let other = catalog
        .sign_in_from(there, ADMIN_EMAIL, ADMIN_PASSWORD)
        .await;
    assert!(other.is_ok(), "another account is not concerned");

    let pool = catalog.pool().await;
    let digests = [10, 10, 10, 10].map(|count| ("digest".to_owned(), count));
    let source = ("source:127.0.0.2".to_owned(), 20);
    let expected: Vec<_> = digests.into_iter().chain([source]).collect();
    assert_eq!(
        counts(&pool).await,
        expected,
        "refusals do not count, nor does what was right"
    );

    execute(
        &pool,
        "update catalog.login_failures set since = since - interval '15 minutes'",
    )
    .await;
    assert!(catalog.sign_in_from(there, JANE, PASSWORD).await.is_ok());
}

#[tokio::test]
async fn guesses_at_once_get_no_further_than_guesses_in_turn() {
    let catalog = Catalog::start().await;
    catalog.user(JANE, pb::UserRole::User).await;
    let replica = catalog.replica().await;
    let here = channel_from(catalog.address(), HOME);
    let mut guesses = tokio::task::JoinSet::new();
    for number in 0..60 {
        let channel = if number % 2 == 0 { &here } else { &replica };
        let mut auth = AuthServiceClient::new(channel.clone());
        let request = pb::LoginRequest {
            email: JANE.to_owned(),
            password: format!("guess number {number}"),
        };
        guesses.spawn(async move { auth.login(request).await });
    }
    let mut judged = 0;
    while let Some(answer) = guesses.join_next().await {
        let status = answer.unwrap().unwrap_err();
        match status.code() {
            Code::Unauthenticated => judged += 1,
            code => assert_eq!(code, Code::ResourceExhausted, "{status:?}"),
        }
    }
    assert_eq!(judged, 10);
}

#[tokio::test]
async fn right_passwords_at_once_do_not_hinder_each_other() {
    let catalog = Catalog::start().await;
    catalog.user(JANE, pb::UserRole::User).await;
    let here = channel_from(catalog.address(), HOME);
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let mut auth = AuthServiceClient::new(here.clone());
        let request = pb::LoginRequest {
            email: JANE.to_owned(),
            password: PASSWORD.to_owned(),
        };
        logins.spawn(async move { auth.login(request).await });
    }
    while let Some(answer) = logins.join_next().await {
        answer.unwrap().unwrap();
    }
    assert_eq!(counts(&catalog.pool().await).await, []);
}

#[tokio::test]
async fn an_account_that_is_guessed_everywhere_stays_open_where_its_owner_is_known() {
    let catalog = Catalog::start().await;
    catalog.user(JANE, pb::UserRole::User).await;
    let pool = catalog.pool().await;
    let [one, two, three] = ELSEWHERE;
    assert!(catalog.sign_in_from(HOME, JANE, PASSWORD).await.is_ok());
    failed(catalog.sign_in_from(one, JANE, WRONG).await);
    failed(catalog.sign_in_from(two, JANE, WRONG).await);
    // What both are counted for is the account.
    let most = "update catalog.login_failures set count = 100 where count = 2";
    execute(&pool, most).await;
    limited(catalog.sign_in_from(three, JANE, PASSWORD).await);
    assert!(catalog.sign_in_from(HOME, JANE, PASSWORD).await.is_ok());
    let other = catalog
        .sign_in_from(three, ADMIN_EMAIL, ADMIN_PASSWORD)
        .await;
    assert!(other.is_ok());
    // After three months it is no longer known.
    let aged = "update catalog.known_sources set last_login_at = now() - interval '90 days'
                where source = '127.0.0.1'";
    execute(&pool, aged).await;
    limited(catalog.sign_in_from(HOME, JANE, PASSWORD).await);
}

#[tokio::test]
async fn a_source_that_tries_everybody_is_stopped() {
    let catalog = Catalog::start().await;
    catalog.user(JANE, pb::UserRole::User).await;
    let [there, other, ..] = ELSEWHERE;
    failed(catalog.sign_in_from(there, "a@example.com", WRONG).await);
    let most = "update catalog.login_failures set count = 300 where key = 'source:127.0.0.2'";
    execute(&catalog.pool().await, most).await;
    limited(catalog.sign_in_from(there, "b@example.com", WRONG).await);
    limited(catalog.sign_in_from(there, JANE, PASSWORD).await);
    assert!(catalog.sign_in_from(other, JANE, PASSWORD).await.is_ok());
}

#[tokio::test]
async fn a_failed_login_leaves_the_same_traces_whatever_was_wrong() {
    let catalog = Catalog::start().await;
    let jane = catalog.user(JANE, pb::UserRole::User).await;
    catalog.user("joe@example.com", pb::UserRole::User).await;
    let out = pb::UpdateUserRequest {
        user: Some(pb::User {
            id: jane.id,
            is_active: Some(false),
            ..pb::User::default()
        }),
        update_mask: None,
    };
    catalog
        .users(&catalog.admin_token)
        .update_user(out)
        .await
        .unwrap();
    let pool = catalog.pool().await;
    for (email, password) in [
        ("joe@example.com", WRONG),
        ("nobody@example.com", WRONG),
        (JANE, WRONG),
        (JANE, PASSWORD),
    ] {
        failed(catalog.login(email, password).await);
        let one = |name: &str| (name.to_owned(), 1);
        let expected = [one("digest"), one("digest"), one("source:127.0.0.1")];
        assert_eq!(counts(&pool).await, expected, "{email}");
        execute(&pool, "delete from catalog.login_failures").await;
    }
}

#[tokio::test]
async fn of_a_users_sources_the_fifty_latest_are_known() {
    let catalog = Catalog::start().await;
    let pool = catalog.pool().await;
    execute(
        &pool,
        "insert into catalog.known_sources (user_id, source, last_login_at)
         select u.id, n::text, now() - n * interval '1 minute'
         from catalog.users u, generate_series(1, 60) n",
    )
    .await;
    assert!(catalog.login(ADMIN_EMAIL, ADMIN_PASSWORD).await.is_ok());
    let known: Vec<String> =
        sqlx::query_scalar("select source from catalog.known_sources order by last_login_at desc")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(
        (known.len(), known[0].as_str(), known[49].as_str()),
        (50, HOME, "49")
    );
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_address_counts_that_it_tells() {
    let (database, folder) = (devkit::Database::new().await, devkit::Folder::new());
    let shutdown = chassis::Shutdown::new();
    let config = catalog::Config {
        trusted_proxies: "127.0.0.2".parse().unwrap(),
        ..config(&database, &folder)
    };
    let (address, _) = launch_at(config, &shutdown).await;
    let [proxy, stranger, _] = ELSEWHERE;
    let login = async |from: &str, header: &'static str| {
        let mut request = Request::new(pb::LoginRequest {
            email: ADMIN_EMAIL.to_owned(),
            password: WRONG.to_owned(),
        });
        let forwarded = header.parse().unwrap();
        request.metadata_mut().insert("x-forwarded-for", forwarded);
        let mut auth = AuthServiceClient::new(channel_from(&address, from));
        auth.login(request).await
    };
    failed(login(proxy, "198.51.100.1, 203.0.113.7").await);
    failed(login(proxy, "203.0.113.7").await);
    failed(login(stranger, "203.0.113.7").await);
    let pool = PgPool::connect(&database.catalog_url()).await.unwrap();
    let sources: Vec<_> = (counts(&pool).await.into_iter())
        .filter(|(name, _)| name != "digest")
        .collect();
    let expected = [("source:127.0.0.3", 1), ("source:203.0.113.7", 2)];
    assert_eq!(
        sources,
        expected.map(|(name, count)| (name.to_owned(), count))
    );
    shutdown.soft.cancel();
}
