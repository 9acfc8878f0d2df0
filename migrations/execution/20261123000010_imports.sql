-- Executions that were taken over from an older system.

create table execution.imports (
    execution_id uuid primary key references execution.workflow_executions (id) on delete cascade,
    -- SHA-256 of the case as it was sent: tells a repetition from another content.
    content_hash bytea not null,
    imported_at timestamptz not null default now()
);
