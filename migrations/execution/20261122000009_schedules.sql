-- When executions start by themselves. What a schedule started is told by the executions: their schedule_id.
create table execution.schedules (
    id uuid primary key,
    -- No foreign key: a schedule must not keep its workflow from being deleted; its starts then fail, and say so.
    workflow_id uuid not null,
    name varchar not null,
    -- Five fields, or a word such as @daily; read in the time zone, whose name is the IANA's.
    cron varchar not null,
    time_zone varchar not null,
    -- Of each execution that it starts.
    metadata jsonb,
    -- ALLOW, SKIP, BUFFER_ONE, CANCEL_RUNNING: what happens while an earlier execution is open.
    overlap_policy varchar not null,
    -- How late an execution may start; what was missed by more is not made up.
    catch_up_ms bigint not null,
    is_paused boolean not null,
    start_at timestamptz,
    end_at timestamptz,
    -- The instant that is next, or was due; null while paused and after the last one.
    next_at timestamptz,
    -- BUFFER_ONE: the instant whose execution starts when no other one is open.
    buffered_at timestamptz,
    -- Instants that were left out because of the overlap policy or because a start was refused.
    skipped_count bigint not null default 0,
    -- Instants that were left out because nobody was there to start them in time.
    missed_count bigint not null default 0,
    -- Why the last start was refused, and for which instant; null since one succeeded.
    last_error varchar,
    last_error_at timestamptz,
    -- Who made it: a user's id, or that of an API key.
    created_by varchar not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    -- Counts changes by callers: what the loop notes is none.
    revision bigint not null default 1
);
-- ListSchedules of one workflow, and how many it has; of all.
create index schedules_workflow_id on execution.schedules (workflow_id, created_at, id);
create index schedules_created_at on execution.schedules (created_at, id);
-- The loop: what is due, and what waits for an execution to end.
create index schedules_next_at on execution.schedules (next_at) where next_at is not null;
create index schedules_buffered_at on execution.schedules (buffered_at) where buffered_at is not null;
