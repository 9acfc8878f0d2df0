//! Finds waits that do not end by themselves, or last too long. Invariant: the database's clock decides, and
//! each wait is listed once, by the first code that is true of it.

use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::types::PgInterval;
use sqlx::types::Json;
use uuid::Uuid;

use super::executions::Wait;

/// A wait that is stuck.
#[derive(Debug)]
pub struct Stuck {
    pub execution_id: Uuid,
    pub workflow_id: Uuid,
    pub client_id: Uuid,
    pub workflow_version: i32,
    pub wait: Json<Wait>,
    /// INCIDENT, OVERDUE, NO_WORKER, GROUP_EMPTY, UNASSIGNED, LONG.
    pub code: String,
}

/// What the list is restricted to; `None` restricts nothing.
#[derive(Debug, Default)]
pub struct Filter {
    pub workflow_id: Option<Uuid>,
    pub client_id: Option<Uuid>,
    pub step_id: Option<Uuid>,
    /// As in `waits`.
    pub kind: Option<String>,
    pub code: Option<String>,
    /// From when on a wait is too long.
    pub older_than: Duration,
    /// Groups that no active user is in.
    pub empty_groups: Vec<String>,
}

/// One statement a direction.
macro_rules! statement {
    ($conn:ident, $filter:ident, $after:ident, $limit:ident, $beyond:literal, $direction:literal) => {{
        let older_than = PgInterval::try_from($filter.older_than).expect("whole microseconds");
        sqlx::query_as!(
            Stuck,
            r#"-- execution.list_stuck
            select w.execution_id, w.workflow_id, w.client_id, e.workflow_version, stuck.code as "code!",
                   (select row_to_json(shown)
                      from (select w.id, w.step_id, w.kind, w.created_at, w.wake_at, w.available_at,
                                   w.job_type, w.held_by, w.task_group, w.assignees, w.signal_name,
                                   w.correlation, w.error_code, w.error, w.lock_key) shown) as "wait!: Json<Wait>"
              from execution.waits w
              join execution.workflow_executions e on e.id = w.execution_id
              left join execution.job_types t on t.job_type = w.job_type
              cross join lateral (select case
                  when w.kind = 'incident' then 'INCIDENT'
                  when w.wake_at < now() - interval '1 minute' then 'OVERDUE'
                  when w.kind = 'job' and w.held_by is null
                       and w.available_at < now() - interval '5 minutes'
                       and coalesce(t.last_asked_at < now() - interval '5 minutes', true) then 'NO_WORKER'
                  when w.kind = 'person' and w.held_by is null and w.assignees = '{}'
                       and w.task_group = any($8) then 'GROUP_EMPTY'
                  when w.created_at >= now() - $7::interval then null
                  when w.kind = 'person' and w.held_by is null then 'UNASSIGNED'
                  else 'LONG'
                  end as code) stuck
             where stuck.code is not null
               and ($1::uuid is null or w.workflow_id = $1)
               and ($2::uuid is null or w.client_id = $2)
               and ($3::uuid is null or w.step_id = $3)
               and ($4::text is null or w.kind = $4)
               and ($5::text is null or stuck.code = $5)
               and ($5 is distinct from 'INCIDENT' or w.kind = 'incident')
               and ($6::uuid is null or w.id "# + $beyond + r#" $6)
             order by w.id"# + $direction + r#"
             limit $9"#,
            $filter.workflow_id,
            $filter.client_id,
            $filter.step_id,
            $filter.kind,
            $filter.code,
            $after,
            older_than,
            &$filter.empty_groups,
            $limit
        )
        .fetch_all($conn)
        .await
    }};
}

/// At most `limit` waits in the order of their ids, which is about that of their beginnings.
pub async fn list(
    conn: &mut PgConnection,
    filter: &Filter,
    (after, descending): (Option<Uuid>, bool),
    limit: i64,
) -> sqlx::Result<Vec<Stuck>> {
    if descending {
        statement!(conn, filter, after, limit, "<", " desc")
    } else {
        statement!(conn, filter, after, limit, ">", "")
    }
}

/// Groups for which unclaimed tasks wait that nobody else may decide.
pub async fn asked_groups(conn: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"-- execution.list_groups_of_tasks
        select distinct task_group as "task_group!"
          from execution.waits
         where kind = 'person' and held_by is null and assignees = '{}' and task_group is not null
         limit $1"#,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Workers ask for these types. Only those of which jobs are queued are kept: what workers may ask for has
/// no end.
pub async fn note_asked(conn: &mut PgConnection, job_types: &[String]) -> sqlx::Result<()> {
    sqlx::query!(
        "-- execution.note_asked_job_types
        insert into execution.job_types (job_type, last_asked_at)
        select asked.job_type, clock_timestamp()
          from (select distinct unnest($1::text[]) as job_type) asked
         where exists (select from execution.waits w
                        where w.job_type = asked.job_type and w.kind = 'job' and w.held_by is null)
         order by asked.job_type
        on conflict (job_type) do update set last_asked_at = excluded.last_asked_at
         where job_types.last_asked_at < excluded.last_asked_at",
        job_types
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Forgets types that nobody has asked for in a week: never asked for means the same.
pub async fn forget_job_types(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!(
        "-- execution.forget_job_types
        delete from execution.job_types where last_asked_at < now() - interval '7 days'"
    )
    .execute(conn)
    .await
    .map(drop)
}

/// How many waits need somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub incidents: i64,
    pub overdue: i64,
}

pub async fn count(conn: &mut PgConnection) -> sqlx::Result<Counts> {
    sqlx::query_as!(
        Counts,
        r#"-- execution.count_stuck
        select (select count(*) from execution.waits where kind = 'incident') as "incidents!",
               (select count(*) from execution.waits
                 where wake_at < now() - interval '1 minute') as "overdue!""#
    )
    .fetch_one(conn)
    .await
}
