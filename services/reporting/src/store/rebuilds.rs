//! Rebuilds that were asked for.
//! Invariant: only the replica that took one last changes it, and another one may take it as soon as that is silent.

use chassis::Result;
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// What a rebuild is about; absent bounds do not bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scope {
    pub workflow_id: Option<Uuid>,
    pub first: Option<NaiveDate>,
    /// The first day after it.
    pub end: Option<NaiveDate>,
}

/// How far a rebuild has come.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    pub executions: i64,
    pub events: i64,
    pub changed_executions: i64,
    pub changed_figures: i64,
    pub finished_at: Option<DateTime<Utc>>,
}

/// A rebuild that this replica holds.
#[derive(Debug)]
pub struct Held {
    pub id: Uuid,
    pub scope: Scope,
    /// The last execution that was read.
    pub after: Option<(DateTime<Utc>, Uuid)>,
    /// The workflow some of whose days have been replaced.
    pub replacing: Option<Uuid>,
}

/// Asks for a rebuild of this id; returns the id of the one that is already under way, if there is one of this scope.
pub async fn ask(
    conn: &mut PgConnection,
    id: Uuid,
    scope: Scope,
    requested_by: &str,
) -> Result<Uuid> {
    let id = sqlx::query_scalar!(
        r#"-- reporting.ask_rebuild
        insert into reporting.rebuilds (id, workflow_id, first_day, end_day, requested_by)
        values ($1, $2, $3, $4, $5)
        on conflict (
            coalesce(workflow_id, '00000000-0000-0000-0000-000000000000'), coalesce(first_day, '-infinity'),
            coalesce(end_day, 'infinity')) where finished_at is null
            do update set requested_by = rebuilds.requested_by
        returning id"#,
        id,
        scope.workflow_id,
        scope.first,
        scope.end,
        requested_by
    )
    .fetch_one(conn)
    .await?;
    Ok(id)
}

pub async fn progress(conn: &mut PgConnection, id: Uuid) -> Result<Option<Progress>> {
    let progress = sqlx::query_as!(
        Progress,
        r#"-- reporting.read_rebuild
        select executions, events, changed_executions, changed_figures, finished_at
        from reporting.rebuilds where id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(progress)
}

/// Takes the oldest one that nobody holds, for half a minute.
pub async fn take(conn: &mut PgConnection, holder: Uuid) -> Result<Option<Held>> {
    let row = sqlx::query!(
        r#"-- reporting.take_rebuild
        update reporting.rebuilds
        set holder = $1, held_until = clock_timestamp() + interval '30 s'
        where id = (
            select id from reporting.rebuilds
            where finished_at is null and held_until < clock_timestamp()
            order by held_until, created_at, id
            limit 1
            for no key update skip locked)
        returning id, workflow_id, first_day, end_day, after_started_at, after_execution_id,
            replacing_workflow_id"#,
        holder
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Held {
        id: row.id,
        scope: Scope {
            workflow_id: row.workflow_id,
            first: row.first_day,
            end: row.end_day,
        },
        after: row.after_started_at.zip(row.after_execution_id),
        replacing: row.replacing_workflow_id,
    }))
}

/// What has been done since the last time.
#[derive(Debug, Default)]
pub struct Done {
    /// The workflow whose days are being replaced.
    pub placing: Option<Uuid>,
    pub after: Option<(DateTime<Utc>, Uuid)>,
    pub executions: i64,
    pub events: i64,
    pub changed_executions: i64,
    pub changed_figures: i64,
    pub is_finished: bool,
}

/// Goes on holding it.
pub async fn hold(conn: &mut PgConnection, id: Uuid, holder: Uuid) -> Result<()> {
    sqlx::query!(
        r#"-- reporting.hold_rebuild
        update reporting.rebuilds set held_until = clock_timestamp() + interval '30 s'
        where id = $1 and holder = $2"#,
        id,
        holder
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes what was done. Returns whether it is still held.
pub async fn note(conn: &mut PgConnection, id: Uuid, holder: Uuid, done: &Done) -> Result<bool> {
    let (after_started_at, after_execution_id) = done.after.unzip();
    let noted = sqlx::query!(
        r#"-- reporting.note_rebuild
        update reporting.rebuilds
        set after_started_at = coalesce($3, after_started_at),
            after_execution_id = coalesce($4, after_execution_id),
            executions = executions + $5, events = events + $6,
            changed_executions = changed_executions + $7, changed_figures = changed_figures + $8,
            finished_at = case when $9 then clock_timestamp() end,
            replacing_since = case when $10::uuid is not null and $10 is distinct from replacing_workflow_id
                then clock_timestamp() else replacing_since end,
            replacing_workflow_id = case when not $9 then coalesce($10, replacing_workflow_id) end
        where id = $1 and holder = $2 and finished_at is null"#,
        id,
        holder,
        after_started_at,
        after_execution_id,
        done.executions,
        done.events,
        done.changed_executions,
        done.changed_figures,
        done.is_finished,
        done.placing
    )
    .execute(conn)
    .await?;
    Ok(noted.rows_affected() == 1)
}

/// Lets somebody else go on with it, after a pause in which others come first.
pub async fn give_back(conn: &mut PgConnection, id: Uuid, holder: Uuid) -> Result<()> {
    sqlx::query!(
        r#"-- reporting.give_rebuild_back
        update reporting.rebuilds set held_until = clock_timestamp() + interval '5 s'
        where id = $1 and holder = $2"#,
        id,
        holder
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets rebuilds that were finished long ago.
pub async fn forget(conn: &mut PgConnection) -> Result<()> {
    sqlx::query!(
        r#"-- reporting.forget_rebuilds
        delete from reporting.rebuilds where finished_at < now() - interval '30 days'"#
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Begins the walk anew: an execution that was read has been purged since, and took others' reports with it. Returns
/// whether it is still held.
pub async fn walk_again(conn: &mut PgConnection, id: Uuid, holder: Uuid) -> Result<bool> {
    let begun = sqlx::query!(
        r#"-- reporting.walk_again
        update reporting.rebuilds set after_started_at = null, after_execution_id = null
        where id = $1 and holder = $2"#,
        id,
        holder
    )
    .execute(conn)
    .await?;
    Ok(begun.rows_affected() == 1)
}

/// The workflows that a scope touches: those with figures on its days, with reports that wait to be put in place, or
/// with monthly reports, which may tell of days that have no figures any more.
pub async fn workflows(conn: &mut PgConnection, id: Uuid, scope: Scope) -> Result<Vec<Uuid>> {
    let ids = sqlx::query_scalar!(
        r#"-- reporting.workflows_to_rebuild
        select workflow_id as "workflow_id!" from reporting.days
        where ($2::uuid is null or workflow_id = $2) and ($3::date is null or day >= $3)
            and ($4::date is null or day < $4)
        union
        select workflow_id from reporting.rebuilt_ledgers where rebuild_id = $1
        union
        select workflow_id from reporting.workflow_reports
        where report_type = 'monthly' and ($2::uuid is null or workflow_id = $2)
        order by 1"#,
        id,
        scope.workflow_id,
        scope.first,
        scope.end
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}
