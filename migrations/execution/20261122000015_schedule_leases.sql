-- Replicas share the schedules that are due.

alter table execution.schedules
    -- Until when a replica attends to it, and no other one does; null once it has noted what it did. Of one that died
    -- it passes. No index: of the few rows that are due, fewer are attended to.
    add column attended_until timestamptz;
