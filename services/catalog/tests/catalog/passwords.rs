//! Passwords that are changed by their owners, or for them.

use proto::catalog::v1 as pb;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::harness::{ADMIN_EMAIL, ADMIN_PASSWORD, Catalog, PASSWORD, malformed, refused};
use crate::sessions::{JANE, count_sessions, is_revoked, session_of};

pub const NEW: &str = "a new password";

pub async fn reset(
    catalog: &Catalog,
    token: &str,
    id: &str,
    new: &str,
) -> Result<pb::User, Status> {
    let request = pb::ResetPasswordRequest {
        id: id.to_owned(),
        new_password: new.to_owned(),
        etag: String::new(),
    };
    let answer = catalog.users(token).reset_password(request).await;
    answer.map(tonic::Response::into_inner)
}

pub async fn change(
    catalog: &Catalog,
    token: &str,
    old: &str,
    new: &str,
) -> Result<pb::User, Status> {
    let request = pb::ChangePasswordRequest {
        current_password: old.to_owned(),
        new_password: new.to_owned(),
    };
    let answer = catalog.auth(token).change_password(request).await;
    answer.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_new_password_ends_all_sessions_but_the_one_that_set_it() {
    let catalog = Catalog::start().await;
    catalog.user(JANE, pb::UserRole::User).await;
    let pool = catalog.pool().await;
    let (own, other) = (
        catalog.sign_in(JANE, PASSWORD).await.unwrap(),
        catalog.sign_in(JANE, PASSWORD).await.unwrap(),
    );
    let token = &own.access_token;
    let wrong = change(&catalog, token, "wrong password", NEW).await;
    refused(wrong, Code::PermissionDenied, "CURRENT_PASSWORD_WRONG");
    let same = change(&catalog, token, PASSWORD, PASSWORD).await;
    assert_eq!(malformed(same), ["new_password"]);
    let bad = change(&catalog, token, "", "short").await;
    assert_eq!(malformed(bad), ["current_password", "new_password"]);
    assert!(catalog.login(JANE, NEW).await.is_err());
    assert_eq!(count_sessions(&pool).await, 3);

    let changed = change(&catalog, token, PASSWORD, NEW).await.unwrap();
    assert_eq!(changed.email, JANE);
    assert!(is_revoked(&pool, session_of(&other.access_token)).await);
    assert!(!is_revoked(&pool, session_of(token)).await);
    let request = pb::RefreshTokenRequest {
        refresh_token: own.refresh_token,
    };
    assert!(catalog.auth("").refresh_token(request).await.is_ok());
    let old = catalog.login(JANE, PASSWORD).await;
    refused(old, Code::Unauthenticated, "LOGIN_FAILED");
    assert!(catalog.login(JANE, NEW).await.is_ok());
    // Whose session has ended, changes nothing, even before everybody has heard of it.
    let late = change(&catalog, &other.access_token, NEW, PASSWORD).await;
    assert_eq!(late.unwrap_err().code(), Code::Unauthenticated);
    assert!(catalog.login(JANE, NEW).await.is_ok());
}

#[tokio::test]
async fn a_stolen_token_does_not_help_to_guess_the_password() {
    let catalog = Catalog::start().await;
    catalog.user(JANE, pb::UserRole::User).await;
    let token = catalog.login(JANE, PASSWORD).await.unwrap();
    for _ in 0..10 {
        let wrong = change(&catalog, &token, "wrong password", NEW).await;
        refused(wrong, Code::PermissionDenied, "CURRENT_PASSWORD_WRONG");
    }
    let limited = change(&catalog, &token, PASSWORD, NEW).await;
    refused(limited, Code::ResourceExhausted, "LOGIN_LIMITED");
}

#[tokio::test]
async fn an_administrator_gives_somebody_a_new_password() {
    let catalog = Catalog::start().await;
    let jane = catalog.user(JANE, pb::UserRole::User).await;
    let pool = catalog.pool().await;
    let admin = &catalog.admin_token;
    let token = catalog.login(JANE, PASSWORD).await.unwrap();
    let bad = reset(&catalog, admin, "1", "short").await;
    assert_eq!(malformed(bad), ["id", "new_password"]);
    let nobody = reset(&catalog, admin, &Uuid::nil().to_string(), NEW).await;
    refused(nobody, Code::NotFound, "USER_NOT_FOUND");
    assert!(!is_revoked(&pool, session_of(&token)).await);

    let after = reset(&catalog, admin, &jane.id, NEW).await.unwrap();
    assert_ne!(after.etag, jane.etag);
    assert!(is_revoked(&pool, session_of(&token)).await);
    assert!(catalog.login(JANE, PASSWORD).await.is_err());
    assert!(catalog.login(JANE, NEW).await.is_ok());
    assert!(catalog.login(ADMIN_EMAIL, ADMIN_PASSWORD).await.is_ok());
}
