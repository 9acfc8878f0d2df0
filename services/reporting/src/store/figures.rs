//! Sums by day.
//! Invariant: a sum is only ever replaced by itself plus an addition, under its row's lock.

use chassis::{Error, Result};
use chrono::NaiveDate;
use sqlx::PgConnection;
use sqlx::types::Json;
use tokio_stream::StreamExt;
use uuid::Uuid;

use super::refused;
use crate::projection::figures::{DayKey, Figures, Grain};
use crate::projection::fold::{Change, Changes};

/// The keys of changes, by column.
struct Keys {
    workflow_ids: Vec<Uuid>,
    days: Vec<NaiveDate>,
    kinds: Vec<String>,
    keys: Vec<Uuid>,
}

impl Keys {
    fn of(changes: &Changes) -> Self {
        Self {
            workflow_ids: changes.0.keys().map(|key| key.workflow_id).collect(),
            days: changes.0.keys().map(|key| key.day).collect(),
            kinds: changes
                .0
                .keys()
                .map(|key| key.grain.as_str().to_owned())
                .collect(),
            keys: changes.0.keys().map(|key| key.key).collect(),
        }
    }
}

/// Adds to the sums; the ledgers that the changes come from must be locked or new.
pub async fn add(conn: &mut PgConnection, mut changes: Changes) -> Result<()> {
    let keys = Keys::of(&changes);
    insert_missing(conn, &keys, &changes).await?;
    for (key, figures) in lock(conn, &keys).await? {
        changes.0.entry(key).or_default().figures.merge(&figures);
    }
    write(conn, &keys, &changes).await
}

/// Rows that are to be locked have to exist. Waits for another transaction that makes the same ones.
async fn insert_missing(conn: &mut PgConnection, keys: &Keys, changes: &Changes) -> Result<()> {
    sqlx::query!(
        r#"-- reporting.insert_missing_day_figures
        insert into reporting.day_figures (workflow_id, day, kind, key, client_id, figures)
        select k.workflow_id, k.day, k.kind, k.key, k.client_id, '{}'
        from unnest($1::uuid[], $2::date[], $3::varchar[], $4::uuid[], $5::uuid[])
            as k (workflow_id, day, kind, key, client_id)
        order by k.workflow_id, k.day, k.kind, k.key
        on conflict (workflow_id, day, kind, key) do nothing"#,
        &keys.workflow_ids,
        &keys.days,
        &keys.kinds,
        &keys.keys,
        &changes
            .0
            .values()
            .map(|change| change.client_id)
            .collect::<Vec<_>>()
    )
    .execute(conn)
    .await
    .map_err(refused)?;
    Ok(())
}

async fn lock(conn: &mut PgConnection, keys: &Keys) -> Result<Vec<(DayKey, Figures)>> {
    let rows = sqlx::query!(
        r#"-- reporting.lock_day_figures
        select d.workflow_id, d.day, d.kind, d.key, d.figures as "figures: Json<Figures>"
        from reporting.day_figures d
        join unnest($1::uuid[], $2::date[], $3::varchar[], $4::uuid[]) as k (workflow_id, day, kind, key)
            on d.workflow_id = k.workflow_id and d.day = k.day and d.kind = k.kind and d.key = k.key
        order by d.workflow_id, d.day, d.kind, d.key
        for no key update of d"#,
        &keys.workflow_ids,
        &keys.days,
        &keys.kinds,
        &keys.keys
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let key = DayKey {
                workflow_id: row.workflow_id,
                day: row.day,
                grain: grain(&row.kind)?,
                key: row.key,
            };
            Ok((key, row.figures.0))
        })
        .collect()
}

async fn write(conn: &mut PgConnection, keys: &Keys, sums: &Changes) -> Result<()> {
    sqlx::query!(
        r#"-- reporting.update_day_figures
        update reporting.day_figures d
        set figures = k.figures
        from unnest($1::uuid[], $2::date[], $3::varchar[], $4::uuid[], $5::jsonb[])
            as k (workflow_id, day, kind, key, figures)
        where d.workflow_id = k.workflow_id and d.day = k.day and d.kind = k.kind and d.key = k.key"#,
        &keys.workflow_ids,
        &keys.days,
        &keys.kinds,
        &keys.keys,
        &sums.0.values().map(|Change { figures, .. }| Json(figures)).collect::<Vec<_>>() as _
    )
    .execute(conn)
    .await
    .map_err(refused)?;
    Ok(())
}

/// One sum, for reading.
#[derive(Debug)]
pub struct Sum {
    pub workflow_id: Uuid,
    pub day: NaiveDate,
    pub grain: Grain,
    pub key: Uuid,
    pub figures: Figures,
}

/// The sums of some days of some workflows.
pub async fn of_days(conn: &mut PgConnection, days: &[(Uuid, NaiveDate)]) -> Result<Vec<Sum>> {
    let (workflow_ids, dates): (Vec<_>, Vec<_>) = days.iter().copied().unzip();
    let rows = sqlx::query!(
        r#"-- reporting.read_day_figures
        select d.workflow_id, d.day, d.kind, d.key, d.figures as "figures: Json<Figures>"
        from reporting.day_figures d
        join unnest($1::uuid[], $2::date[]) as k (workflow_id, day)
            on d.workflow_id = k.workflow_id and d.day = k.day"#,
        &workflow_ids,
        &dates
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Sum {
                workflow_id: row.workflow_id,
                day: row.day,
                grain: grain(&row.kind)?,
                key: row.key,
                figures: row.figures.0,
            })
        })
        .collect()
}

/// Which sums a summary is made of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Range {
    pub first: Option<NaiveDate>,
    /// The first day after it.
    pub end: Option<NaiveDate>,
    pub workflow_id: Option<Uuid>,
    pub client_id: Option<Uuid>,
}

/// Hands the sums of executions and steps in the range to `take`, one by one: a range of years would not
/// fit into memory.
pub async fn for_each(
    conn: &mut PgConnection,
    range: Range,
    mut take: impl FnMut(Sum),
) -> Result<()> {
    let mut rows = sqlx::query!(
        r#"-- reporting.summarize_day_figures
        select workflow_id, day, kind, key, figures as "figures: Json<Figures>"
        from reporting.day_figures
        where ($1::date is null or day >= $1)
            and ($2::date is null or day < $2)
            and ($3::uuid is null or workflow_id = $3)
            and ($4::uuid is null or client_id = $4)
            and kind <> 'transition'"#,
        range.first,
        range.end,
        range.workflow_id,
        range.client_id
    )
    .fetch(conn);
    while let Some(row) = rows.next().await {
        let row = row?;
        take(Sum {
            workflow_id: row.workflow_id,
            day: row.day,
            grain: grain(&row.kind)?,
            key: row.key,
            figures: row.figures.0,
        });
    }
    Ok(())
}

fn grain(kind: &str) -> Result<Grain> {
    Grain::parse(kind).ok_or_else(|| Error::internal(format_args!("day figures of kind {kind}")))
}
