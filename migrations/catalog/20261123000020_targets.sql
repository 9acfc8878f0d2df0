-- Within which time an execution of the workflow should end, as a duration text such as '48h'; null: no
-- target. Part of what is published: the engine does nothing with it, reports tell whether it was met.

alter table catalog.workflows add column target varchar;
