//! What the catalog does unasked. Invariant: a round that fails changes nothing; the next one makes up
//! for it.

use std::sync::Arc;
use std::time::Duration;

use chassis::{Result, Shutdown, db};
use chrono::TimeDelta;
use sqlx::PgPool;
use tokio::time::MissedTickBehavior;

use crate::identity::{Signer, limits};
use crate::store::{audit, known_sources, login_failures, requests, revocations, sessions};

/// Also how soon a signing key that another replica made is known here.
const EVERY: Duration = Duration::from_secs(30);
/// How long a request_id is remembered.
const REQUEST_LIFE: TimeDelta = TimeDelta::days(7);
/// How long a session that is over by time is remembered as such.
const SESSION_AFTERLIFE: TimeDelta = TimeDelta::days(7);
/// How long it is told that a session or a key has ended: longer than anybody accepts what they had.
const REVOCATION_LIFE: TimeDelta = TimeDelta::hours(1);

pub async fn run(pool: PgPool, signer: Arc<Signer>, audit_days: u16, shutdown: Shutdown) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.soft.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = db::patiently(round(&pool, &signer, audit_days)).await {
            tracing::warn!(%error, "housekeeping is put off");
        }
    }
}

async fn round(pool: &PgPool, signer: &Signer, audit_days: u16) -> Result<()> {
    let now = db::now(&mut *db::acquire(pool).await?).await?;
    signer.round(pool, now).await?;
    let mut conn = db::acquire(pool).await?;
    // One that fails does not keep the others from their work.
    let audited = now - TimeDelta::days(audit_days.into());
    let done = [
        sessions::announce_expired(&mut conn, now).await,
        sessions::purge(&mut conn, now - SESSION_AFTERLIFE).await,
        revocations::purge(&mut conn, now - REVOCATION_LIFE).await,
        login_failures::purge(&mut conn, now - limits::WINDOW).await,
        known_sources::purge(&mut conn, now - limits::KNOWN_FOR).await,
        requests::purge(&mut conn, now - REQUEST_LIFE).await,
        audit::purge(&mut conn, audited).await,
    ];
    done.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::identity::MasterKey;

    async fn count(pool: &PgPool, table: &'static str) -> i64 {
        let statement = sqlx::AssertSqlSafe(format!("select count(*) from catalog.{table}"));
        sqlx::query_scalar(statement).fetch_one(pool).await.unwrap()
    }

    #[tokio::test]
    async fn a_round_forgets_what_is_over_and_learns_new_keys() {
        let (database, folder) = (devkit::Database::new().await, devkit::Folder::new());
        let pool = PgPool::connect(&database.catalog_url()).await.unwrap();
        let signer = |name: &str| {
            let key = MasterKey::load_or_create(&folder.path().join(name)).unwrap();
            Signer::new(key, 30)
        };
        let (own, other) = (signer("own"), signer("other"));
        let now = db::now(&mut pool.acquire().await.unwrap()).await.unwrap();
        own.round(&pool, now).await.unwrap();
        // Another replica, with another master key: it cannot use the first one's key.
        other.round(&pool, now).await.unwrap();
        assert_eq!((own.published().len(), other.published().len()), (1, 2));
        // Of each pair one is over by an hour at most, one is not yet.
        for statement in [
            "insert into catalog.requests
                 (caller, method, request_id, body_hash, resource_id, created_at)
             select 'c', 'm', gen_random_uuid(), '', gen_random_uuid(), now() - age
             from unnest(array['6 days 23 hours', '7 days 1 hour']::interval[]) age",
            "insert into catalog.users (id, email, password, name)
             values (gen_random_uuid(), 'a@b', '', 'A')",
            "insert into catalog.sessions
                 (id, user_id, lasting_digest, rotating_digest, expires_at)
             select gen_random_uuid(), id, '', '', now() - age
             from catalog.users, unnest(array['6 days 23 hours', '7 days 1 hour']::interval[]) age",
            "insert into catalog.known_sources (user_id, source, last_login_at)
             select id, age::text, now() - age
             from catalog.users, unnest(array['89 days 23 hours', '90 days 1 hour']::interval[]) age",
            "insert into catalog.revocations (id, revoked_at)
             select gen_random_uuid(), now() - age
             from unnest(array['59 minutes', '61 minutes']::interval[]) age",
            "insert into catalog.login_failures (key, count, since)
             select age::text, 1, now() - age
             from unnest(array['14 minutes', '16 minutes']::interval[]) age",
            "insert into catalog.audit_events
                 (id, occurred_at, actor_type, actor_name, action, object_type, object_id, changes)
             select gen_random_uuid(), now() - age, 'SERVICE', 's', 'a', 'CLIENT', gen_random_uuid(), '{}'
             from unnest(array['9 days 23 hours', '10 days 1 hour']::interval[]) age",
        ] {
            sqlx::query(statement).execute(&pool).await.unwrap();
        }

        round(&pool, &own, 10).await.unwrap();
        assert_eq!(own.published().len(), 2);
        assert_eq!(own.accepted().read().unwrap().len(), 2);
        for table in [
            "requests",
            "sessions",
            "known_sources",
            "revocations",
            "login_failures",
            "audit_events",
        ] {
            assert_eq!(count(&pool, table).await, 1, "{table}");
        }
    }
}
