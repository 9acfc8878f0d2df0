-- What operators look for, and what they do to many executions at once.

-- ListExecutions by the step that is waited at.
create index waits_step_id on execution.waits (step_id);
-- ListStuck and ListExecutions by incident, and how many there are. There are few: others pay nothing for it.
create index waits_incident on execution.waits (id) where kind = 'incident';

-- When workers last asked for jobs of a type, give or take half a minute: a job that nobody asks for is stuck.
create table execution.job_types (
    job_type varchar primary key,
    last_asked_at timestamptz not null
);

-- One thing that is done to many executions. The row is the progress: whoever holds the lease goes on from it.
create table execution.bulk_operations (
    id uuid primary key,
    -- What is done: cancel, resolve or signal, with its settings.
    action json not null,
    -- As ListExecutions takes it.
    filter varchar not null,
    max_per_second integer not null,
    -- Counts only.
    dry_run boolean not null,
    -- PENDING, RUNNING, COMPLETED, CANCELLED, FAILED.
    state varchar not null default 'PENDING',
    -- Who asked for it, as calls know people: what is done is done in their name.
    actor json not null,
    created_by varchar not null,
    -- Executions that start later are left alone, so that it ends.
    created_at timestamptz not null default clock_timestamp(),
    started_at timestamptz,
    completed_at timestamptz,
    -- Start and id of the execution that was done last: the order is theirs.
    cursor_started_at timestamptz,
    cursor_id uuid,
    processed bigint not null default 0,
    succeeded bigint not null default 0,
    -- Over, or resolved, before their turn came.
    skipped bigint not null default 0,
    failed bigint not null default 0,
    -- The first failures: [{executionId, reason, message}].
    errors json not null default '[]',
    -- Why it FAILED.
    error varchar,
    -- Which loop works on it; another one takes over when the lease has ended.
    held_by uuid,
    lease_until timestamptz
);
-- ListBulkOperations.
create index bulk_operations_created_at on execution.bulk_operations (created_at, id);
-- What is to be done; a handful of rows.
create index bulk_operations_open on execution.bulk_operations (created_at)
    where state in ('PENDING', 'RUNNING');

-- What is purged of simulations, which are kept for a shorter time. Others pay nothing for it.
create index workflow_executions_simulation on execution.workflow_executions (started_at, id) where simulation;
