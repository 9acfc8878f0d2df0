-- What is to be put in place on a day (any_rebuilt_ledger, lock_ledgers_to_replace), and of a workflow
-- (list_rebuilt_ledgers).
create index rebuilt_ledgers_day on reporting.rebuilt_ledgers (rebuild_id, workflow_id, started_at);

-- Since when the days of replacing_workflow_id are being replaced: for ten minutes its reports wait for that,
-- whoever goes on with it.
alter table reporting.rebuilds add column replacing_since timestamptz;
