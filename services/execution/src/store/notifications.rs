//! What notification steps sent. Invariant: written in the transaction of the step that sent it.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

/// Notifications, column by column.
#[derive(Debug, Default)]
pub struct Notifications {
    pub id: Vec<Uuid>,
    pub execution_id: Vec<Uuid>,
    pub step_id: Vec<Uuid>,
    pub notification_type: Vec<String>,
    pub template: Vec<Option<String>>,
    /// JSON arrays: SQL has no arrays of arrays of different lengths.
    pub recipients: Vec<Value>,
    pub created_at: Vec<DateTime<Utc>>,
}

pub async fn insert_notifications(
    conn: &mut PgConnection,
    rows: &Notifications,
) -> sqlx::Result<()> {
    if rows.id.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- execution.insert_notifications
        insert into execution.notifications (
            id, execution_id, step_id, notification_type, template, recipients, created_at)
        select id, execution_id, step_id, notification_type, template,
            array(select jsonb_array_elements_text(recipients)), created_at
        from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::jsonb[],
            $7::timestamptz[])
        as new (id, execution_id, step_id, notification_type, template, recipients, created_at)",
        &rows.id,
        &rows.execution_id,
        &rows.step_id,
        &rows.notification_type,
        &rows.template as &[Option<String>],
        &rows.recipients,
        &rows.created_at,
    )
    .execute(conn)
    .await
    .map(drop)
}
