-- Making reports anew from the history of executions.

-- What was asked for, and how far it has come: a rebuild goes on wherever the last process left it.
create table reporting.rebuilds (
    id uuid primary key,
    -- All workflows, if null.
    workflow_id uuid,
    -- The days in question; all, if null.
    first_day date,
    end_day date,
    requested_by varchar not null,
    created_at timestamptz not null default now(),
    -- The replica that is at it, and until when nobody else is.
    holder uuid,
    held_until timestamptz not null default '-infinity',
    -- The workflow whose days are being replaced: its reports wait until all are.
    replacing_workflow_id uuid,
    -- The last execution that was read.
    after_started_at timestamptz,
    after_execution_id uuid,
    executions bigint not null default 0,
    events bigint not null default 0,
    -- Reports of executions, and sums, that were not what they should have been.
    changed_executions bigint not null default 0,
    changed_figures bigint not null default 0,
    finished_at timestamptz
);
-- What is to be done. The same is not done twice at once.
create unique index rebuilds_open on reporting.rebuilds (
    coalesce(workflow_id, '00000000-0000-0000-0000-000000000000'), coalesce(first_day, '-infinity'),
    coalesce(end_day, 'infinity')) where finished_at is null;

-- Reports of executions that are not what their history says, until they are put in place together with the
-- sums of their day.
create table reporting.rebuilt_ledgers (
    rebuild_id uuid not null references reporting.rebuilds (id) on delete cascade,
    -- The report.
    id uuid not null,
    workflow_id uuid not null,
    execution_id uuid not null,
    metrics jsonb not null,
    started_at timestamptz not null,
    completed_at timestamptz,
    applied_seq integer not null,
    -- The seq that the stored report had come to; null if there was none.
    base_seq integer,
    primary key (rebuild_id, id)
);

-- Reports made by earlier releases do not say all that sums are made of now.
insert into reporting.rebuilds (id, requested_by)
select gen_random_uuid(), 'upgrade' where exists (select from reporting.day_figures);
