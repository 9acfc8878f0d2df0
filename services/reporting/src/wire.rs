//! Events as bytes: how they are held and parked, namely as the row that would bring them again.
//! Invariant: what is held decodes to what was received.

use std::sync::Arc;

use model::event::ExecutionEvents;
use model::wire::{events_from_proto, events_to_proto};
use prost::Message;
use proto::execution::v1 as execution;
use proto::reporting::v1::StreamStepEventsRequest;
use uuid::Uuid;

/// The events of one execution within a row.
#[derive(Debug)]
pub enum Part {
    Read(Arc<ExecutionEvents>),
    /// What came instead, and what is wrong with it.
    Unread {
        bytes: Vec<u8>,
        error: String,
    },
}

pub fn encode(events: &ExecutionEvents) -> Vec<u8> {
    row_of(events_to_proto(events))
}

/// Nothing, if what is held was damaged: it is then not in the way of others, and is parked in time.
pub fn decode(bytes: &[u8]) -> Option<ExecutionEvents> {
    StreamStepEventsRequest::decode(bytes)
        .map_err(|error| error.to_string())
        .and_then(|row| {
            row.executions
                .first()
                .map_or(Err("empty".to_owned()), events_from_proto)
        })
        .inspect_err(|error| tracing::error!(error, "held step events do not decode"))
        .ok()
}

/// What came, as a part of a row: unreadable events keep their bytes.
pub fn part(execution: execution::ExecutionEvents) -> Part {
    match events_from_proto(&execution) {
        Ok(events) => Part::Read(Arc::new(events)),
        Err(error) => Part::Unread {
            bytes: row_of(execution),
            error,
        },
    }
}

/// One row of several. Messages that follow each other are merged when they are read, lists joined.
pub fn merge(row_id: Uuid, mut parts: Vec<Vec<u8>>) -> Vec<u8> {
    let row_id = row_id.to_string();
    parts.push(
        StreamStepEventsRequest {
            row_id,
            ..Default::default()
        }
        .encode_to_vec(),
    );
    parts.concat()
}

fn row_of(execution: execution::ExecutionEvents) -> Vec<u8> {
    let executions = vec![execution];
    StreamStepEventsRequest {
        executions,
        ..Default::default()
    }
    .encode_to_vec()
}
