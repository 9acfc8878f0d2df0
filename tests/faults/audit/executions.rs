//! What must be true of executions, logs and waits. Invariant: each rule is one query over the tables, which finds
//! nothing.

use super::Rule;

pub const RULES: &[Rule] = &[
    Rule {
        none: "row that changed though it was final",
        sql: "select what || ' ' || id || ' at ' || at || ': ' || was || ' became ' || coalesce(became::text, 'nothing')
                from audit.changes order by at",
    },
    Rule {
        none: "execution whose logs have gaps in seq",
        sql: "select execution_id || ': ' || count(*) || ' logs up to ' || max(seq)
                from execution.execution_logs group by execution_id
              having count(*) <> max(seq) or min(seq) <> 1",
    },
    Rule {
        none: "activation whose attempts are not 1..n, or of which more than the last one was completed",
        sql: "select execution_id || ' step ' || step_id || ' activation ' || activation || ': '
                     || string_agg(attempt || ' ' || status, ', ' order by attempt)
                from execution.execution_logs group by execution_id, step_id, activation
              having count(*) <> max(attempt) or min(attempt) <> 1
                  or count(*) filter (where status = 'COMPLETED') > 1
                  or count(*) filter (where not will_retry) > 1
                  or max(attempt) filter (where status = 'COMPLETED') < max(attempt)",
    },
    Rule {
        none: "execution whose events are not numbered without gaps",
        sql: "select e.id || ': ' || e.event_count || ' events, of logs ' || count(l.event_seq)
                from execution.workflow_executions e
                left join execution.execution_logs l on l.execution_id = e.id and l.event_seq is not null
               where not e.simulation
               group by e.id
              having e.event_count <> 1 + count(l.event_seq) + (e.completed_at is not null)::integer
                  or count(distinct l.event_seq) <> count(l.event_seq)
                  or coalesce(min(l.event_seq), 2) <> 2
                  or coalesce(max(l.event_seq), 1) <> 1 + count(l.event_seq)",
    },
    Rule {
        none: "log that is over and has no event, or has one and is not over",
        sql: "select l.id || ' ' || l.status from execution.execution_logs l
                join execution.workflow_executions e on e.id = l.execution_id and not e.simulation
               where (l.event_seq is null) = (l.status in ('COMPLETED', 'FAILED', 'SKIPPED'))",
    },
    Rule {
        none: "execution that is over and still waits, remembers, holds or works",
        sql: "select e.id || ' ' || e.status from execution.workflow_executions e
               where e.status in ('COMPLETED', 'FAILED', 'CANCELLED')
                 and (exists (select from execution.waits w where w.execution_id = e.id)
                   or exists (select from execution.execution_states s where s.execution_id = e.id)
                   or exists (select from execution.locks k where k.execution_id = e.id)
                   or exists (select from execution.execution_logs l
                               where l.execution_id = e.id and l.status in ('PENDING', 'RUNNING')))",
    },
    Rule {
        none: "open execution without a reason",
        sql: "select e.id || ' ' || e.status from execution.workflow_executions e
               where e.status in ('PENDING', 'RUNNING')
                 and not exists (select from execution.waits w where w.execution_id = e.id)",
    },
    Rule {
        none: "status that its times contradict",
        sql: "select id || ' ' || status from execution.workflow_executions
               where (completed_at is not null) <> (status in ('COMPLETED', 'FAILED', 'CANCELLED'))
                  or completed_at < started_at
              union all
              select id || ' ' || status from execution.execution_logs
               where (completed_at is not null) <> (status in ('COMPLETED', 'FAILED', 'SKIPPED'))
                  or completed_at < started_at or started_at < queued_at or assigned_at < queued_at",
    },
    Rule {
        none: "timer that rang early",
        sql: "select l.id || ' rang after ' || l.completed_at - l.started_at
                from execution.execution_logs l join catalog.workflow_steps s on s.id = l.step_id
               where s.step_type = 'wait' and l.status = 'COMPLETED'
                 and l.completed_at - l.started_at < (s.config ->> 'duration')::interval",
    },
    Rule {
        none: "call of another workflow that is over without it",
        sql: "select l.id || ' ' || l.status || ', child ' || coalesce(c.status::text, 'missing')
                from execution.execution_logs l join catalog.workflow_steps s on s.id = l.step_id
                left join execution.workflow_executions c on c.id = l.id
               where s.step_type = 'subworkflow' and l.status in ('COMPLETED', 'SKIPPED', 'FAILED')
                 and (c.id is null and l.status = 'COMPLETED' or c.status in ('PENDING', 'RUNNING')
                   or l.status = 'COMPLETED' and c.status <> 'COMPLETED')",
    },
    Rule {
        none: "two executions of one request",
        sql: "select metadata ->> 'mark' || ': ' || string_agg(id::text, ', ')
                from execution.workflow_executions where metadata ? 'mark'
               group by metadata ->> 'mark' having count(*) > 1",
    },
    Rule {
        none: "session that sits in a transaction",
        sql: "select usename || ' for ' || (clock_timestamp() - state_change) || ': ' || query from pg_stat_activity
               where datname = current_database() and state like 'idle in transaction%'
                 and state_change < clock_timestamp() - interval '10 s'",
    },
];
