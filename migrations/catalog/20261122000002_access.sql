-- What ends somebody's access before their token does.

alter table catalog.users
    -- Somebody who has left is refused everywhere, and stays because history names them.
    add column is_active boolean not null default true,
    -- When role, groups or is_active last changed. Tokens signed before still tell the old ones, so the
    -- services are told of users who changed lately.
    add column access_changed_at timestamptz not null default now();
-- ListRevocations: who changed within the life of a token.
create index users_access_changed_at on catalog.users (access_changed_at);

-- Sessions and API keys that have ended. Kept for longer than anybody remembers having verified one.
create table catalog.revocations (
    -- Of the session or of the key.
    id uuid primary key,
    revoked_at timestamptz not null default now()
);
create index revocations_revoked_at on catalog.revocations (revoked_at);
