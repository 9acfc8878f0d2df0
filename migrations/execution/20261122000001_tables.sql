-- The execution service's part of the schema: executions, their logs, and what the engine needs to go on.
-- Columns that the customer's document does not name say here why they are there.

create type execution.execution_status as enum ('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED');
create type execution.step_status as enum ('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'SKIPPED');

-- Keeps updated_at true for writers that do not set it; the engine does, and then this does not run.
create function execution.touch() returns trigger language plpgsql as $$
begin
    new.updated_at := now();
    return new;
end
$$;

create table execution.workflow_executions (
    id uuid primary key,
    workflow_id uuid not null constraint workflow_executions_workflow_id_fkey references catalog.workflows (id),
    client_id uuid not null constraint workflow_executions_client_id_fkey references catalog.clients (id),
    status execution.execution_status not null default 'PENDING',
    started_at timestamptz not null default now(),
    completed_at timestamptz,
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    -- The version it runs, whatever is published later.
    workflow_version integer not null,
    -- Who started it: a user's id, or a service's name.
    started_by varchar,
    -- Why it failed or was cancelled.
    error text,
    error_code varchar,
    -- metadata.simulation: has no effects and no events.
    simulation boolean not null default false,
    -- How many events it has had; the last one's seq.
    event_count integer not null default 0,
    -- Counts commits: tells a cached state from a stale one.
    revision bigint not null default 1
);
-- ListExecutions of one workflow, of one client, of all; each pages by start.
create index workflow_executions_workflow_id on execution.workflow_executions (workflow_id, started_at, id);
create index workflow_executions_client_id on execution.workflow_executions (client_id, started_at, id);
create index workflow_executions_started_at on execution.workflow_executions (started_at, id);
-- Lists by status ask for what is open or went wrong; the many completed ones are found by start.
create index workflow_executions_status on execution.workflow_executions (status, started_at, id)
    where status <> 'COMPLETED';
-- ListExecutions by metadata keys. Input is left out: indexing it costs a fifth of the write speed.
create index workflow_executions_metadata on execution.workflow_executions
    using gin ((metadata - 'inputData') jsonb_path_ops) where metadata - 'inputData' <> '{}';
create trigger workflow_executions_touch before update on execution.workflow_executions
    for each row when (new.updated_at = old.updated_at) execute function execution.touch();

-- One row per attempt: (execution, step, activation, attempt). Written when the attempt becomes visible,
-- immutable once terminal.
create table execution.execution_logs (
    id uuid primary key,
    execution_id uuid not null constraint execution_logs_execution_id_fkey
        references execution.workflow_executions (id) on delete cascade,
    step_id uuid constraint execution_logs_step_id_fkey references catalog.workflow_steps (id),
    status execution.step_status not null default 'PENDING',
    message text,
    -- The attempt's output.
    data jsonb,
    error text,
    started_at timestamptz not null default now(),
    completed_at timestamptz,
    -- Its number in the execution, from 1, without gaps.
    seq integer not null,
    -- Which arrival at the step, and which attempt of that arrival; both from 1.
    activation integer not null default 1,
    attempt integer not null default 1,
    -- When it became visible, from when on it could be worked on, and when somebody took it. Reports
    -- split waiting time by these.
    queued_at timestamptz not null default now(),
    available_at timestamptz not null default now(),
    assigned_at timestamptz,
    -- How the way on was chosen.
    route jsonb,
    error_code varchar,
    -- Whether the same activation goes on with another attempt.
    will_retry boolean not null default false,
    -- The seq of the event that told its end; null while it is open.
    event_seq integer,
    -- Lists and watches read an execution's logs in order.
    constraint execution_logs_seq_key unique (execution_id, seq)
);
-- Whether a step may be deleted, and how one step fared over time.
create index execution_logs_step_id on execution.execution_logs (step_id, started_at);
-- What is open or went wrong across executions; the many completed ones are found by their execution.
create index execution_logs_status on execution.execution_logs (status, started_at) where status <> 'COMPLETED';

-- The versions that executions run, copied from the catalog on first use. Never updated.
create table execution.definitions (
    workflow_id uuid not null,
    version integer not null,
    definition json not null,
    fetched_at timestamptz not null default now(),
    primary key (workflow_id, version)
);

-- The engine's memory of an execution that outlives a commit; gone when the execution is over.
create table execution.execution_states (
    execution_id uuid primary key references execution.workflow_executions (id) on delete cascade,
    state json not null
);

-- What open executions wait for: one row per active branch, so nothing hangs without a reason.
-- A job and a task are such rows too; their id is the log's id.
create table execution.waits (
    id uuid primary key,
    execution_id uuid not null references execution.workflow_executions (id) on delete cascade,
    workflow_id uuid not null,
    client_id uuid not null,
    step_id uuid not null,
    -- runnable, job, person, timer.
    kind varchar not null,
    created_at timestamptz not null,
    -- When the activation's first attempt became visible: the total retry budget runs from here.
    arrived_at timestamptz not null,
    -- The earliest instant at which the engine acts by itself: timeout, end of lease, end of a wait.
    wake_at timestamptz,
    -- From when on a job may be leased or a task decided.
    available_at timestamptz not null,
    -- Jobs: what workers ask for; how long an attempt may take once leased.
    job_type varchar,
    timeout_ms bigint,
    -- Jobs: who holds it ("principal/worker"). Tasks: the email address of who claimed it.
    held_by varchar,
    lease_until timestamptz,
    -- Tasks: who may decide. Null and empty: every user.
    task_group varchar,
    assignees text[] not null default '{}'
);
-- Reading an execution's reasons.
create index waits_execution_id on execution.waits (execution_id);
-- The timer loop.
create index waits_wake_at on execution.waits (wake_at) where wake_at is not null;
-- Leasing jobs, taking turns between clients.
create index waits_job on execution.waits (job_type, client_id, available_at, id)
    where kind = 'job' and held_by is null;
-- Listing tasks, oldest first.
create index waits_task on execution.waits (created_at, id) where kind = 'person';

-- Step events on their way to reporting: one row a commit, deleted when acknowledged.
create table execution.outbox (
    id uuid primary key,
    payload bytea not null,
    created_at timestamptz not null default clock_timestamp()
);
-- Rows live for milliseconds: compressing them would be for nothing.
alter table execution.outbox alter column payload set storage external;
-- What waits to be sent, oldest first, and since when.
create index outbox_created_at on execution.outbox (created_at);

-- What `notification` steps sent. The default delivery is this table and a line in the service's log.
create table execution.notifications (
    id uuid primary key,
    execution_id uuid not null references execution.workflow_executions (id) on delete cascade,
    step_id uuid not null,
    notification_type varchar not null,
    template varchar,
    recipients text[] not null default '{}',
    created_at timestamptz not null default now()
);
-- Deleting an execution takes its notifications along.
create index notifications_execution_id on execution.notifications (execution_id);

-- Calls that carried a request_id, so that a repetition finds what the first one did. Kept 7 days.
create table execution.requests (
    caller varchar not null,
    method varchar not null,
    request_id uuid not null,
    body_hash bytea not null,
    resource_id uuid not null,
    created_at timestamptz not null default now(),
    primary key (caller, method, request_id)
);
-- Forgetting old ones. Rows come in this order, so a block range index is enough and costs nothing.
create index requests_created_at on execution.requests using brin (created_at);

-- Execution reports declare a foreign key to executions; nothing is readable.
grant usage on schema execution to wfp_reporting;
grant references on execution.workflow_executions to wfp_reporting;
