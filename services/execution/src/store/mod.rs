//! All SQL of this service. Invariant: no statement stands anywhere else.

pub mod contexts;
pub mod executions;
pub mod jobs;
pub mod load;
pub mod logs;
pub mod notifications;
pub mod outbox;
pub mod requests;
pub mod tasks;
#[cfg(test)]
mod tests;
pub mod write;

/// Makes the rest of a transaction plan each statement for the values at hand: optional restrictions
/// make a plan for all values one that walks the whole table.
pub async fn plan_each_time(conn: &mut sqlx::PgConnection) -> sqlx::Result<()> {
    sqlx::query!("set local plan_cache_mode = force_custom_plan")
        .execute(conn)
        .await
        .map(drop)
}
