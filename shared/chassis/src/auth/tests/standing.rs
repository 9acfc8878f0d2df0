//! Whose access still stands, and how soon it is known.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::standing::{Pace, Stale};
use super::*;

/// Much faster than in a service, and still patient with a machine that is busy.
const QUICK: Pace = Pace {
    ask: Duration::from_millis(10),
    ask_again: Duration::from_millis(1),
    believed: Duration::from_secs(3),
    look: Duration::from_millis(5),
};

fn account(role: Role, is_active: bool, revision: i64) -> Account {
    Account {
        role,
        groups: vec!["board".to_owned()],
        is_active,
        revision,
    }
}

fn key() -> ApiKey {
    ApiKey {
        id: Uuid::from_u128(7),
        name: "packer".to_owned(),
        scope: KeyScope::Worker,
        expires_at: None,
    }
}

impl Catalog {
    fn end(&self, id: Uuid) {
        self.revocations.lock().expect("no panic").ended.insert(id);
    }

    fn change(&self, account: Account) {
        let mut revocations = self.revocations.lock().expect("no panic");
        revocations.accounts.insert(ada().id, account);
    }
}

/// What becomes of the caller by what the catalog says now.
async fn judged(catalog: Catalog, mut caller: Caller) -> std::result::Result<Caller, String> {
    let standing = Standing::new(Arc::new(catalog));
    match standing.judge(&mut caller).await {
        Ok(()) => Ok(caller),
        Err(error) => Err(error.reason().to_owned()),
    }
}

#[tokio::test]
async fn ended_sessions_keys_and_users_are_refused() {
    let revoked = || Err("TOKEN_REVOKED".to_owned());
    let catalog = Catalog::default();
    catalog.end(ada().session_id);
    assert_eq!(judged(catalog, Caller::User(ada())).await, revoked());

    let catalog = Catalog::default();
    catalog.end(key().id);
    assert_eq!(judged(catalog, Caller::ApiKey(key())).await, revoked());

    let catalog = Catalog::default();
    catalog.change(account(Role::Admin, false, 4));
    assert_eq!(judged(catalog, Caller::User(ada())).await, revoked());

    let late = ApiKey {
        expires_at: Some(Utc::now()),
        ..key()
    };
    let said = judged(Catalog::default(), Caller::ApiKey(late)).await;
    assert_eq!(said, Err("TOKEN_EXPIRED".to_owned()));
}

#[tokio::test]
async fn later_role_and_groups_replace_those_of_the_token_and_earlier_ones_do_not() {
    let catalog = Catalog::default();
    catalog.change(account(Role::User, true, 4));
    let Ok(Caller::User(user)) = judged(catalog, Caller::User(ada())).await else {
        panic!("a user who stands");
    };
    let expected = (Role::User, vec!["board".to_owned()], 4);
    assert_eq!((user.role, user.groups, user.revision), expected);

    // A token of revision 3 knows better than what was so before it.
    for before in [account(Role::User, true, 2), account(Role::User, false, 2)] {
        let catalog = Catalog::default();
        catalog.change(before);
        let said = judged(catalog, Caller::User(ada())).await;
        assert_eq!(said, Ok(Caller::User(ada())));
    }
}

#[tokio::test]
async fn remembered_token_is_judged_at_every_call() {
    let catalog = Arc::new(Catalog::default());
    let standing = Standing::at_pace(catalog.clone(), QUICK);
    let verifier = verifier_with(standing);
    let token = token_of(&catalog_key());
    assert!(verifier.verify(&token, now()).await.is_ok());
    catalog.end(ada().session_id);
    let soft = CancellationToken::new();
    let keeping_up = verifier.standing().clone().keep_up(soft.clone());
    let refused = async {
        while verifier.verify(&token, now()).await.is_ok() {
            tokio::task::yield_now().await;
        }
        soft.cancel();
    };
    tokio::join!(keeping_up, refused);
    let error = verifier.verify(&token, now()).await.expect_err("revoked");
    assert_eq!(error.reason(), "TOKEN_REVOKED");
}

/// By the present pace: nobody waits a minute for it.
#[tokio::test]
async fn what_was_known_a_minute_ago_lets_nobody_in_but_the_platforms_own() {
    let catalog = Arc::new(Catalog::default());
    let standing = Standing::new(catalog.clone());
    let before = Instant::now();
    let mut user = Caller::User(ada());
    standing.judge(&mut user).await.expect("known");
    catalog.go_away();
    let after = Instant::now();
    let second = |seconds| Duration::from_secs(seconds);
    for mut caller in [user.clone(), Caller::ApiKey(key())] {
        assert!(matches!(
            standing.look(&mut caller, before + second(59)),
            Ok(Ok(()))
        ));
        assert!(matches!(
            standing.look(&mut caller, after + second(60)),
            Err(Stale)
        ));
    }
    let mut internal = Caller::Internal("execution".to_owned());
    assert!(matches!(
        standing.look(&mut internal, after + second(9999)),
        Ok(Ok(()))
    ));
}

#[tokio::test]
async fn feed_that_is_away_refuses_people_and_machines_until_it_is_back() {
    let catalog = Arc::new(Catalog::default());
    catalog.go_away();
    let verifier = verifier_with(Standing::at_pace(catalog.clone(), QUICK));
    let token = token_of(&catalog_key());
    for _ in 0..2 {
        let error = verifier.verify(&token, now()).await.expect_err("not known");
        assert_eq!(
            (error.code(), error.reason()),
            (tonic::Code::Unavailable, "IDENTITY_STALE")
        );
        let status = tonic::Status::from(error);
        assert!(tonic_types::StatusExt::get_details_retry_info(&status).is_some());
    }
    let (internal, _) = service_key().token("execution", now()).expect("signed");
    assert!(verifier.verify(&internal, now()).await.is_ok());

    // No loop runs here: whoever comes asks.
    catalog.is_away.store(false, Ordering::Relaxed);
    assert!(verifier.verify(&token, now()).await.is_ok());
}

#[tokio::test]
async fn those_who_come_together_ask_once() {
    let catalog = Arc::new(Catalog::default());
    let standing = Standing::new(catalog.clone());
    let callers = (0..100).map(|_| async {
        let mut caller = Caller::User(ada());
        standing.judge(&mut caller).await
    });
    let judged = futures_util::future::join_all(callers).await;
    assert!(judged.iter().all(Result::is_ok));
    assert_eq!(catalog.asked(), 1);

    // The same if it is in vain; nobody waits longer for it than the first.
    let catalog = Arc::new(Catalog::default());
    catalog.go_away();
    let standing = Standing::new(catalog.clone());
    let callers = (0..100).map(|_| async {
        let mut caller = Caller::User(ada());
        standing.judge(&mut caller).await
    });
    let judged = futures_util::future::join_all(callers).await;
    assert!(judged.iter().all(Result::is_err));
    assert_eq!(catalog.asked(), 1);
}

/// Ends with the reason for which what lasts was cut off.
async fn cut_off(
    caller: Caller,
    access: Access,
    then: impl FnOnce(&Catalog),
) -> (String, Arc<Catalog>) {
    let catalog = Arc::new(Catalog::default());
    let standing = Standing::at_pace(catalog.clone(), QUICK);
    let (soft, mut first) = (CancellationToken::new(), caller.clone());
    standing.judge(&mut first).await.expect("known");
    let keeping_up = standing.clone().keep_up(soft.clone());
    let refusal = async {
        then(&catalog);
        let error = standing.refusal(caller, access).await;
        soft.cancel();
        error.reason().to_owned()
    };
    let limit = Duration::from_secs(20);
    let both = tokio::time::timeout(limit, async { tokio::join!(keeping_up, refusal) });
    let ((), reason) = both.await.expect("it is cut off");
    (reason, catalog)
}

#[tokio::test]
async fn what_lasts_is_cut_off_when_access_ends() {
    let user = || Caller::User(ada());
    let (reason, _) = cut_off(user(), Access::Member, |catalog| {
        catalog.end(ada().session_id);
    })
    .await;
    assert_eq!(reason, "TOKEN_REVOKED");
    let (reason, _) = cut_off(user(), Access::Admin, |catalog| {
        catalog.change(account(Role::User, true, 4));
    })
    .await;
    assert_eq!(reason, "ADMIN_REQUIRED");
    let soon = ApiKey {
        expires_at: Some(Utc::now() + TimeDelta::seconds(1)),
        ..key()
    };
    let (reason, _) = cut_off(Caller::ApiKey(soon), Access::Worker, |_| {}).await;
    assert_eq!(reason, "TOKEN_EXPIRED");
    let (reason, _) = cut_off(user(), Access::Member, Catalog::go_away).await;
    assert_eq!(reason, "IDENTITY_STALE");
}

/// The token of a stream grows old, and changes leave the feed.
#[tokio::test]
async fn what_was_learnt_during_a_stream_stays_learnt() {
    let catalog = Arc::new(Catalog::default());
    let standing = Standing::new(catalog.clone());
    catalog.change(account(Role::User, true, 4));
    let mut caller = Caller::User(ada());
    standing.judge(&mut caller).await.expect("known");
    let later = Standing::new(Arc::new(Catalog::default()));
    later.judge(&mut caller).await.expect("known");
    assert!(Access::Admin.check(&caller).is_err());
}
