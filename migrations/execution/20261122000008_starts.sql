-- How an execution came to be: under which business key, in place of which other one, by which schedule; and
-- which of its attempts led to which.

alter table execution.workflow_executions
    -- The caller's own word for what the execution is about; by policy unique among a workflow's executions.
    add column business_key varchar,
    -- The execution whose completed steps it took over. No foreign key: that one may be purged.
    add column restarted_from_id uuid,
    -- The schedule that started it. No foreign key: that one may be deleted.
    add column schedule_id uuid;
-- ListExecutions by business key, and whether a key was ever used.
create index workflow_executions_business_key on execution.workflow_executions
    (workflow_id, business_key, started_at, id) where business_key is not null;
-- Which open execution has a key, however many had it before.
create index workflow_executions_open_business_key on execution.workflow_executions
    (workflow_id, business_key, started_at, id)
    where business_key is not null and status in ('PENDING', 'RUNNING');
-- ListExecutions of what replaced one.
create index workflow_executions_restarted_from_id on execution.workflow_executions
    (restarted_from_id, started_at, id) where restarted_from_id is not null;
-- ListExecutions of a schedule.
create index workflow_executions_schedule_id on execution.workflow_executions
    (schedule_id, started_at, id) where schedule_id is not null;
-- Which executions of a schedule are open.
create index workflow_executions_open_schedule_id on execution.workflow_executions (schedule_id)
    where schedule_id is not null and status in ('PENDING', 'RUNNING');

-- The attempt whose end led to this one: the step before, or the attempt that is retried. Null for what begins an
-- execution or undoes a step. A restart follows it to know which arrival at a step is which.
alter table execution.execution_logs add column from_seq integer;
