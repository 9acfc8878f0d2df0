-- Sessions, and what limits the guessing of passwords.

-- A sign-in and all tokens that come of it. Ending one deletes its row and leaves its id in revocations.
create table catalog.sessions (
    -- Access tokens name it (`sid`).
    id uuid primary key,
    user_id uuid not null constraint sessions_user_id_fkey
        references catalog.users (id) on delete cascade,
    -- SHA-256 of the secret that is in every refresh token of the session: whoever has it had one of them.
    lasting_digest bytea not null,
    -- SHA-256 of the secret that is in the newest one only: an older one has been used before.
    rotating_digest bytea not null,
    created_at timestamptz not null default now(),
    -- When tokens were last issued.
    refreshed_at timestamptz not null default now(),
    -- Ended by time; the row is kept for some days, to say so.
    expires_at timestamptz not null
);
-- All sessions of a user, the latest first: those beyond the limit end.
create index sessions_user_id on catalog.sessions (user_id, refreshed_at);
-- Housekeeping.
create index sessions_expires_at on catalog.sessions (expires_at);

-- From where a user has signed in. There, failures elsewhere do not count against them.
create table catalog.known_sources (
    user_id uuid not null constraint known_sources_user_id_fkey
        references catalog.users (id) on delete cascade,
    -- An IPv4 address, or the first 64 bits of an IPv6 one.
    source varchar not null,
    last_login_at timestamptz not null default now(),
    constraint known_sources_pkey primary key (user_id, source)
);
-- Housekeeping.
create index known_sources_last_login_at on catalog.known_sources (last_login_at);

-- Passwords that were tried and not found right, by what they are counted for.
create table catalog.login_failures (
    -- `source:<source>`, or a digest that only the master key makes of an account's address, with or without a
    -- source: people type passwords where addresses belong.
    key varchar primary key,
    -- Those that are under way count until they are found right.
    count integer not null,
    -- When counting began. It begins anew 15 minutes later.
    since timestamptz not null
);
-- Housekeeping.
create index login_failures_since on catalog.login_failures (since);
