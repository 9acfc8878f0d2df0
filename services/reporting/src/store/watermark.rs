//! Up to when the reports are complete.
//! Invariant: it only moves forward.

use chassis::Result;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

pub async fn read(conn: &mut PgConnection) -> Result<Option<DateTime<Utc>>> {
    let instant = sqlx::query_scalar!(
        r#"-- reporting.read_watermark
        select complete_through from reporting.watermark"#
    )
    .fetch_optional(conn)
    .await?;
    Ok(instant)
}

pub async fn advance(conn: &mut PgConnection, instant: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"-- reporting.advance_watermark
        insert into reporting.watermark (id, complete_through) values (true, $1)
        on conflict (id) do update set complete_through = excluded.complete_through
            where watermark.complete_through < excluded.complete_through"#,
        instant
    )
    .execute(conn)
    .await?;
    Ok(())
}
