//! Rows of the outbox while they are being filled. Invariant: no row is larger than reporting receives, and the events
//! of an execution stand in their order, in one row or in several.

use model::event::ExecutionEvents;
use model::wire;
use prost::Message;
use proto::reporting::v1::StreamStepEventsRequest;
use uuid::Uuid;

use super::OutboxRow;
use crate::history;

/// Bytes after which a row is full; a commit with more events writes several.
const FULL: usize = 1024 * 1024;
/// Events of one execution that go into a row together: with error codes and groups of the greatest length below 1 MiB.
const EVENTS: usize = 800;

/// The rows of one transaction.
#[derive(Default)]
pub struct Filling {
    rows: Vec<OutboxRow>,
    payload: StreamStepEventsRequest,
    bytes: usize,
}

impl Filling {
    pub fn add(&mut self, told: ExecutionEvents) {
        for part in history::parts(told, EVENTS) {
            let told = wire::events_to_proto(&part);
            self.bytes += told.encoded_len();
            self.payload.executions.push(told);
            if self.bytes >= FULL {
                self.seal();
            }
        }
    }

    pub fn finish(mut self) -> Vec<OutboxRow> {
        self.seal();
        self.rows
    }

    /// Closes the row that is being filled.
    fn seal(&mut self) {
        if self.payload.executions.is_empty() {
            return;
        }
        let payload = std::mem::take(&mut self.payload).encode_to_vec();
        self.bytes = 0;
        self.rows.push(OutboxRow {
            id: Uuid::now_v7(),
            payload: payload.into(),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::{DateTime, TimeDelta};
    use model::event::{Cause, Event, StepFinished};
    use model::status::StepStatus;

    use super::*;

    #[test]
    fn long_history_fills_rows_that_can_be_sent() {
        let step = StepFinished {
            step_id: Uuid::from_u128(1),
            status: StepStatus::Failed,
            activation: 1_000_000,
            attempt: 1_000_000,
            queued_at: DateTime::UNIX_EPOCH + TimeDelta::days(9000),
            available_at: DateTime::UNIX_EPOCH + TimeDelta::days(9000),
            assigned_at: Some(DateTime::UNIX_EPOCH + TimeDelta::days(9000)),
            completed_at: DateTime::UNIX_EPOCH + TimeDelta::days(9000),
            error_code: Some("é".repeat(100)),
            taken_transition_ids: vec![Uuid::from_u128(2)],
            took_default: true,
            locked: true,
            will_retry: true,
            cause: Cause::Person,
            group: Some("é".repeat(200)),
            target: Some(Duration::from_hours(24 * 3650)),
            taken_over: true,
        };
        let mut filling = Filling::default();
        let told = ExecutionEvents {
            execution_id: Uuid::from_u128(3),
            workflow_id: Uuid::from_u128(4),
            client_id: Uuid::from_u128(5),
            workflow_version: 1,
            started_at: DateTime::UNIX_EPOCH,
            first_seq: 1,
            events: vec![Event::StepFinished(step); 10_002],
        };
        filling.add(told.clone());
        filling.add(ExecutionEvents {
            events: vec![Event::Started],
            ..told
        });
        let rows = filling.finish();
        let mut seqs = Vec::new();
        for row in &rows {
            assert!(row.payload.len() < 2 * FULL, "{}", row.payload.len());
            let payload = StreamStepEventsRequest::decode(row.payload.clone()).unwrap();
            let of_row = payload.executions.iter();
            seqs.extend(of_row.map(|it| (it.first_seq, it.events.len())));
        }
        let full = (0..12).map(|part| (1 + 800 * part, EVENTS));
        let want: Vec<_> = full.chain([(9601, 402), (1, 1)]).collect();
        assert_eq!(seqs, want);
    }
}
