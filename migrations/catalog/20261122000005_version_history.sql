-- What the history of versions tells beside who and when.

alter table catalog.workflow_versions
    -- The version that this one brought back; null if it was no rollback.
    add column from_version integer,
    -- What whoever published it said of it.
    add column comment text;
