-- What is to be put in place on a day (any_rebuilt_ledger, lock_ledgers_to_replace), and of a workflow
-- (list_rebuilt_ledgers).
create index rebuilt_ledgers_day on reporting.rebuilt_ledgers (rebuild_id, workflow_id, started_at);

-- Since when the days of replacing_workflow_id are being replaced: for ten minutes its reports wait for that,
-- whoever goes on with it.
alter table reporting.rebuilds add column replacing_since timestamptz;
update reporting.rebuilds set replacing_workflow_id = null;

-- Reports made by earlier releases say less of versions, and tell of what a restart took over once more.
insert into reporting.rebuilds (id, requested_by)
select gen_random_uuid(), 'upgrade' where exists (select from reporting.days)
on conflict do nothing;
