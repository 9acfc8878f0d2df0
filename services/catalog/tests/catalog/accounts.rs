//! Accounts: who may change what of them, and what it does to those who are signed in.

use chrono::{DateTime, Utc};
use proto::catalog::v1 as pb;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::audit::events;
use crate::harness::{
    ADMIN_EMAIL, Catalog, PASSWORD, last_or_none_any_more, malformed, refused, violations,
};
use crate::passwords::{NEW, change, reset};
use crate::sessions::{JANE, is_revoked, session_of};

async fn update(
    catalog: &Catalog,
    token: &str,
    user: pb::User,
    paths: &[&str],
) -> Result<pb::User, Status> {
    let request = pb::UpdateUserRequest {
        user: Some(user),
        update_mask: Some(prost_types::FieldMask {
            paths: paths.iter().map(|&path| path.to_owned()).collect(),
        }),
    };
    let answer = catalog.users(token).update_user(request).await;
    answer.map(tonic::Response::into_inner)
}

async fn set_active(catalog: &Catalog, id: &str, is_active: bool) -> Result<pb::User, Status> {
    let user = pb::User {
        id: id.to_owned(),
        is_active: Some(is_active),
        ..pb::User::default()
    };
    update(catalog, &catalog.admin_token, user, &[]).await
}

async fn delete(catalog: &Catalog, id: &str, etag: &str) -> Result<(), Status> {
    let request = pb::DeleteUserRequest {
        id: id.to_owned(),
        etag: etag.to_owned(),
    };
    let answer = catalog
        .users(&catalog.admin_token)
        .delete_user(request)
        .await;
    answer.map(tonic::Response::into_inner)
}

async fn admin(catalog: &Catalog) -> pb::User {
    let mut auth = catalog.auth(&catalog.admin_token);
    let me = auth.get_current_user(pb::GetCurrentUserRequest {}).await;
    me.unwrap().into_inner()
}

#[tokio::test]
async fn everybody_may_change_their_own_name_and_no_more() {
    let catalog = Catalog::start().await;
    let jane = catalog.user(JANE, pb::UserRole::User).await;
    let token = catalog.login(JANE, PASSWORD).await.unwrap();
    let wanted = pb::User {
        id: jane.id.clone(),
        name: "Jane Roe".to_owned(),
        role: pb::UserRole::Admin.into(),
        groups: vec!["ops".to_owned()],
        is_active: Some(true),
        ..pb::User::default()
    };
    let changed = update(&catalog, &token, wanted.clone(), &["name"])
        .await
        .unwrap();
    assert_eq!(
        (changed.name.as_str(), changed.role()),
        ("Jane Roe", jane.role())
    );

    let names = |status: &Status| -> Vec<String> {
        violations(status)
            .into_iter()
            .map(|(field, _)| field)
            .collect()
    };
    let more = update(&catalog, &token, wanted.clone(), &[]).await;
    let status = refused(more, Code::PermissionDenied, "ADMIN_REQUIRED");
    assert_eq!(
        names(&status),
        ["user.role", "user.groups", "user.is_active"]
    );
    let admin = pb::User {
        id: admin(&catalog).await.id,
        ..wanted.clone()
    };
    let others = update(&catalog, &token, admin, &["name"]).await;
    let status = refused(others, Code::PermissionDenied, "ADMIN_REQUIRED");
    assert_eq!(names(&status), ["user.name"]);
    let unknown = pb::User {
        id: Uuid::nil().to_string(),
        ..wanted
    };
    let unknown = update(&catalog, &token, unknown, &["name"]).await;
    refused(unknown, Code::PermissionDenied, "ADMIN_REQUIRED");
    let mine = reset(&catalog, &token, &jane.id, NEW).await;
    refused(mine, Code::PermissionDenied, "ADMIN_REQUIRED");
    let request = pb::GetUserRequest { id: jane.id };
    let after = catalog.users(&token).get_user(request).await.unwrap();
    assert_eq!(
        after.into_inner(),
        changed,
        "what was refused left no trace"
    );
}

#[tokio::test]
async fn whoever_is_not_active_is_out_until_they_are_again() {
    let catalog = Catalog::start().await;
    let jane = catalog.user(JANE, pb::UserRole::User).await;
    assert_eq!(jane.is_active, Some(true));
    let pool = catalog.pool().await;
    let (one, two) = (
        catalog.sign_in(JANE, PASSWORD).await.unwrap(),
        catalog.sign_in(JANE, PASSWORD).await.unwrap(),
    );
    let out = set_active(&catalog, &jane.id, false).await.unwrap();
    assert_eq!(out.is_active, Some(false));
    for session in [&one, &two] {
        assert!(is_revoked(&pool, session_of(&session.access_token)).await);
    }
    let refused_login = catalog.login(JANE, PASSWORD).await;
    let status = refused(refused_login, Code::Unauthenticated, "LOGIN_FAILED");
    let wrong = catalog.login(JANE, "wrong password").await.unwrap_err();
    assert_eq!(
        (status.message(), status.details()),
        (wrong.message(), wrong.details())
    );
    let request = pb::RefreshTokenRequest {
        refresh_token: one.refresh_token,
    };
    let answer = catalog.auth("").refresh_token(request.clone()).await;
    refused(answer, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");

    set_active(&catalog, &jane.id, true).await.unwrap();
    assert!(catalog.login(JANE, PASSWORD).await.is_ok());
    let answer = catalog.auth("").refresh_token(request).await;
    refused(answer, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
}

#[tokio::test]
async fn a_user_may_be_made_before_they_begin() {
    let catalog = Catalog::start().await;
    let request = pb::CreateUserRequest {
        user: Some(pb::User {
            email: JANE.to_owned(),
            name: "Jane".to_owned(),
            is_active: Some(false),
            ..pb::User::default()
        }),
        password: PASSWORD.to_owned(),
        request_id: String::new(),
    };
    let mut users = catalog.users(&catalog.admin_token);
    let jane = users.create_user(request).await.unwrap().into_inner();
    let early = catalog.login(JANE, PASSWORD).await;
    refused(early, Code::Unauthenticated, "LOGIN_FAILED");
    set_active(&catalog, &jane.id, true).await.unwrap();
    assert!(catalog.login(JANE, PASSWORD).await.is_ok());
}

#[tokio::test]
async fn an_administrator_who_is_none_any_more_changes_nothing_at_once() {
    let catalog = Catalog::start().await;
    let jane = catalog.user(JANE, pb::UserRole::Admin).await;
    let token = catalog.login(JANE, PASSWORD).await.unwrap();
    let pool = catalog.pool().await;
    // As another replica does it: this one has not heard of it.
    sqlx::query("update catalog.users set role = 'USER' where email = $1")
        .bind(JANE)
        .execute(&pool)
        .await
        .unwrap();
    let back = pb::UpdateUserRequest {
        user: Some(pb::User {
            id: jane.id.clone(),
            role: pb::UserRole::Admin.into(),
            ..pb::User::default()
        }),
        update_mask: None,
    };
    let answer = catalog.users(&token).update_user(back).await;
    refused(answer, Code::PermissionDenied, "ADMIN_REQUIRED");
    let reset = pb::ResetPasswordRequest {
        id: jane.id.clone(),
        new_password: "another password".to_owned(),
        ..pb::ResetPasswordRequest::default()
    };
    let answer = catalog.users(&token).reset_password(reset).await;
    refused(answer, Code::PermissionDenied, "ADMIN_REQUIRED");
    let delete = pb::DeleteUserRequest {
        id: jane.id,
        ..pb::DeleteUserRequest::default()
    };
    let answer = catalog.users(&token).delete_user(delete).await;
    refused(answer, Code::PermissionDenied, "ADMIN_REQUIRED");
}

#[tokio::test]
async fn it_is_noted_when_access_changed_and_not_when_a_name_did() {
    let catalog = Catalog::start().await;
    let jane = catalog.user(JANE, pb::UserRole::User).await;
    let pool = catalog.pool().await;
    let noted = async || -> DateTime<Utc> {
        sqlx::query_scalar("select access_changed_at from catalog.users where email = $1")
            .bind(JANE)
            .fetch_one(&pool)
            .await
            .unwrap()
    };
    let mut before = noted().await;
    let wanted = pb::User {
        id: jane.id.clone(),
        name: "Jane Roe".to_owned(),
        role: pb::UserRole::Admin.into(),
        groups: vec!["ops".to_owned()],
        is_active: Some(false),
        ..pb::User::default()
    };
    let token = &catalog.admin_token;
    update(&catalog, token, wanted.clone(), &["name"])
        .await
        .unwrap();
    assert_eq!(noted().await, before);
    for field in ["role", "groups", "is_active"] {
        update(&catalog, token, wanted.clone(), &[field])
            .await
            .unwrap();
        let after = noted().await;
        assert!(after > before, "{field}");
        before = after;
        update(&catalog, token, wanted.clone(), &[field])
            .await
            .unwrap();
        assert_eq!(noted().await, before, "{field} was that already");
    }
}

#[tokio::test]
async fn it_is_told_who_changed_whom() {
    let catalog = Catalog::start().await;
    let jane = catalog.user(JANE, pb::UserRole::User).await;
    let one = catalog.sign_in(JANE, PASSWORD).await.unwrap();
    let wanted = pb::User {
        id: jane.id.clone(),
        name: "Jane Roe".to_owned(),
        role: pb::UserRole::Admin.into(),
        groups: vec!["ops".to_owned()],
        is_active: Some(true),
        ..pb::User::default()
    };
    let admin = &catalog.admin_token;
    update(&catalog, &one.access_token, wanted.clone(), &["name"])
        .await
        .unwrap();
    update(&catalog, admin, wanted.clone(), &[]).await.unwrap();
    // Changes nothing; is refused.
    update(&catalog, admin, wanted.clone(), &[]).await.unwrap();
    delete(&catalog, &jane.id, "1").await.unwrap_err();
    change(&catalog, &one.access_token, PASSWORD, NEW)
        .await
        .unwrap();
    for _ in 0..2 {
        let request = pb::RefreshTokenRequest {
            refresh_token: one.refresh_token.clone(),
        };
        let _ = catalog.auth("").refresh_token(request).await;
    }
    reset(&catalog, admin, &jane.id, PASSWORD).await.unwrap();
    let groups = vec!["finance".to_owned()];
    let wanted = pb::User { groups, ..wanted };
    update(&catalog, admin, wanted, &["groups"]).await.unwrap();
    set_active(&catalog, &jane.id, false).await.unwrap();
    delete(&catalog, &jane.id, "").await.unwrap();

    let root = ADMIN_EMAIL.to_lowercase();
    let expected: &[(&str, &str, &[&str])] = &[
        (&root, "CreateUser", &[r#"created user "jane@example.com""#]),
        (
            JANE,
            "UpdateUser",
            &[r#"changed name from "Jane Doe" to "Jane Roe""#],
        ),
        (
            &root,
            "UpdateUser",
            &["changed role from USER to ADMIN", r#"added to group "ops""#],
        ),
        (JANE, "ChangePassword", &["changed their password"]),
        (
            JANE,
            "RefreshToken",
            &["ended a session, as a refresh token was used twice"],
        ),
        (&root, "ResetPassword", &["set a new password"]),
        (
            &root,
            "UpdateUser",
            &[r#"added to group "finance""#, r#"taken out of group "ops""#],
        ),
        (&root, "UpdateUser", &["deactivated"]),
        (&root, "DeleteUser", &[r#"deleted user "jane@example.com""#]),
    ];
    let told = events(&catalog, &format!("object_id = \"{}\"", jane.id)).await;
    let told: Vec<_> = (told.iter().rev())
        .map(|event| {
            let lines: Vec<&str> = event.changes.iter().map(String::as_str).collect();
            (event.actor_name.as_str(), event.action.as_str(), lines)
        })
        .collect();
    let expected: Vec<_> = (expected.iter())
        .map(|(actor, action, lines)| (*actor, *action, lines.to_vec()))
        .collect();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_deleted_user_is_gone_and_what_they_did_stays() {
    let catalog = Catalog::start().await;
    let jane = catalog.user(JANE, pb::UserRole::User).await;
    let pool = catalog.pool().await;
    let token = catalog.login(JANE, PASSWORD).await.unwrap();
    let client = catalog.client("Acme").await;
    let request = pb::CreateWorkflowRequest {
        workflow: Some(pb::Workflow {
            name: "Purchase".to_owned(),
            client_id: client.id,
            ..pb::Workflow::default()
        }),
        request_id: String::new(),
    };
    let mut hers = catalog.workflows_as(&token);
    let made = hers.create_workflow(request).await.unwrap().into_inner();

    refused(
        delete(&catalog, &jane.id, "7").await,
        Code::Aborted,
        "STALE_ETAG",
    );
    assert!(catalog.login(JANE, PASSWORD).await.is_ok());
    delete(&catalog, &jane.id, &jane.etag).await.unwrap();
    assert!(is_revoked(&pool, session_of(&token)).await);
    let gone = catalog.login(JANE, PASSWORD).await;
    refused(gone, Code::Unauthenticated, "LOGIN_FAILED");
    let again = delete(&catalog, &jane.id, "").await;
    refused(again, Code::NotFound, "USER_NOT_FOUND");
    assert_eq!(malformed(delete(&catalog, "1", "").await), ["id"]);
    assert_eq!(catalog.read(&made.id).await, made);
    // The address is free; whoever gets it is somebody else.
    let other = catalog.user(JANE, pb::UserRole::User).await;
    assert_ne!(other.id, jane.id);
}

#[tokio::test]
async fn the_last_active_administrator_stays_one() {
    let catalog = Catalog::start().await;
    let me = admin(&catalog).await;
    let second = catalog
        .user("second@example.com", pb::UserRole::Admin)
        .await;
    set_active(&catalog, &second.id, false).await.unwrap();
    // The other one is not active, and does not count.
    let lost = set_active(&catalog, &me.id, false).await;
    refused(lost, Code::FailedPrecondition, "LAST_ADMIN");
    let lost = delete(&catalog, &me.id, "").await;
    refused(lost, Code::FailedPrecondition, "LAST_ADMIN");
    let demoted = pb::User {
        id: me.id.clone(),
        role: pb::UserRole::User.into(),
        ..pb::User::default()
    };
    let lost = update(&catalog, &catalog.admin_token, demoted.clone(), &[]).await;
    refused(lost, Code::FailedPrecondition, "LAST_ADMIN");
    // What makes nobody less of an administrator is allowed.
    set_active(&catalog, &me.id, true).await.unwrap();
    set_active(&catalog, &second.id, true).await.unwrap();

    // Each in a way of its own, all at once.
    let third = catalog.user("third@example.com", pb::UserRole::Admin).await;
    let (a, b, c) = tokio::join!(
        async {
            update(&catalog, &catalog.admin_token, demoted, &[])
                .await
                .map(drop)
        },
        async { set_active(&catalog, &second.id, false).await.map(drop) },
        delete(&catalog, &third.id, ""),
    );
    let failed: Vec<Status> = [a, b, c].into_iter().filter_map(Result::err).collect();
    assert!((1..=2).contains(&failed.len()), "{failed:?}");
    for status in failed {
        last_or_none_any_more(status);
    }
    let left = "select count(*) from catalog.users where role = 'ADMIN' and is_active";
    let left: i64 = sqlx::query_scalar(left)
        .fetch_one(&catalog.pool().await)
        .await
        .unwrap();
    assert!(left >= 1);
}
