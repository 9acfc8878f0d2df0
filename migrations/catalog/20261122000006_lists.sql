-- What the lists of clients, users and workflows need to be fast whatever they hold: an index for each order
-- and for each restriction that may leave few rows of many. Every index ends in the id, which decides
-- between equals, so that a page begins where the one before ended.
-- Trigrams come with the extension pg_trgm, which bootstrap makes.

-- ListClients by last change and by name. Names are listed whatever their case, in the same order on every
-- server, so not by its language.
create index clients_updated_at on catalog.clients (updated_at, id);
create index clients_by_name on catalog.clients (lower(name) collate "C", id);
-- Few clients are inactive: walking down the list would take long to find them.
create index clients_inactive on catalog.clients (created_at, id) where not is_active;
-- `text : "…"`. Each field begins behind a space, as its words do.
create index clients_text on catalog.clients using gin
    (lower(' ' || name || E'\n ' || coalesce(email, '') || E'\n ' || coalesce(company, '')) gin_trgm_ops);

-- The same for ListUsers. By email they are found and listed by users_email_key.
create index users_by_name on catalog.users (lower(name) collate "C", id);
create index users_inactive on catalog.users (created_at, id) where not is_active;
-- Few users are administrators.
create index users_admins on catalog.users (created_at, id) where role = 'ADMIN';
create index users_text on catalog.users using gin (lower(' ' || name || E'\n ' || email) gin_trgm_ops);

-- The same for ListWorkflows, and by exact name, which ApplyWorkflow asks for too.
create index workflows_updated_at on catalog.workflows (updated_at, id);
create index workflows_by_name on catalog.workflows (lower(name) collate "C", id);
create index workflows_name on catalog.workflows (name);
create index workflows_text on catalog.workflows using gin (lower(' ' || name) gin_trgm_ops);
-- Few workflows are being worked on.
create index workflows_unpublished on catalog.workflows (created_at, id) where has_unpublished_changes;
