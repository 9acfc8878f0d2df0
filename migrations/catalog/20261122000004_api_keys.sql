-- How machines are let in: workers, and a customer's own systems.

create type catalog.api_key_scope as enum ('WORKER', 'SERVICE');

create table catalog.api_keys (
    id uuid primary key,
    name varchar not null,
    scope catalog.api_key_scope not null,
    -- SHA-256 of the key as it is sent. The key is random, so nobody finds it by guessing, and a slow hash
    -- at every call would only help who wants to keep the service busy. Looked up by VerifyApiKey.
    key_hash bytea not null constraint api_keys_key_hash_key unique,
    -- The key's first characters, so that one that was found somewhere can be told from the others.
    prefix varchar not null,
    -- The administrator. No foreign key: the key outlives the account.
    created_by uuid not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    -- Null: never.
    expires_at timestamptz,
    -- Set once. The row stays, because history names the key.
    revoked_at timestamptz,
    -- Counts changes; the etag.
    revision bigint not null default 1
);
-- ListApiKeys pages by age.
create index api_keys_created_at on catalog.api_keys (created_at, id);
-- CreateApiKey counts those that are not revoked, of which there is a limited number.
create index api_keys_not_revoked on catalog.api_keys (id) where revoked_at is null;
create trigger api_keys_touch before update on catalog.api_keys
    for each row execute function catalog.touch();
