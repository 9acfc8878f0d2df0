-- Reports tell incidents from attempts of other kinds.
alter table execution.execution_logs
    -- The attempt was an incident: it waited for an operator and did nothing else.
    add column incident boolean not null default false;
