-- Who changed what, and when. Never updated; housekeeping forgets what is older than the installation keeps.

create table catalog.audit_events (
    -- Made in order of time.
    id uuid primary key,
    occurred_at timestamptz not null default now(),
    -- USER, API_KEY or SERVICE.
    actor_type varchar not null,
    -- Of the user or key, without a foreign key: what was done outlasts who did it. A service has none.
    actor_id uuid,
    -- As it was called then: a user's email address, a key's or a service's name.
    actor_name varchar not null,
    -- The call, for instance UpdateClient.
    action varchar not null,
    -- USER, API_KEY, CLIENT or WORKFLOW; steps and transitions belong to their workflow.
    object_type varchar not null,
    object_id uuid not null,
    -- What changed, in words, a line each.
    changes text[] not null
);
-- ListAuditEvents: all, of one object, of one actor; the newest first. The first also serves forgetting.
create index audit_events_occurred_at on catalog.audit_events (occurred_at, id);
create index audit_events_object_id on catalog.audit_events (object_id, occurred_at, id);
create index audit_events_actor_id on catalog.audit_events (actor_id, occurred_at, id);
