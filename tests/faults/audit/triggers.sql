-- What must never happen to a row, noted in the transaction in which it does.
create schema audit;
create table audit.changes (
    what text not null,
    id uuid not null,
    was jsonb not null,
    became jsonb,
    at timestamptz not null default clock_timestamp()
);

create function audit.watch_execution() returns trigger language plpgsql security definer as $$
begin
    if tg_op = 'DELETE'
        or old.status in ('COMPLETED', 'FAILED', 'CANCELLED')
            and to_jsonb(new) - 'updated_at' is distinct from to_jsonb(old) - 'updated_at'
        or old.status = 'RUNNING' and new.status = 'PENDING'
        or new.event_count < old.event_count
        or new.revision <= old.revision
    then
        insert into audit.changes values ('execution', old.id, to_jsonb(old), to_jsonb(new));
    end if;
    return null;
end
$$;
create trigger audit after update or delete on execution.workflow_executions
    for each row execute function audit.watch_execution();

create function audit.watch_log() returns trigger language plpgsql security definer as $$
begin
    if tg_op = 'DELETE'
        or old.status in ('COMPLETED', 'FAILED', 'SKIPPED') and new is distinct from old
        or (old.execution_id, old.step_id, old.seq, old.activation, old.attempt)
            is distinct from (new.execution_id, new.step_id, new.seq, new.activation, new.attempt)
    then
        insert into audit.changes values ('log', old.id, to_jsonb(old), to_jsonb(new));
    end if;
    return null;
end
$$;
create trigger audit after update or delete on execution.execution_logs
    for each row execute function audit.watch_log();

create function audit.watch_report() returns trigger language plpgsql security definer as $$
begin
    if old.report_type = 'execution' and (tg_op = 'DELETE' or new.applied_seq <= old.applied_seq)
    then
        insert into audit.changes values ('report', old.id, to_jsonb(old), to_jsonb(new));
    end if;
    return null;
end
$$;
create trigger audit after update or delete on reporting.workflow_reports
    for each row execute function audit.watch_report();
