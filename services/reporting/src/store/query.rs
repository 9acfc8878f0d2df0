//! Sums by what is asked for.
//! Invariant: only rows of one kind are read, within a range of days by an index.

use chassis::Result;
use chrono::NaiveDate;
use sqlx::PgConnection;
use sqlx::types::Json;
use tokio_stream::{Stream, StreamExt};
use uuid::Uuid;

use super::figures::Sum;
use crate::projection::figures::{DayKey, Figures, Grain, Label};

/// What is asked for. Nothing in a list: all.
#[derive(Debug)]
pub struct Selection<'a> {
    pub grain: Grain,
    pub first: NaiveDate,
    /// The first day after it.
    pub end: NaiveDate,
    pub workflow_ids: &'a [Uuid],
    pub client_ids: &'a [Uuid],
    pub versions: &'a [i32],
    /// Of steps, and of transitions that leave them.
    pub step_ids: &'a [Uuid],
}

/// In no order. A stream: the sums of years would not fit into memory.
pub fn sums<'c>(
    conn: &'c mut PgConnection,
    selection: &Selection<'_>,
) -> impl Stream<Item = Result<Sum>> + Send + use<'c> {
    let grain = selection.grain;
    let rows = sqlx::query!(
        r#"-- reporting.select_figures
        select workflow_id, day, version, key, client_id, from_step_id, group_name,
            figures as "figures: Json<Figures>"
        from reporting.figures
        where kind = $1 and day >= $2 and day < $3
            and ($4::uuid[] is null or workflow_id = any($4))
            and ($5::uuid[] is null or client_id = any($5))
            and ($6::int[] is null or version = any($6))
            and ($7::uuid[] is null or case kind when 'transition' then from_step_id else key end = any($7))"#,
        grain.as_str(),
        selection.first,
        selection.end,
        some(selection.workflow_ids) as Option<&[Uuid]>,
        some(selection.client_ids) as Option<&[Uuid]>,
        some(selection.versions) as Option<&[i32]>,
        some(selection.step_ids) as Option<&[Uuid]>
    )
    .fetch(conn);
    rows.map(move |row| {
        let row = row?;
        Ok(Sum {
            key: DayKey {
                workflow_id: row.workflow_id,
                day: row.day,
                version: row.version,
                grain,
                key: row.key,
            },
            label: Label {
                client_id: row.client_id,
                from_step_id: row.from_step_id,
                group: row.group_name,
            },
            figures: row.figures.0,
        })
    })
}

fn some<T>(list: &[T]) -> Option<&[T]> {
    Some(list).filter(|list| !list.is_empty())
}
