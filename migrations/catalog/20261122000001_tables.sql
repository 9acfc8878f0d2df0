-- The catalog's part of the schema: users, clients, and workflow definitions.
-- Columns that the customer's document does not name say here why they are there.

create type catalog.user_role as enum ('ADMIN', 'USER');
create type catalog.workflow_status as enum ('DRAFT', 'ACTIVE', 'INACTIVE', 'ARCHIVED');

-- Keeps updated_at and revision true whoever writes. Rows change seldom here, so a trigger costs nothing.
create function catalog.touch() returns trigger language plpgsql as $$
begin
    new.updated_at := now();
    new.revision := old.revision + 1;
    return new;
end
$$;

create table catalog.users (
    id uuid primary key,
    email varchar not null constraint users_email_key unique,
    -- An argon2id hash in PHC form.
    password varchar not null,
    name varchar not null,
    role catalog.user_role not null default 'USER',
    -- A step's approverRole names one of these.
    groups text[] not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    -- Counts changes; the etag.
    revision bigint not null default 1
);
-- ListUsers pages by age; filters by group.
create index users_created_at on catalog.users (created_at, id);
create index users_groups on catalog.users using gin (groups);
create trigger users_touch before update on catalog.users
    for each row execute function catalog.touch();

create table catalog.clients (
    id uuid primary key,
    name varchar not null,
    email varchar,
    phone varchar,
    address text,
    company varchar,
    notes text,
    is_active boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    revision bigint not null default 1
);
-- ListClients pages by age; ApplyWorkflow finds a client by its exact name.
create index clients_created_at on catalog.clients (created_at, id);
create index clients_name on catalog.clients (name);
create trigger clients_touch before update on catalog.clients
    for each row execute function catalog.touch();

create table catalog.workflows (
    id uuid primary key,
    name varchar not null,
    description text,
    client_id uuid not null constraint workflows_client_id_fkey references catalog.clients (id),
    status catalog.workflow_status not null default 'DRAFT',
    -- The latest published version; 1 while there is none.
    version integer not null default 1,
    created_by uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    revision bigint not null default 1,
    -- Whether the working copy may differ from the latest published version.
    has_unpublished_changes boolean not null default true
);
-- ListWorkflows of one client, of one status, and of all.
create index workflows_client_id on catalog.workflows (client_id, created_at, id);
create index workflows_status on catalog.workflows (status, created_at, id);
create index workflows_created_at on catalog.workflows (created_at, id);
create trigger workflows_touch before update on catalog.workflows
    for each row execute function catalog.touch();

-- The working copy's steps, and those that were taken out after having been published.
create table catalog.workflow_steps (
    id uuid primary key,
    workflow_id uuid not null constraint workflow_steps_workflow_id_fkey
        references catalog.workflows (id) on delete cascade,
    name varchar not null,
    description text,
    step_type varchar not null,
    "order" integer not null,
    config jsonb,
    is_required boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    revision bigint not null default 1,
    -- What documents know the step by, through renames.
    key varchar not null,
    -- Whether a version holds it: then logs may refer to it, and it is marked instead of deleted.
    was_published boolean not null default false,
    -- When it left the working copy.
    removed_at timestamptz,
    constraint workflow_steps_key_key unique (workflow_id, key)
);
create unique index workflow_steps_name_key on catalog.workflow_steps (workflow_id, name)
    where removed_at is null;
-- A workflow's steps by order.
create index workflow_steps_workflow_id_order on catalog.workflow_steps (workflow_id, "order", id);
-- That a version holds a step now is no change of the step: its etag stays.
create trigger workflow_steps_touch before update on catalog.workflow_steps
    for each row when (new.was_published = old.was_published) execute function catalog.touch();

create table catalog.workflow_transitions (
    id uuid primary key,
    workflow_id uuid not null constraint workflow_transitions_workflow_id_fkey
        references catalog.workflows (id) on delete cascade,
    from_step_id uuid not null constraint workflow_transitions_from_step_id_fkey
        references catalog.workflow_steps (id) on delete cascade,
    to_step_id uuid not null constraint workflow_transitions_to_step_id_fkey
        references catalog.workflow_steps (id) on delete cascade,
    condition jsonb,
    is_default boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    revision bigint not null default 1
);
-- A workflow's transitions; what leaves or enters a step (cascades, and editing).
create index workflow_transitions_workflow_id on catalog.workflow_transitions (workflow_id, id);
create index workflow_transitions_from_step_id on catalog.workflow_transitions (from_step_id);
create index workflow_transitions_to_step_id on catalog.workflow_transitions (to_step_id);
create trigger workflow_transitions_touch before update on catalog.workflow_transitions
    for each row execute function catalog.touch();

-- Published versions. Never updated: executions pin one.
create table catalog.workflow_versions (
    workflow_id uuid not null references catalog.workflows (id) on delete cascade,
    version integer not null,
    -- The frozen definition. json, not jsonb: numbers and key order stay to the letter.
    definition json not null,
    -- SHA-256 of the definition without its version: tells whether a republish changes anything.
    digest bytea not null,
    published_by uuid,
    published_at timestamptz not null default now(),
    primary key (workflow_id, version)
);

-- Keys that sign access tokens; the private half is encrypted with the master key.
create table catalog.signing_keys (
    id varchar primary key,
    public_key bytea not null,
    sealed_private_key bytea not null,
    created_at timestamptz not null default now()
);

-- Calls that carried a request_id, so that a repetition finds what the first one made. Kept 7 days.
create table catalog.requests (
    caller varchar not null,
    method varchar not null,
    request_id uuid not null,
    body_hash bytea not null,
    resource_id uuid not null,
    created_at timestamptz not null default now(),
    primary key (caller, method, request_id)
);
-- Forgetting old ones. Rows come in this order, so a block range index is enough and costs nothing.
create index requests_created_at on catalog.requests using brin (created_at);

-- Executions and reports declare foreign keys to these; for that REFERENCES is enough, nothing is readable.
grant usage on schema catalog to wfp_execution, wfp_reporting;
grant references on catalog.workflows, catalog.clients, catalog.workflow_steps to wfp_execution;
grant references on catalog.workflows to wfp_reporting;
