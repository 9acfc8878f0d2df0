//! Says what hangs and why. Invariant: every open execution is told with each of its branches, and a branch that
//! nothing will ever move is called by that name.

use sqlx::PgPool;

/// A wait that is late by more than this is overdue.
const OPEN: &str = "
select e.id || ' (' || e.status || ', parent ' || coalesce(e.parent_execution_id::text, 'none') || '): '
       || coalesce(string_agg(
            w.kind || ' at ' || s.name
            || case
                 when w.wake_at < clock_timestamp() - interval '2 s'
                     then ', OVERDUE by ' || clock_timestamp() - w.wake_at || ': its timer does not ring'
                 when w.wake_at is not null then ', rings in ' || w.wake_at - clock_timestamp()
                 else '' end
            || case
                 when w.held_by is null and w.kind = 'job' and w.available_at < clock_timestamp()
                     then ', free for ' || clock_timestamp() - w.available_at || ': nobody leases it'
                 when w.lease_until < clock_timestamp() then ', LEASE of ' || w.held_by || ' over for '
                     || clock_timestamp() - w.lease_until
                 when w.held_by is not null then ', held by ' || w.held_by
                 else '' end
            || case
                 when w.kind = 'children' and s.step_type = 'subworkflow' and not exists
                     (select from execution.workflow_executions c where c.id = w.id) and not exists
                     (select from execution.commands m where m.wait_id = w.id or m.execution_id = w.id)
                     then ', NO CHILD and no command for one'
                 when w.kind = 'children' and exists
                     (select from execution.workflow_executions c
                       where c.id = w.id and c.completed_at is not null) and not exists
                     (select from execution.commands m where m.wait_id = w.id or m.execution_id = w.execution_id)
                     then ', CHILD OVER and no command that says so'
                 when w.kind = 'lock' and not exists
                     (select from execution.locks k where k.client_id = w.client_id and k.lock_key = w.lock_key)
                     then ', LOCK FREE and not granted'
                 else '' end,
            '; '), 'NO WAIT: nothing will ever move it')
  from execution.workflow_executions e
  left join execution.waits w on w.execution_id = e.id
  left join catalog.workflow_steps s on s.id = w.step_id
 where e.status in ('PENDING', 'RUNNING')
 group by e.id, e.status, e.parent_execution_id
 order by min(e.started_at)
 limit 20";

const REST: &str = "
select 'command ' || kind || ' for ' || execution_id || ', due for ' || clock_timestamp() - available_at
  from (select * from execution.commands order by available_at limit 10) c
union all
select 'outbox row ' || id || ', ' || octet_length(payload) || ' bytes, ' || clock_timestamp() - created_at || ' old'
  from (select * from execution.outbox order by created_at limit 10) o
union all
select 'events of ' || execution_id || ' from ' || first_seq || ' held for ' || clock_timestamp() - held_at
  from (select * from reporting.held_events order by held_at limit 10) h
union all
select 'day ' || day || ' of ' || workflow_id || ' stale for ' || clock_timestamp() - marked_at
  from (select * from reporting.days where shown is distinct from mark limit 10) d
union all
select 'session of ' || usename || ' ' || state || ' for ' || clock_timestamp() - state_change || ', waits for '
       || coalesce(wait_event, 'nothing') || ': ' || left(query, 120)
  from pg_stat_activity
 where datname = current_database() and state <> 'idle' and pid <> pg_backend_pid()";

pub async fn why(admin: &PgPool) -> sqlx::Result<Vec<String>> {
    let mut lines: Vec<String> = sqlx::query_scalar(OPEN).fetch_all(admin).await?;
    lines.extend(
        sqlx::query_scalar::<_, String>(REST)
            .fetch_all(admin)
            .await?,
    );
    Ok(lines)
}
