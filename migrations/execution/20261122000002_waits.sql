-- Branches that wait for a named message, for other branches, or for an operator.

alter table execution.waits
    -- Signals: what the branch waits for, and what tells its message from others of that name.
    add column signal_name varchar,
    add column correlation varchar,
    -- Incidents: why the step failed.
    add column error_code varchar,
    add column error text;
comment on column execution.waits.kind is 'runnable, job, person, timer, join, signal, incident';
-- BroadcastSignal: who waits for a name, with a correlation or with any.
create index waits_signal on execution.waits (signal_name, correlation, id) where kind = 'signal';

-- While what was done is being undone: FAILED or CANCELLED.
alter table execution.workflow_executions add column closing_as execution.execution_status;
