-- Figures by version, with what they are shown with; and the days that they belong to. They take the place of
-- day_figures and stale_days, which nothing reads any more; a later migration drops those.

-- Sums of the executions of one version that started on one UTC day: the only figures that are added up.
create table reporting.figures (
    workflow_id uuid not null,
    day date not null,
    version integer not null,
    -- execution (key: the client), hour (key: the UTC hour of the start, as a number), step, transition
    -- (key: their ids), group (key: made from its name).
    kind varchar not null,
    key uuid not null,
    client_id uuid not null,
    -- The step that a transition leaves.
    from_step_id uuid,
    -- The group's name; empty for tasks that every user may decide.
    group_name varchar,
    -- Counts, sums in microseconds and sketch buckets, all integers: addition is exact in any order.
    figures jsonb not null,
    primary key (workflow_id, day, version, kind, key)
);
-- Queries over a range of days of all workflows.
create index figures_kind on reporting.figures (kind, day);

-- Days that have figures. Whoever changes a day's figures holds its row.
create table reporting.days (
    workflow_id uuid not null,
    day date not null,
    -- Another one with every change: tells whether anything was added since a look.
    mark uuid not null,
    marked_at timestamptz not null default clock_timestamp(),
    -- The mark up to which the reports show the figures.
    shown uuid,
    primary key (workflow_id, day)
);
-- What has been counted so far does not tell versions; it stays visible until it is made anew.
insert into reporting.figures (workflow_id, day, version, kind, key, client_id, figures)
select workflow_id, day, 0, kind, key, client_id, figures from reporting.day_figures;
insert into reporting.days (workflow_id, day, mark, shown)
select d.workflow_id, d.day, '00000000-0000-0000-0000-000000000001',
    case when s.day is null then '00000000-0000-0000-0000-000000000001'::uuid end
from (select distinct workflow_id, day from reporting.day_figures) d
left join reporting.stale_days s on s.workflow_id = d.workflow_id and s.day = d.day;

-- Days whose reports are older than their figures.
create index days_stale on reporting.days (workflow_id, day) where shown is distinct from mark;
