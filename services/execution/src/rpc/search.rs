//! How executions are searched: the filter of ListExecutions, which bulk operations share. Invariant: what
//! cannot be searched is refused, so nothing is ever done to more executions than the filter names.

use chassis::filter::{Filter, Kind};
use chassis::{Error, Result};
use model::status::ExecutionStatus;

use super::view;
use crate::store::executions::{self, Range, Waiting};

/// Executions that a restriction leaves and that are few enough to be looked up one by one.
pub const MOST_RARE: i64 = 10_000;

const FILTER: &[(&str, Kind)] = &[
    ("workflow_id", Kind::Uuid),
    ("client_id", Kind::Uuid),
    ("status", Kind::Words(ExecutionStatus::WORDS)),
    ("parent_execution_id", Kind::Uuid),
    ("started_at", Kind::Instant),
    ("completed_at", Kind::Instant),
    ("updated_at", Kind::Instant),
    ("simulation", Kind::Bool),
    ("error_code", Kind::Text),
    ("waiting_step_id", Kind::Uuid),
    ("business_key", Kind::Text),
    ("restarted_from_id", Kind::Uuid),
    ("schedule_id", Kind::Uuid),
    ("wait_kind", Kind::Word(view::WAIT_KINDS)),
    ("metadata.*", Kind::Json),
];

pub fn parse(text: &str) -> Result<executions::Filter> {
    let filter = Filter::parse(text, FILTER)?;
    let metadata = filter.nested("metadata");
    if metadata
        .as_ref()
        .is_some_and(|object| object.get("inputData").is_some())
    {
        let description = "metadata.inputData is not searchable; other keys of the metadata are";
        return Err(Error::invalid("filter", description));
    }
    let range = |field| Range {
        from: filter.at_least(field),
        before: filter.before(field),
    };
    Ok(executions::Filter {
        workflow_id: filter.uuid("workflow_id"),
        client_id: filter.uuid("client_id"),
        statuses: filter.words("status"),
        started: range("started_at"),
        completed: range("completed_at"),
        updated: range("updated_at"),
        simulation: filter.bool("simulation"),
        error_code: filter.text("error_code").map(str::to_owned),
        waiting: Waiting {
            step_id: filter.uuid("waiting_step_id"),
            kind: filter.text("wait_kind").map(str::to_ascii_lowercase),
        },
        business_key: filter.text("business_key").map(str::to_owned),
        restarted_from_id: filter.uuid("restarted_from_id"),
        schedule_id: filter.uuid("schedule_id"),
        metadata,
        parent_execution_id: filter.uuid("parent_execution_id"),
        ids: None,
        is_open: false,
    })
}
