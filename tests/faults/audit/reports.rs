//! What must be true of reports: everything counted once more from executions and logs. Invariant: counts and sums are
//! equal to the last microsecond, or it is a violation.

use super::Rule;

pub const RULES: &[Rule] = &[
    Rule {
        none: "execution whose report is missing or differs",
        sql: "select e.id || ' ' || e.status || ' with ' || e.event_count || ' events: report of '
                     || coalesce(r.applied_seq::text, 'none') || ' ' || coalesce(r.metrics ->> 'status', '')
                from execution.workflow_executions e
                left join reporting.workflow_reports r on r.execution_id = e.id and r.report_type = 'execution'
               where not e.simulation
                 and (r.id is null or r.applied_seq <> e.event_count
                   or r.metrics ->> 'status' <> case when e.completed_at is null then 'RUNNING' else e.status::text end
                   or r.workflow_id <> e.workflow_id or r.period_start <> e.started_at
                   or r.period_end is distinct from e.completed_at
                   or (r.metrics ->> 'executionTime')::numeric * 1000
                      is distinct from extract(epoch from e.completed_at - e.started_at) * 1000000)",
    },
    Rule {
        none: "report of nothing",
        sql: "select r.id || ' ' || r.report_type from reporting.workflow_reports r
               where r.report_type = 'execution'
                 and not exists (select from execution.workflow_executions e
                                  where e.id = r.execution_id and not e.simulation)
              union all
              select execution_id || ' reported ' || count(*) || ' times' from reporting.workflow_reports
               where report_type = 'execution' group by execution_id having count(*) > 1",
    },
    Rule {
        none: "step of an execution's report that differs",
        sql: "with raw as (
                  select execution_id, step_id::text as step,
                         count(*) filter (where not will_retry) as activations,
                         count(*) filter (where status = 'COMPLETED') as completed,
                         count(*) filter (where status = 'FAILED' and not will_retry) as failed,
                         count(*) filter (where status = 'SKIPPED') as skipped,
                         count(*) filter (where attempt > 1) as retries,
                         sum(extract(epoch from completed_at - available_at) * 1000000)
                             filter (where status = 'COMPLETED') as time
                    from execution.execution_logs where event_seq is not null group by 1, 2),
              told as (
                  select r.execution_id, s.key as step, s.value as figures
                    from reporting.workflow_reports r, jsonb_each(r.metrics -> 'steps') s
                   where r.report_type = 'execution')
              select coalesce(raw.execution_id, told.execution_id) || ' step ' || coalesce(raw.step, told.step)
                     || ': ' || coalesce(raw::text, 'nothing') || ' is told as ' || coalesce(figures::text, 'nothing')
                from raw full join told on told.execution_id = raw.execution_id and told.step = raw.step
               where raw.step is null or told.step is null
                  or (raw.activations, raw.completed, raw.failed, raw.skipped, raw.retries) is distinct from
                     (coalesce((figures ->> 'activations')::bigint, 0), coalesce((figures ->> 'completed')::bigint, 0),
                      coalesce((figures ->> 'failed')::bigint, 0), coalesce((figures ->> 'skipped')::bigint, 0),
                      coalesce((figures ->> 'retries')::bigint, 0))
                  or raw.time is distinct from (figures ->> 'totalTime')::numeric * 1000",
    },
    Rule {
        none: "day's figures that differ",
        sql: "with events as (
                  select workflow_id, (started_at at time zone 'UTC')::date as day, workflow_version as version,
                         'execution' as kind, client_id as key, 1 as total, (status = 'COMPLETED')::integer as completed,
                         (status = 'FAILED')::integer as failed, (status = 'CANCELLED')::integer as cancelled,
                         0 as skipped, 0 as retries,
                         case when status = 'COMPLETED' then completed_at - started_at end as time
                    from execution.workflow_executions where not simulation
                  union all
                  select workflow_id, (started_at at time zone 'UTC')::date, workflow_version, 'hour',
                         lpad(to_hex(extract(hour from started_at at time zone 'UTC')::integer), 32, '0')::uuid, 1,
                         (status = 'COMPLETED')::integer, (status = 'FAILED')::integer,
                         (status = 'CANCELLED')::integer, 0, 0,
                         case when status = 'COMPLETED' then completed_at - started_at end
                    from execution.workflow_executions where not simulation
                  union all
                  select e.workflow_id, (e.started_at at time zone 'UTC')::date, e.workflow_version, 'step', l.step_id,
                         (not l.will_retry)::integer, (l.status = 'COMPLETED')::integer,
                         (l.status = 'FAILED' and not l.will_retry)::integer, 0, (l.status = 'SKIPPED')::integer,
                         (l.attempt > 1)::integer,
                         case when l.status = 'COMPLETED' then l.completed_at - l.available_at end
                    from execution.execution_logs l
                    join execution.workflow_executions e on e.id = l.execution_id and not e.simulation
                   where l.event_seq is not null
                  union all
                  select e.workflow_id, (e.started_at at time zone 'UTC')::date, e.workflow_version, 'transition',
                         taken.id::uuid,
                         1, 0, 0, 0, 0, 0, null
                    from execution.execution_logs l
                    join execution.workflow_executions e on e.id = l.execution_id and not e.simulation
                   cross join lateral jsonb_array_elements_text(coalesce(l.route -> 'taken', '[]')) taken (id)
                   where l.event_seq is not null and taken.id::uuid <> '00000000-0000-0000-0000-000000000000'),
              raw as (
                  select workflow_id, day, version, kind, key, sum(total) as total, sum(completed) as completed,
                         sum(failed) as failed, sum(cancelled) as cancelled, sum(skipped) as skipped,
                         sum(retries) as retries,
                         coalesce(sum(extract(epoch from time) * 1000000), 0) as time,
                         coalesce(min(extract(epoch from time) * 1000000), 0) as least,
                         coalesce(max(extract(epoch from time) * 1000000), 0) as most
                    from events group by 1, 2, 3, 4, 5)
              select coalesce(raw.kind, d.kind) || ' ' || coalesce(raw.key, d.key) || ' on '
                     || coalesce(raw.day, d.day) || ': ' || coalesce(raw::text, 'nothing') || ' is counted as '
                     || coalesce(d.figures::text, 'nothing')
                from raw
                full join (select * from reporting.figures where kind <> 'group') d
                     on d.workflow_id = raw.workflow_id and d.day = raw.day and d.version = raw.version
                     and d.kind = raw.kind and d.key = raw.key
               where raw.key is null or d.key is null
                  or (raw.total, raw.completed, raw.failed, raw.cancelled, raw.skipped, raw.retries, raw.time,
                      raw.least, raw.most) is distinct from
                     (coalesce((d.figures ->> 'total')::numeric, 0), coalesce((d.figures ->> 'completed')::numeric, 0),
                      coalesce((d.figures ->> 'failed')::numeric, 0),
                      coalesce((d.figures ->> 'cancelled')::numeric, 0),
                      coalesce((d.figures ->> 'skipped')::numeric, 0),
                      coalesce((d.figures ->> 'retries')::numeric, 0),
                      coalesce((d.figures -> 'times' ->> 'sum')::numeric, 0),
                      coalesce((d.figures -> 'times' ->> 'min')::numeric, 0),
                      coalesce((d.figures -> 'times' ->> 'max')::numeric, 0))",
    },
    Rule {
        none: "day, week or month that is not the sum of its executions",
        sql: "with kinds (kind, unit) as (values ('daily', 'day'), ('weekly', 'week'), ('monthly', 'month')),
              raw as (
                  select k.kind, e.workflow_id,
                         date_trunc(k.unit, e.started_at at time zone 'UTC') at time zone 'UTC' as since,
                         count(*) as total, count(*) filter (where e.status = 'COMPLETED') as completed,
                         count(*) filter (where e.status = 'FAILED') as failed,
                         count(*) filter (where e.status = 'CANCELLED') as cancelled,
                         floor((2 * sum(extract(epoch from e.completed_at - e.started_at) * 1000000)
                                        filter (where e.status = 'COMPLETED')
                                + count(*) filter (where e.status = 'COMPLETED'))
                               / nullif(2 * count(*) filter (where e.status = 'COMPLETED'), 0)) as mean
                    from execution.workflow_executions e, kinds k where not e.simulation group by 1, 2, 3)
              select coalesce(raw.kind, r.report_type) || ' from ' || coalesce(raw.since, r.period_start) || ': '
                     || coalesce(raw::text, 'nothing') || ' is told as '
                     || coalesce((r.metrics - 'steps' - 'transitions')::text, 'nothing')
                from raw
                full join (select * from reporting.workflow_reports where report_type <> 'execution') r
                     on r.workflow_id = raw.workflow_id and r.report_type = raw.kind and r.period_start = raw.since
               where raw.kind is null or r.id is null
                  or (raw.total, raw.completed, raw.failed, raw.cancelled, raw.total - raw.completed - raw.failed
                      - raw.cancelled, raw.mean) is distinct from
                     ((r.metrics ->> 'totalExecutions')::bigint, (r.metrics ->> 'completedExecutions')::bigint,
                      (r.metrics ->> 'failedExecutions')::bigint, (r.metrics ->> 'cancelledExecutions')::bigint,
                      (r.metrics ->> 'runningExecutions')::bigint,
                      (r.metrics ->> 'averageExecutionTime')::numeric * 1000)",
    },
    Rule {
        none: "event that was set aside",
        sql: "select row_id || ': ' || error from reporting.parked_rows",
    },
];
