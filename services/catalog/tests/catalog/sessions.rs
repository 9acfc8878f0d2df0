//! Sessions: how they begin, go on and end.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proto::catalog::v1 as pb;
use proto::catalog::v1::auth_service_client::AuthServiceClient;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};
use tonic::transport::Channel;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::harness::{ADMIN_EMAIL, Catalog, PASSWORD, called, malformed, refused};

pub const JANE: &str = "jane@example.com";

async fn refresh(catalog: &Catalog, token: &str) -> Result<pb::RefreshTokenResponse, Status> {
    let request = pb::RefreshTokenRequest {
        refresh_token: token.to_owned(),
    };
    let answer = catalog.auth("").refresh_token(request).await;
    answer.map(tonic::Response::into_inner)
}

async fn logout(catalog: &Catalog, token: &str, all_sessions: bool) {
    let request = pb::LogoutRequest { all_sessions };
    catalog.auth(token).logout(request).await.unwrap();
}

/// What an access token says.
fn claims(access_token: &str) -> Value {
    let claims = access_token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

pub fn session_of(access_token: &str) -> Uuid {
    claims(access_token)["sid"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

pub async fn is_revoked(pool: &PgPool, session_id: Uuid) -> bool {
    let found = "select exists (select from catalog.revocations where id = $1)";
    let found = sqlx::query_scalar(found).bind(session_id);
    found.fetch_one(pool).await.unwrap()
}

pub async fn count_sessions(pool: &PgPool) -> i64 {
    let count = sqlx::query_scalar("select count(*) from catalog.sessions");
    count.fetch_one(pool).await.unwrap()
}

async fn execute(pool: &PgPool, statement: &'static str, session: Uuid) {
    let done = sqlx::query(statement).bind(session).execute(pool).await;
    assert_eq!(done.unwrap().rows_affected(), 1);
}

fn seconds(instant: Option<prost_types::Timestamp>) -> i64 {
    instant.unwrap().seconds
}

#[tokio::test]
async fn a_session_goes_on_from_token_to_token_and_tells_what_is_true_now() {
    let catalog = Catalog::start().await;
    let jane = catalog.user(JANE, pb::UserRole::User).await;
    let first = catalog.sign_in(JANE, PASSWORD).await.unwrap();
    assert!(seconds(first.refresh_expires_at) - seconds(first.expires_at) > 29 * 86_400);
    let mut seen = BTreeSet::from([first.refresh_token.clone()]);
    let mut newest = first.refresh_token;
    for _ in 0..3 {
        newest = refresh(&catalog, &newest).await.unwrap().refresh_token;
        assert!(seen.insert(newest.clone()), "each token is a new one");
    }
    let wanted = pb::UpdateUserRequest {
        user: Some(pb::User {
            id: jane.id.clone(),
            role: pb::UserRole::Admin.into(),
            groups: vec!["ops".to_owned()],
            ..pb::User::default()
        }),
        update_mask: None,
    };
    let mut users = catalog.users(&catalog.admin_token);
    users.update_user(wanted).await.unwrap();

    let next = refresh(&catalog, &newest).await.unwrap();
    assert_eq!(next.user.unwrap().groups, ["ops"]);
    let told = claims(&next.access_token);
    assert_eq!(
        (&told["role"], &told["groups"][0]),
        (&"ADMIN".into(), &"ops".into())
    );
    assert_eq!(
        session_of(&next.access_token),
        session_of(&first.access_token)
    );
    let me = pb::GetCurrentUserRequest {};
    let me = catalog.auth(&next.access_token).get_current_user(me).await;
    assert_eq!(me.unwrap().into_inner().id, jane.id);
}

#[tokio::test]
async fn a_token_that_comes_back_ends_its_session() {
    let catalog = Catalog::start().await;
    catalog.user(JANE, pb::UserRole::User).await;
    let first = catalog.sign_in(JANE, PASSWORD).await.unwrap();
    let other = catalog.sign_in(JANE, PASSWORD).await.unwrap();
    let second = refresh(&catalog, &first.refresh_token).await.unwrap();

    let pool = catalog.pool().await;
    let reused = refresh(&catalog, &first.refresh_token).await;
    refused(reused, Code::Unauthenticated, "REFRESH_TOKEN_REUSED");
    for token in [&second.refresh_token, &first.refresh_token] {
        let ended = refresh(&catalog, token).await;
        refused(ended, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
    }
    assert!(is_revoked(&pool, session_of(&first.access_token)).await);
    assert!(!is_revoked(&pool, session_of(&other.access_token)).await);
    assert!(refresh(&catalog, &other.refresh_token).await.is_ok());
}

#[tokio::test]
async fn of_many_with_one_token_one_goes_on() {
    let catalog = Catalog::start().await;
    catalog.user(JANE, pb::UserRole::User).await;
    let replica = catalog.replica().await;
    let first = catalog.sign_in(JANE, PASSWORD).await.unwrap();
    let at_replica = async |channel: Channel| {
        let refresh_token = first.refresh_token.clone();
        let request = pb::RefreshTokenRequest { refresh_token };
        AuthServiceClient::new(called(channel, ""))
            .refresh_token(request)
            .await
            .map(tonic::Response::into_inner)
    };
    let here = || refresh(&catalog, &first.refresh_token);
    let there = || at_replica(replica.clone());
    let (a, b, c, d, e, f) = tokio::join!(here(), there(), here(), there(), here(), there());
    let (won, lost): (Vec<_>, Vec<_>) = [a, b, c, d, e, f].into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 5));
    let reused = (lost.into_iter().map(Result::unwrap_err))
        .filter(|status| status.message().contains("used before"))
        .count();
    assert_eq!(
        reused, 1,
        "the second ends the session, and the rest find none"
    );
    let pool = catalog.pool().await;
    assert!(is_revoked(&pool, session_of(&first.access_token)).await);
}

#[tokio::test]
async fn whoever_knows_only_a_sessions_name_cannot_end_it() {
    let catalog = Catalog::start().await;
    catalog.user(JANE, pb::UserRole::User).await;
    let first = catalog.sign_in(JANE, PASSWORD).await.unwrap();
    let id = session_of(&first.access_token);
    let guessed = [&id.as_bytes()[..], &[0; 48]].concat();
    let unknown = [&Uuid::nil().as_bytes()[..], &[0; 48]].concat();
    let long = "A".repeat(400);
    for bad in [
        &URL_SAFE_NO_PAD.encode(guessed),
        &URL_SAFE_NO_PAD.encode(unknown),
        "x",
        &long,
    ] {
        let answer = refresh(&catalog, bad).await;
        refused(answer, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
    }
    assert_eq!(malformed(refresh(&catalog, "").await), ["refresh_token"]);
    assert!(refresh(&catalog, &first.refresh_token).await.is_ok());
}

#[tokio::test]
async fn a_session_is_over_by_time() {
    let catalog = Catalog::start().await;
    catalog.user(JANE, pb::UserRole::User).await;
    let pool = catalog.pool().await;
    let first = catalog.sign_in(JANE, PASSWORD).await.unwrap();
    let id = session_of(&first.access_token);
    let eighty =
        "update catalog.sessions set created_at = now() - interval '80 days' where id = $1";
    execute(&pool, eighty, id).await;
    let second = refresh(&catalog, &first.refresh_token).await.unwrap();
    let left = seconds(second.refresh_expires_at) - seconds(first.refresh_expires_at);
    assert!(
        (left + 20 * 86_400).abs() < 60,
        "10 days are left, not 30: {left}"
    );

    // Five minutes before the end the access token gets no more than those.
    let soon =
        "update catalog.sessions set created_at = now() - interval '90 days' + interval '5 minutes'
                where id = $1";
    execute(&pool, soon, id).await;
    let third = refresh(&catalog, &second.refresh_token).await.unwrap();
    assert_eq!(third.expires_at, third.refresh_expires_at);

    let over = "update catalog.sessions set expires_at = now() where id = $1";
    execute(&pool, over, id).await;
    for token in [&third.refresh_token, &first.refresh_token] {
        let answer = refresh(&catalog, token).await;
        refused(answer, Code::Unauthenticated, "REFRESH_TOKEN_EXPIRED");
    }
}

#[tokio::test]
async fn whoever_signs_out_ends_one_session_or_all() {
    let catalog = Catalog::start().await;
    catalog.user(JANE, pb::UserRole::User).await;
    let pool = catalog.pool().await;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(catalog.sign_in(JANE, PASSWORD).await.unwrap());
    }
    let [one, two, three, four] = sessions.try_into().unwrap();
    logout(&catalog, &one.access_token, false).await;
    let answer = refresh(&catalog, &one.refresh_token).await;
    refused(answer, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
    assert!(is_revoked(&pool, session_of(&one.access_token)).await);
    let two = refresh(&catalog, &two.refresh_token).await.unwrap();

    logout(&catalog, &two.access_token, true).await;
    for (access, token) in [
        (&two.access_token, &two.refresh_token),
        (&three.access_token, &three.refresh_token),
        (&four.access_token, &four.refresh_token),
    ] {
        assert!(is_revoked(&pool, session_of(access)).await);
        let answer = refresh(&catalog, token).await;
        refused(answer, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
    }
    assert_eq!(
        count_sessions(&pool).await,
        1,
        "the administrator's goes on"
    );
    assert!(!is_revoked(&pool, session_of(&catalog.admin_token)).await);
}

#[tokio::test]
async fn the_session_that_was_refreshed_the_longest_ago_makes_room() {
    let catalog = Catalog::start().await;
    let jane = catalog.user(JANE, pb::UserRole::User).await;
    let pool = catalog.pool().await;
    let oldest = catalog.sign_in(JANE, PASSWORD).await.unwrap();
    let kept = catalog.sign_in(JANE, PASSWORD).await.unwrap();
    let aged = "update catalog.sessions set refreshed_at = now() - interval '1 day' where id = $1";
    execute(&pool, aged, session_of(&oldest.access_token)).await;
    let more = "insert into catalog.sessions
                    (id, user_id, lasting_digest, rotating_digest, expires_at)
                select gen_random_uuid(), $1, '', '', now() + interval '1 day'
                from generate_series(1, 48)";
    let more = sqlx::query(more).bind(jane.id.parse::<Uuid>().unwrap());
    more.execute(&pool).await.unwrap();
    assert_eq!(count_sessions(&pool).await, 51, "with the administrator's");

    catalog.sign_in(JANE, PASSWORD).await.unwrap();
    assert_eq!(count_sessions(&pool).await, 51);
    assert!(is_revoked(&pool, session_of(&oldest.access_token)).await);
    assert!(refresh(&catalog, &kept.refresh_token).await.is_ok());
}

#[tokio::test]
async fn a_session_outlives_its_server() {
    let catalog = Catalog::start().await;
    let first = catalog
        .sign_in(ADMIN_EMAIL, crate::harness::ADMIN_PASSWORD)
        .await
        .unwrap();
    let catalog = catalog.restarted().await;
    let me = pb::GetCurrentUserRequest {};
    let me = catalog.auth(&first.access_token).get_current_user(me).await;
    assert_eq!(me.unwrap().into_inner().email, ADMIN_EMAIL.to_lowercase());
    let second = refresh(&catalog, &first.refresh_token).await.unwrap();
    assert_eq!(
        session_of(&second.access_token),
        session_of(&first.access_token)
    );
    let reused = refresh(&catalog, &first.refresh_token).await;
    refused(reused, Code::Unauthenticated, "REFRESH_TOKEN_REUSED");
}

#[tokio::test]
async fn no_secret_is_found_in_the_tables() {
    let catalog = Catalog::start().await;
    let jane = catalog.user(JANE, pb::UserRole::User).await;
    let mut secrets = vec![PASSWORD.to_owned(), "a new password".to_owned()];
    let first = catalog.sign_in(JANE, PASSWORD).await.unwrap();
    let second = refresh(&catalog, &first.refresh_token).await.unwrap();
    let request = pb::ChangePasswordRequest {
        current_password: PASSWORD.to_owned(),
        new_password: "a new password".to_owned(),
    };
    catalog
        .auth(&second.access_token)
        .change_password(request)
        .await
        .unwrap();
    // Where the address belongs and where the password does, and neither is right.
    for (email, password) in [("typed-by-mistake", "x"), (JANE, "almost-right")] {
        refused(
            catalog.login(email, password).await,
            Code::Unauthenticated,
            "LOGIN_FAILED",
        );
    }
    secrets.extend(["typed-by-mistake", "almost-right"].map(str::to_owned));
    secrets.extend([first.access_token, second.access_token]);
    for token in [first.refresh_token, second.refresh_token] {
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for secret in [&bytes[16..32], &bytes[32..]] {
            secrets.push(secret.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        secrets.push(token);
    }
    let stored = dump(&catalog.pool().await).await;
    assert!(
        stored.contains(&jane.id) && stored.contains("$argon2id$"),
        "it is all of it"
    );
    assert!(stored.contains("source:127.0.0.1"));
    for secret in secrets {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(
            !stored.contains(&secret) && !stored.contains(&hex),
            "{secret}"
        );
    }
}

/// Every row of every table; bytes are in hexadecimal digits.
async fn dump(pool: &PgPool) -> String {
    let tables =
        "select table_name::text from information_schema.tables where table_schema = 'catalog'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(pool).await.unwrap();
    let mut all = String::new();
    for table in tables {
        let rows = format!("select coalesce(string_agg(t::text, ' '), '') from catalog.{table} t");
        let rows: String = sqlx::query_scalar(AssertSqlSafe(rows))
            .fetch_one(pool)
            .await
            .unwrap();
        all.push_str(&rows);
    }
    all
}
