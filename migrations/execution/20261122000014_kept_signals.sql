-- Broadcast signals that nobody waited for, kept for a while. Who comes to wait for one, and a signal that is kept,
-- each write a row of `commands`, which brings them together: whichever is committed last finds the other.
create table execution.kept_signals (
    id uuid primary key,
    name varchar not null,
    correlation varchar not null,
    -- Restricts who may take it; null: any workflow.
    workflow_id uuid,
    data json not null,
    created_at timestamptz not null default clock_timestamp(),
    -- Nobody takes it afterwards; housekeeping deletes it.
    expires_at timestamptz not null
);
-- Whoever comes to wait takes the oldest one.
create index kept_signals_key on execution.kept_signals (name, correlation, created_at, id);
-- Housekeeping.
create index kept_signals_expires_at on execution.kept_signals (expires_at);
