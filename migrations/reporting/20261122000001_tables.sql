-- The reporting service's part of the schema: the reports, and the sums they are made from.
-- Columns that the customer's document does not name say here why they are there.

create table reporting.workflow_reports (
    -- Made from what the report is about, so that a rebuilt report keeps its id.
    id uuid primary key,
    workflow_id uuid not null constraint workflow_reports_workflow_id_fkey references catalog.workflows (id),
    -- Old executions can be purged while their reports stay.
    execution_id uuid constraint workflow_reports_execution_id_fkey
        references execution.workflow_executions (id) on delete set null,
    -- daily, weekly, monthly, execution.
    report_type varchar not null,
    metrics jsonb not null,
    period_start timestamptz not null,
    period_end timestamptz,
    created_at timestamptz not null default now(),
    -- Execution reports are the ledger: the seq of the last event that was counted.
    applied_seq integer
);
-- ListReports of one workflow, of all; each pages by period.
create index workflow_reports_workflow_id on reporting.workflow_reports (workflow_id, period_start, id);
create index workflow_reports_period_start on reporting.workflow_reports (period_start, id);
-- ListReports of one type, of all workflows or of one. Nearly all rows are executions, which the indexes
-- above find just as well: without them these two cost the hot path nothing.
create index workflow_reports_report_type on reporting.workflow_reports (report_type, period_start, id)
    where report_type <> 'execution';
create index workflow_reports_workflow_type on reporting.workflow_reports (workflow_id, report_type, period_start, id)
    where report_type <> 'execution';
-- The report of one execution, and the foreign key's action.
create index workflow_reports_execution_id on reporting.workflow_reports (execution_id) where execution_id is not null;

-- Sums of the executions that started on one UTC day: the only figures that are added up.
create table reporting.day_figures (
    workflow_id uuid not null,
    day date not null,
    -- execution (key: the client), step (key: the step), transition (key: the transition).
    kind varchar not null,
    key uuid not null,
    client_id uuid not null,
    -- Counts, sums in microseconds and sketch buckets, all integers: addition is exact in any order.
    figures jsonb not null,
    primary key (workflow_id, day, kind, key)
);
-- Summaries over a range of days.
create index day_figures_day on reporting.day_figures (day);

-- Days whose reports are older than their sums.
create table reporting.stale_days (
    workflow_id uuid not null,
    day date not null,
    stale_since timestamptz not null default now(),
    -- Another one with every addition: a report made from an older sum must not clear a younger mark.
    mark uuid not null,
    primary key (workflow_id, day)
);

-- Events that arrived before their predecessors; settled as soon as those arrive or history is read.
create table reporting.held_events (
    execution_id uuid not null,
    first_seq integer not null,
    payload bytea not null,
    held_at timestamptz not null default now(),
    primary key (execution_id, first_seq)
);
-- Gaps that have lasted long enough to be filled from history.
create index held_events_held_at on reporting.held_events (held_at);

-- Rows that could not be applied; kept for a look, and never in the way of others.
create table reporting.parked_rows (
    row_id uuid primary key,
    payload bytea not null,
    error text not null,
    parked_at timestamptz not null default now()
);

-- Everything committed before complete_through has been counted. One row.
create table reporting.watermark (
    id boolean primary key default true check (id),
    complete_through timestamptz not null
);
