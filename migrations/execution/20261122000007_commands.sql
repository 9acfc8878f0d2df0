-- What one execution's commit asks of another one: written with its cause, and taken up by a commit of its own,
-- because a transaction locks only executions that it has commands for.
create table execution.commands (
    id uuid primary key,
    -- What is asked; says which of the columns below are filled.
    kind varchar not null,
    -- Whom it concerns. No foreign key: it may not have begun yet, or may be purged by then; a row that can have no
    -- effect any more is deleted when it is taken up.
    execution_id uuid not null,
    -- The branch that it concerns, if it concerns one.
    wait_id uuid,
    -- What else is asked, by kind.
    payload json,
    created_at timestamptz not null default clock_timestamp(),
    -- Not taken up before; moved on while the database or the catalog refuses it.
    available_at timestamptz not null default clock_timestamp()
);
-- Taking up what is due, the oldest first. Rows live for milliseconds, so this stays small.
create index commands_available_at on execution.commands (available_at, id);
