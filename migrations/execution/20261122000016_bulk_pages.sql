-- What a bulk operation is doing: {executions: [{id, waits}], last, isLast}, at most 200 executions. Written before they
-- are done and emptied with their count, so that a page that is done again after a crash is the same one, whatever
-- its executions have become. Null between pages, in dry runs, and once the operation is over.
alter table execution.bulk_operations add column page json;
