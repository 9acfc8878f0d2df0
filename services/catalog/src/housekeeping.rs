//! What the catalog does unasked. Invariant: a round that fails changes nothing; the next one makes up
//! for it.

use std::sync::Arc;
use std::time::Duration;

use chassis::{Result, Shutdown, db};
use chrono::TimeDelta;
use sqlx::PgPool;
use tokio::time::MissedTickBehavior;

use crate::identity::Signer;
use crate::store::{audit, requests};

/// Also how soon a signing key that another replica made is known here.
const EVERY: Duration = Duration::from_secs(30);
/// How long a request_id is remembered.
const REQUEST_LIFE: TimeDelta = TimeDelta::days(7);

pub async fn run(pool: PgPool, signer: Arc<Signer>, audit_days: u16, shutdown: Shutdown) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.soft.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = round(&pool, &signer, audit_days).await {
            tracing::warn!(%error, "housekeeping is put off");
        }
    }
}

async fn round(pool: &PgPool, signer: &Signer, audit_days: u16) -> Result<()> {
    signer.refresh(pool).await?;
    let mut conn = db::acquire(pool).await?;
    let now = db::now(&mut conn).await?;
    requests::purge(&mut conn, now - REQUEST_LIFE).await?;
    audit::purge(&mut conn, now - TimeDelta::days(audit_days.into())).await
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::identity::MasterKey;

    #[tokio::test]
    async fn a_round_forgets_what_is_old_and_learns_new_keys() {
        let (database, folder) = (devkit::Database::new().await, devkit::Folder::new());
        let pool = PgPool::connect(&database.catalog_url()).await.unwrap();
        let key = |name: &str| MasterKey::load_or_create(&folder.path().join(name)).unwrap();
        let (signer, other) = (Signer::default(), Signer::default());
        signer.start(&pool, &key("own")).await.unwrap();
        // Another replica, with another master key: it cannot use the first one's key.
        other.start(&pool, &key("other")).await.unwrap();
        assert_eq!((signer.published().len(), other.published().len()), (1, 2));
        sqlx::query(
            "insert into catalog.requests
                 (caller, method, request_id, body_hash, resource_id, created_at)
             select 'c', 'm', gen_random_uuid(), '', gen_random_uuid(), now() - age
             from unnest(array['6 days 23 hours', '7 days 1 hour']::interval[]) age",
        )
        .execute(&pool)
        .await
        .unwrap();

        sqlx::query(
            "insert into catalog.audit_events
                 (id, occurred_at, actor_type, actor_name, action, object_type, object_id, changes)
             select gen_random_uuid(), now() - age, 'SERVICE', 's', 'a', 'CLIENT', gen_random_uuid(), '{}'
             from unnest(array['9 days 23 hours', '10 days 1 hour']::interval[]) age",
        )
        .execute(&pool)
        .await
        .unwrap();

        round(&pool, &signer, 10).await.unwrap();
        assert_eq!(signer.published().len(), 2);
        assert_eq!(signer.accepted().read().unwrap().len(), 2);
        for table in ["requests", "audit_events"] {
            let count = format!("select count(*) from catalog.{table}");
            let left: i64 = (sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(&pool))
                .await
                .unwrap();
            assert_eq!(left, 1, "{table}");
        }
    }
}
