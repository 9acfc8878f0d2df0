//! Sums by day and version.
//! Invariant: a sum changes under the lock of its day only: counting adds to it, a rebuild replaces all of a day.

use std::collections::btree_map::Entry;

use chassis::{Error, Result};
use chrono::NaiveDate;
use sqlx::PgConnection;
use sqlx::types::Json;
use tokio_stream::StreamExt;
use uuid::Uuid;

use super::refused;
use crate::projection::figures::{DayKey, Figures, Grain, Label};
use crate::projection::fold::Changes;

/// Figures by column.
#[derive(Default)]
struct Columns {
    workflow_ids: Vec<Uuid>,
    days: Vec<NaiveDate>,
    versions: Vec<i32>,
    kinds: Vec<String>,
    keys: Vec<Uuid>,
}

impl Columns {
    fn of<'a>(keys: impl Iterator<Item = &'a DayKey>) -> Self {
        let mut columns = Self::default();
        for key in keys {
            columns.workflow_ids.push(key.workflow_id);
            columns.days.push(key.day);
            columns.versions.push(key.version);
            columns.kinds.push(key.grain.as_str().to_owned());
            columns.keys.push(key.key);
        }
        columns
    }
}

/// Adds to the sums; their days must be locked.
pub async fn add(conn: &mut PgConnection, mut changes: Changes) -> Result<()> {
    let columns = Columns::of(changes.0.keys());
    for sum in read(conn, &columns).await? {
        let change = changes.0.entry(sum.key).or_default();
        change.figures.merge(&sum.figures);
    }
    write(conn, &columns, &changes).await
}

async fn read(conn: &mut PgConnection, columns: &Columns) -> Result<Vec<Sum>> {
    let rows = sqlx::query_as!(
        Row,
        r#"-- reporting.read_figures
        select f.workflow_id, f.day, f.version, f.kind, f.key, f.client_id, f.from_step_id, f.group_name,
            f.figures as "figures: Json<Figures>"
        from reporting.figures f
        join unnest($1::uuid[], $2::date[], $3::int[], $4::varchar[], $5::uuid[])
                as k (workflow_id, day, version, kind, key)
            on f.workflow_id = k.workflow_id and f.day = k.day and f.version = k.version and f.kind = k.kind
                and f.key = k.key"#,
        &columns.workflow_ids,
        &columns.days,
        &columns.versions,
        &columns.kinds,
        &columns.keys
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Sum::try_from).collect()
}

async fn write(conn: &mut PgConnection, columns: &Columns, sums: &Changes) -> Result<()> {
    let labels = || sums.0.values().map(|sum| &sum.label);
    sqlx::query!(
        r#"-- reporting.write_figures
        insert into reporting.figures
            (workflow_id, day, version, kind, key, client_id, from_step_id, group_name, figures)
        select *
        from unnest($1::uuid[], $2::date[], $3::int[], $4::varchar[], $5::uuid[], $6::uuid[], $7::uuid[],
            $8::varchar[], $9::jsonb[])
        on conflict (workflow_id, day, version, kind, key) do update set figures = excluded.figures"#,
        &columns.workflow_ids,
        &columns.days,
        &columns.versions,
        &columns.kinds,
        &columns.keys,
        &labels().map(|label| label.client_id).collect::<Vec<_>>(),
        &labels().map(|label| label.from_step_id).collect::<Vec<_>>() as &[Option<Uuid>],
        &labels().map(|label| label.group.clone()).collect::<Vec<_>>() as &[Option<String>],
        &sums.0.values().map(|sum| Json(&sum.figures)).collect::<Vec<_>>() as _
    )
    .execute(conn)
    .await
    .map_err(refused)?;
    Ok(())
}

/// Replaces the sums of a day of a workflow; it must be locked. Returns how many were not as they
/// should have been.
pub async fn replace(
    conn: &mut PgConnection,
    workflow_id: Uuid,
    day: NaiveDate,
    mut sums: Changes,
) -> Result<i64> {
    let mut gone = Vec::new();
    for stored in of_day(conn, workflow_id, day).await? {
        match sums.0.entry(stored.key) {
            Entry::Vacant(_) => gone.push(stored.key),
            Entry::Occupied(sum)
                if sum.get().figures == stored.figures && sum.get().label == stored.label =>
            {
                sum.remove();
            }
            Entry::Occupied(_) => {}
        }
    }
    let changed = gone.len() + sums.0.len();
    let columns = Columns::of(gone.iter().chain(sums.0.keys()));
    sqlx::query!(
        r#"-- reporting.delete_figures
        delete from reporting.figures f
        using unnest($1::uuid[], $2::date[], $3::int[], $4::varchar[], $5::uuid[])
            as k (workflow_id, day, version, kind, key)
        where f.workflow_id = k.workflow_id and f.day = k.day and f.version = k.version and f.kind = k.kind
            and f.key = k.key"#,
        &columns.workflow_ids,
        &columns.days,
        &columns.versions,
        &columns.kinds,
        &columns.keys
    )
    .execute(&mut *conn)
    .await?;
    write(conn, &Columns::of(sums.0.keys()), &sums).await?;
    Ok(i64::try_from(changed).unwrap_or(i64::MAX))
}

async fn of_day(conn: &mut PgConnection, workflow_id: Uuid, day: NaiveDate) -> Result<Vec<Sum>> {
    let rows = sqlx::query_as!(
        Row,
        r#"-- reporting.read_figures_of_day
        select workflow_id, day, version, kind, key, client_id, from_step_id, group_name,
            figures as "figures: Json<Figures>"
        from reporting.figures
        where workflow_id = $1 and day = $2"#,
        workflow_id,
        day
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Sum::try_from).collect()
}

/// A row as it is stored.
struct Row {
    workflow_id: Uuid,
    day: NaiveDate,
    version: i32,
    kind: String,
    key: Uuid,
    client_id: Uuid,
    from_step_id: Option<Uuid>,
    group_name: Option<String>,
    figures: Json<Figures>,
}

/// One sum, for reading.
#[derive(Debug)]
pub struct Sum {
    pub key: DayKey,
    pub label: Label,
    pub figures: Figures,
}

impl TryFrom<Row> for Sum {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let grain = Grain::parse(&row.kind)
            .ok_or_else(|| Error::internal(format_args!("figures of kind {}", row.kind)))?;
        Ok(Self {
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
    }
}

/// The sums of some days of some workflows.
pub async fn of_days(conn: &mut PgConnection, days: &[(Uuid, NaiveDate)]) -> Result<Vec<Sum>> {
    let (workflow_ids, dates): (Vec<_>, Vec<_>) = days.iter().copied().unzip();
    let rows = sqlx::query_as!(
        Row,
        r#"-- reporting.read_figures_of_days
        select f.workflow_id, f.day, f.version, f.kind, f.key, f.client_id, f.from_step_id, f.group_name,
            f.figures as "figures: Json<Figures>"
        from reporting.figures f
        join unnest($1::uuid[], $2::date[]) as k (workflow_id, day)
            on f.workflow_id = k.workflow_id and f.day = k.day
        where f.kind <> 'hour'"#,
        &workflow_ids,
        &dates
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Sum::try_from).collect()
}

/// Which sums are asked for.
#[derive(Debug, Clone, Default)]
pub struct Range {
    pub first: Option<NaiveDate>,
    /// The first day after it.
    pub end: Option<NaiveDate>,
    pub workflow_id: Option<Uuid>,
    pub client_id: Option<Uuid>,
    pub grains: Vec<Grain>,
}

/// Hands the sums in the range to `take`, one by one: a range of years would not fit into memory.
pub async fn for_each(
    conn: &mut PgConnection,
    range: &Range,
    mut take: impl FnMut(Sum),
) -> Result<()> {
    let kinds: Vec<String> = range
        .grains
        .iter()
        .map(|grain| grain.as_str().to_owned())
        .collect();
    let mut rows = sqlx::query_as!(
        Row,
        r#"-- reporting.query_figures
        select workflow_id, day, version, kind, key, client_id, from_step_id, group_name,
            figures as "figures: Json<Figures>"
        from reporting.figures
        where kind = any($1)
            and ($2::date is null or day >= $2)
            and ($3::date is null or day < $3)
            and ($4::uuid is null or workflow_id = $4)
            and ($5::uuid is null or client_id = $5)"#,
        &kinds,
        range.first,
        range.end,
        range.workflow_id,
        range.client_id
    )
    .fetch(conn);
    while let Some(row) = rows.next().await {
        take(Sum::try_from(row?)?);
    }
    Ok(())
}
