-- Executions that another one started.

alter table execution.workflow_executions
    -- The execution whose `subworkflow` step started it. No foreign key: that one may be purged first, and a purge
    -- must not write the rows of all that it started.
    add column parent_execution_id uuid;
comment on column execution.waits.kind is 'runnable, job, person, timer, join, signal, children, incident';
-- ListExecutions of what one execution has started. Most have no parent, and cost nothing here.
create index workflow_executions_parent_execution_id on execution.workflow_executions
    (parent_execution_id, started_at, id) where parent_execution_id is not null;
