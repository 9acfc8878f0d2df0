//! Who is let in, and to what.

use proto::catalog::v1 as pb;
use proto::catalog::v1::auth_service_client::AuthServiceClient;
use tonic::{Code, Status};

use crate::harness::{
    ADMIN_EMAIL, ADMIN_PASSWORD, Catalog, called, config, last_or_none_any_more, launch, malformed,
    refused, sign_in,
};

fn user(email: &str) -> pb::User {
    pb::User {
        email: email.to_owned(),
        name: "Jane Doe".to_owned(),
        ..pb::User::default()
    }
}

async fn create(catalog: &Catalog, token: &str, user: pb::User) -> Result<pb::User, Status> {
    let request = pb::CreateUserRequest {
        user: Some(user),
        password: "jane's password".to_owned(),
        request_id: String::new(),
    };
    Ok(catalog
        .users(token)
        .create_user(request)
        .await?
        .into_inner())
}

async fn list(catalog: &Catalog, token: &str, filter: &str) -> Result<Vec<pb::User>, Status> {
    let request = pb::ListUsersRequest {
        filter: filter.to_owned(),
        ..pb::ListUsersRequest::default()
    };
    let answer = catalog.users(token).list_users(request).await?;
    Ok(answer.into_inner().users)
}

/// As the administrator, with what is set.
async fn update(catalog: &Catalog, user: pb::User) -> Result<pb::User, Status> {
    let request = pb::UpdateUserRequest {
        user: Some(user),
        update_mask: None,
    };
    let mut users = catalog.users(&catalog.admin_token);
    Ok(users.update_user(request).await?.into_inner())
}

#[tokio::test]
async fn a_failed_login_says_the_same_whatever_was_wrong() {
    let catalog = Catalog::start().await;
    let mut answers = Vec::new();
    for (email, password) in [
        (ADMIN_EMAIL, "wrong password"),
        (ADMIN_EMAIL, "x"),
        ("nobody@example.com", ADMIN_PASSWORD),
        ("not an address", ADMIN_PASSWORD),
    ] {
        let status = refused(
            catalog.login(email, password).await,
            Code::Unauthenticated,
            "LOGIN_FAILED",
        );
        answers.push((status.message().to_owned(), status.details().to_vec()));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
    assert_eq!(
        malformed(catalog.login("", "").await),
        ["email", "password"]
    );
    assert_eq!(malformed(catalog.login("a@b", "a\0b").await), ["password"]);
    // Upper and lower case of the address are the same.
    assert!(
        catalog
            .login("ROOT@example.COM", ADMIN_PASSWORD)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn roles_decide_who_may_call_what() {
    let catalog = Catalog::start().await;
    let admin = catalog.admin_token.clone();
    create(&catalog, &admin, user("Jane@Example.com"))
        .await
        .unwrap();
    let jane = catalog
        .login("jane@example.com", "jane's password")
        .await
        .unwrap();
    let service = catalog.service_token();

    let get = || pb::GetCurrentUserRequest {};
    let me = catalog
        .auth(&jane)
        .get_current_user(get())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (me.email.as_str(), me.role()),
        ("jane@example.com", pb::UserRole::User)
    );
    let keys = catalog
        .auth("")
        .list_signing_keys(pb::ListSigningKeysRequest {})
        .await
        .unwrap();
    assert_eq!(keys.into_inner().keys.len(), 1);

    let mine = create(&catalog, &jane, user("other@example.com")).await;
    refused(mine, Code::PermissionDenied, "ADMIN_REQUIRED");
    assert_eq!(list(&catalog, &jane, "").await.unwrap().len(), 2);
    let filter = r#"role = "ADMIN" AND email = "ROOT@example.com""#;
    assert_eq!(list(&catalog, &jane, filter).await.unwrap().len(), 1);

    let starts = || pb::ResolveStartsRequest::default();
    assert!(
        catalog
            .definitions(&service)
            .resolve_starts(starts())
            .await
            .is_ok()
    );
    let answer = catalog.definitions(&admin).resolve_starts(starts()).await;
    refused(answer, Code::PermissionDenied, "INTERNAL_ONLY");
    let answer = list(&catalog, &service, "").await;
    refused(answer, Code::PermissionDenied, "USER_REQUIRED");
}

#[tokio::test]
async fn only_a_whole_token_lets_anybody_in() {
    let catalog = Catalog::start().await;
    let whole = catalog.admin_token.clone();
    let list = || pb::ListClientsRequest::default();
    let answer = catalog.clients_as(&whole).list_clients(list()).await;
    assert!(answer.is_ok());
    let (longer, shorter) = (format!("{whole}x"), &whole[..whole.len() - 20]);
    for token in ["", "nonsense", &longer, shorter] {
        let answer = catalog.clients_as(token).list_clients(list()).await;
        assert_eq!(answer.unwrap_err().code(), Code::Unauthenticated, "{token}");
    }
}

#[tokio::test]
async fn users_are_created_and_changed_by_administrators() {
    let catalog = Catalog::start().await;
    let admin = catalog.admin_token.clone();
    let groups = ["ops", "finance", "ops"].map(str::to_owned).to_vec();
    let jane = pb::User {
        groups,
        ..user("jane@example.com")
    };
    let jane = create(&catalog, &admin, jane).await.unwrap();
    assert_eq!(jane.groups, ["finance", "ops"]);
    let again = create(&catalog, &admin, user("JANE@example.com")).await;
    refused(again, Code::AlreadyExists, "EMAIL_TAKEN");
    let wrong = pb::User {
        email: "nowhere".to_owned(),
        name: " ".to_owned(),
        role: 7,
        groups: vec![String::new()],
        ..pb::User::default()
    };
    assert_eq!(
        malformed(create(&catalog, &admin, wrong).await),
        ["user.email", "user.name", "user.role", "user.groups[0]"]
    );

    let wanted = pb::User {
        id: jane.id.clone(),
        role: pb::UserRole::Admin.into(),
        etag: jane.etag.clone(),
        ..pb::User::default()
    };
    let promoted = update(&catalog, wanted.clone()).await.unwrap();
    assert_eq!(
        (promoted.role(), promoted.groups),
        (pb::UserRole::Admin, jane.groups)
    );
    refused(update(&catalog, wanted).await, Code::Aborted, "STALE_ETAG");
}

#[tokio::test]
async fn an_administrator_remains_whoever_goes_first() {
    let catalog = Catalog::start().await;
    let admin = catalog.admin_token.clone();
    let second = pb::User {
        role: pb::UserRole::Admin.into(),
        ..user("second@example.com")
    };
    create(&catalog, &admin, second).await.unwrap();
    let all = list(&catalog, &admin, "").await.unwrap();
    let demoted = |user: &pb::User| pb::User {
        id: user.id.clone(),
        role: pb::UserRole::User.into(),
        ..pb::User::default()
    };
    let (first, second) = tokio::join!(
        update(&catalog, demoted(&all[0])),
        update(&catalog, demoted(&all[1]))
    );
    assert_eq!(
        usize::from(first.is_err()) + usize::from(second.is_err()),
        1
    );
    last_or_none_any_more(first.and(second).unwrap_err());
}

#[tokio::test]
async fn the_first_administrator_is_made_once() {
    let (database, folder) = (devkit::Database::new().await, devkit::Folder::new());
    let shutdown = chassis::Shutdown::new();
    let wanted = |email: &str| catalog::Config {
        admin_email: email.to_owned(),
        ..config(&database, &folder)
    };
    let (one, other) = tokio::join!(
        launch(wanted("one@localhost"), &shutdown),
        launch(wanted("other@localhost"), &shutdown)
    );
    let mut made = 0;
    for email in ["one@localhost", "other@localhost"] {
        for channel in [&one, &other] {
            let answer = sign_in(channel, email, ADMIN_PASSWORD).await;
            made += usize::from(answer.is_ok());
        }
    }
    assert_eq!(made, 2, "one account, which both replicas know");
    shutdown.soft.cancel();
}

#[tokio::test]
async fn a_token_is_good_at_every_replica() {
    let catalog = Catalog::start().await;
    let (second, third) = tokio::join!(catalog.replica(), catalog.replica());
    for channel in [second, third] {
        let mut auth = AuthServiceClient::new(called(channel, &catalog.admin_token));
        let me = auth
            .get_current_user(pb::GetCurrentUserRequest {})
            .await
            .unwrap();
        assert_eq!(me.into_inner().email, ADMIN_EMAIL.to_lowercase());
        let keys = auth
            .list_signing_keys(pb::ListSigningKeysRequest {})
            .await
            .unwrap();
        assert_eq!(keys.into_inner().keys.len(), 1);
    }
}

#[tokio::test]
async fn without_a_password_nobody_is_made() {
    let (database, folder) = (devkit::Database::new().await, devkit::Folder::new());
    let shutdown = chassis::Shutdown::new();
    let config = catalog::Config {
        admin_password: None,
        ..config(&database, &folder)
    };
    let channel = launch(config, &shutdown).await;
    let answer = sign_in(&channel, ADMIN_EMAIL, ADMIN_PASSWORD).await;
    refused(answer, Code::Unauthenticated, "LOGIN_FAILED");
    let users: i64 = sqlx::query_scalar("select count(*) from catalog.users")
        .fetch_one(
            &sqlx::PgPool::connect(&database.catalog_url())
                .await
                .unwrap(),
        )
        .await
        .unwrap();
    assert_eq!(users, 0);
    shutdown.soft.cancel();
}
