//! Rows that could not be applied.
//! Invariant: nothing reads them to go on; they wait for a person.

use chassis::Result;
use sqlx::PgConnection;
use uuid::Uuid;

pub async fn park(
    conn: &mut PgConnection,
    row_id: Uuid,
    payload: &[u8],
    error: &str,
) -> Result<()> {
    sqlx::query!(
        r#"-- reporting.park_row
        insert into reporting.parked_rows (row_id, payload, error)
        values ($1, $2, $3)
        on conflict (row_id) do nothing"#,
        row_id,
        payload,
        error
    )
    .execute(conn)
    .await?;
    Ok(())
}
