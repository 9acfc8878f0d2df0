-- Steps that are done for each item of a list, and locks that only one step at a time can hold.

-- Which item of a foreach the attempt was for, from 0. Such an output is a result of the foreach, and no part
-- of what the execution knows.
alter table execution.execution_logs add column item_index integer;

alter table execution.waits
    -- Items: the seq of the branch that waits for it, and the fields `item` and `itemIndex` as workers see them.
    add column item_of integer,
    add column item json,
    -- The lock that the step waits for (kind lock) or holds (every other kind).
    add column lock_key varchar;
comment on column execution.waits.kind is
    'runnable, job, person, timer, join, children, lock, signal, incident';
-- Who is next for a lock.
create index waits_lock on execution.waits (client_id, lock_key, created_at, id) where kind = 'lock';

-- Locks that are held. One row a lock, gone when it is free and nobody waits for it.
create table execution.locks (
    client_id uuid not null,
    lock_key varchar not null,
    -- The holder: an activation, so that the lock outlives its attempts.
    execution_id uuid not null references execution.workflow_executions (id) on delete cascade,
    step_id uuid not null,
    activation integer not null,
    primary key (client_id, lock_key)
);
-- Deleting an execution.
create index locks_execution_id on execution.locks (execution_id);
