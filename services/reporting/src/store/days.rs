//! Days that have figures, and whether the reports show them.
//! Invariant: a day's figures change only under its row's lock and with its mark, and are shown only up to a
//! mark that was read before them.

use chassis::Result;
use chrono::NaiveDate;
use sqlx::PgConnection;
use uuid::Uuid;

use super::rebuilds::Scope;
use super::refused;

/// A day whose reports are older than its figures, as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale {
    pub workflow_id: Uuid,
    pub day: NaiveDate,
    pub mark: Uuid,
    /// A rebuild is replacing the workflow's days: its reports wait until all are, ten minutes at most.
    pub is_replaced: bool,
}

/// Stale days by column.
struct Columns {
    workflow_ids: Vec<Uuid>,
    days: Vec<NaiveDate>,
    marks: Vec<Uuid>,
}

impl Columns {
    fn of(stale: &[Stale]) -> Self {
        Self {
            workflow_ids: stale.iter().map(|stale| stale.workflow_id).collect(),
            days: stale.iter().map(|stale| stale.day).collect(),
            marks: stale.iter().map(|stale| stale.mark).collect(),
        }
    }
}

/// Locks days, in the order of their keys, until the end of the transaction, which changes their figures.
/// Those that nothing was counted on before are made.
pub async fn mark(
    conn: &mut PgConnection,
    workflow_ids: &[Uuid],
    days: &[NaiveDate],
    mark: Uuid,
) -> Result<()> {
    sqlx::query!(
        r#"-- reporting.mark_days
        insert into reporting.days (workflow_id, day, mark)
        select d.workflow_id, d.day, $3
        from unnest($1::uuid[], $2::date[]) as d (workflow_id, day)
        order by d.workflow_id, d.day
        on conflict (workflow_id, day) do update set mark = excluded.mark, marked_at = default"#,
        workflow_ids,
        days,
        mark
    )
    .execute(conn)
    .await
    .map_err(refused)?;
    Ok(())
}

/// The days of a workflow that have figures or should have some, or reports.
pub async fn of_scope(
    conn: &mut PgConnection,
    rebuild_id: Uuid,
    workflow_id: Uuid,
    scope: Scope,
) -> Result<Vec<NaiveDate>> {
    let days = sqlx::query_scalar!(
        r#"-- reporting.days_to_rebuild
        with all_days as (
            select day from reporting.days where workflow_id = $2
            union
            select day from reporting.figures where workflow_id = $2
            union
            select (started_at at time zone 'UTC')::date from reporting.rebuilt_ledgers
            where rebuild_id = $1 and workflow_id = $2
            union
            select (period_start at time zone 'UTC')::date from reporting.workflow_reports
            where workflow_id = $2 and report_type = 'daily')
        select day as "day!" from all_days
        where ($3::date is null or day >= $3) and ($4::date is null or day < $4)
        order by day"#,
        rebuild_id,
        workflow_id,
        scope.first,
        scope.end
    )
    .fetch_all(conn)
    .await?;
    Ok(days)
}

/// The mark of a day.
pub async fn mark_of(
    conn: &mut PgConnection,
    workflow_id: Uuid,
    day: NaiveDate,
) -> Result<Option<Uuid>> {
    let mark = sqlx::query_scalar!(
        r#"-- reporting.read_day
        select mark from reporting.days where workflow_id = $1 and day = $2"#,
        workflow_id,
        day
    )
    .fetch_optional(conn)
    .await?;
    Ok(mark)
}

/// Locks a day; returns its mark, if it has one.
pub async fn lock(
    conn: &mut PgConnection,
    workflow_id: Uuid,
    day: NaiveDate,
) -> Result<Option<Uuid>> {
    let mark = sqlx::query_scalar!(
        r#"-- reporting.lock_day
        select mark from reporting.days where workflow_id = $1 and day = $2 for no key update"#,
        workflow_id,
        day
    )
    .fetch_optional(conn)
    .await?;
    Ok(mark)
}

pub async fn stale(conn: &mut PgConnection) -> Result<Vec<Stale>> {
    let stale = sqlx::query_as!(
        Stale,
        r#"-- reporting.list_stale_days
        select workflow_id, day, mark, exists (
                select from reporting.rebuilds r
                where r.replacing_workflow_id = days.workflow_id and r.finished_at is null
                    and r.replacing_since > clock_timestamp() - interval '10 min') as "is_replaced!"
        from reporting.days
        where shown is distinct from mark
        order by workflow_id, day"#
    )
    .fetch_all(conn)
    .await?;
    Ok(stale)
}

/// Whether a rebuild is replacing the workflow of any of them.
pub async fn any_replaced(conn: &mut PgConnection, stale: &[Stale]) -> Result<bool> {
    let columns = Columns::of(stale);
    let any = sqlx::query_scalar!(
        r#"-- reporting.any_day_replaced
        select exists (
            select from reporting.rebuilds r
            where r.replacing_workflow_id = any($1) and r.finished_at is null
                and r.replacing_since > clock_timestamp() - interval '10 min') as "any!""#,
        &columns.workflow_ids
    )
    .fetch_one(conn)
    .await?;
    Ok(any)
}

/// Leaves those that were marked anew since they were read.
pub async fn show(conn: &mut PgConnection, stale: &[Stale]) -> Result<()> {
    let columns = Columns::of(stale);
    sqlx::query!(
        r#"-- reporting.show_days
        update reporting.days s
        set shown = d.mark
        from unnest($1::uuid[], $2::date[], $3::uuid[]) as d (workflow_id, day, mark)
        where s.workflow_id = d.workflow_id and s.day = d.day and s.mark = d.mark"#,
        &columns.workflow_ids,
        &columns.days,
        &columns.marks
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether any day of a range has reports that are older than its figures.
pub async fn any_stale(
    conn: &mut PgConnection,
    workflow_id: Uuid,
    first: NaiveDate,
    end: NaiveDate,
) -> Result<bool> {
    let any = sqlx::query_scalar!(
        r#"-- reporting.any_stale_day
        select exists (
            select from reporting.days
            where workflow_id = $1 and day >= $2 and day < $3 and shown is distinct from mark
        ) as "any!""#,
        workflow_id,
        first,
        end
    )
    .fetch_one(conn)
    .await?;
    Ok(any)
}

/// Whether any of them still waits as it was read.
pub async fn any_left(conn: &mut PgConnection, stale: &[Stale]) -> Result<bool> {
    let columns = Columns::of(stale);
    let left = sqlx::query_scalar!(
        r#"-- reporting.any_stale_day_left
        select exists (
            select from reporting.days s
            join unnest($1::uuid[], $2::date[], $3::uuid[]) as d (workflow_id, day, mark)
                on s.workflow_id = d.workflow_id and s.day = d.day and s.mark = d.mark
            where s.shown is distinct from s.mark
        ) as "left!""#,
        &columns.workflow_ids,
        &columns.days,
        &columns.marks
    )
    .fetch_one(conn)
    .await?;
    Ok(left)
}
