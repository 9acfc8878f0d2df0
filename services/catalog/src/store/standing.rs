//! What has lately changed in what callers may do. Invariant: the time looked back is longer than a token
//! lives (15 minutes) by more than a transaction may last and clocks may be apart, so no token outlives what
//! it does not know.

use std::collections::{HashMap, HashSet};

use chassis::Result;
use chassis::auth::Account;
use model::status::Role;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Word;

/// Sessions and API keys that have ended within the last 45 minutes.
pub async fn ended(conn: &mut PgConnection) -> Result<HashSet<Uuid>> {
    let ids = sqlx::query_scalar!(
        "-- catalog.list_revocations
        select id from catalog.revocations where revoked_at > now() - interval '45 minutes'"
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().collect())
}

/// Users whose role, groups or activity have changed within the last 45 minutes, as they are now. Of a user
/// who was only made, there is no older token.
pub async fn changed_accounts(conn: &mut PgConnection) -> Result<HashMap<Uuid, Account>> {
    let rows = sqlx::query!(
        r#"-- catalog.list_changed_accounts
        select id, role::text as "role!: Word", groups, is_active, revision
        from catalog.users
        where access_changed_at > now() - interval '45 minutes' and access_changed_at > created_at"#
    )
    .fetch_all(conn)
    .await?;
    let accounts = rows.into_iter().map(|row| {
        let account = Account {
            role: Role::from(row.role),
            groups: row.groups,
            is_active: row.is_active,
            revision: row.revision,
        };
        (row.id, account)
    });
    Ok(accounts.collect())
}
