//! How much one answer holds. Invariant: no answer is larger than what common clients accept, unless a
//! single item is.

use std::pin::pin;

use chassis::{Error, Result};
use prost::Message;
use proto::execution::v1 as pb;
use tokio_stream::{Stream, StreamExt};

/// Counts what goes into an answer.
#[derive(Debug, Default)]
pub struct Room {
    used: usize,
}

impl Room {
    /// Clients refuse messages of more than 4 MiB unless told otherwise.
    pub const BYTES: usize = 7 * 512 * 1024;
    /// Each item's tag and length.
    const FRAME: usize = 6;

    /// Whether one more item fits; the first one always does.
    pub fn fits(&mut self, item: &impl Message) -> bool {
        self.has(item.encoded_len())
    }

    /// The same for an item of which only the size is known.
    pub fn has(&mut self, bytes: usize) -> bool {
        let with_item = self.used + bytes + Self::FRAME;
        if self.used > 0 && with_item > Self::BYTES {
            return false;
        }
        self.used = with_item;
        true
    }
}

/// A page: its items, and the key of the last one if more follow.
#[derive(Debug)]
pub struct Filled<M, K> {
    pub items: Vec<M>,
    pub last: Option<K>,
}

/// Shows rows, read with one more than `limit`, until the page or the answer is full.
pub async fn fill<R, M: Message, K>(
    rows: impl Stream<Item = sqlx::Result<R>>,
    limit: i64,
    show: impl Fn(R) -> (K, M),
) -> Result<Filled<M, K>> {
    let mut room = Room::default();
    let mut items = Vec::new();
    let mut last = None;
    let mut rows = pin!(rows);
    while let Some(row) = rows.try_next().await? {
        let (key, item) = show(row);
        if items.len() as i64 == limit || !room.fits(&item) {
            return Ok(Filled { items, last });
        }
        items.push(item);
        last = Some(key);
    }
    Ok(Filled { items, last: None })
}

/// The error of one of many things that a call asked for.
pub fn call_error(error: &Error) -> pb::CallError {
    pb::CallError {
        code: error.code() as i32,
        reason: error.reason().to_owned(),
        message: error.message().to_owned(),
        fields: error
            .fields()
            .iter()
            .map(|violation| pb::FieldError {
                field: violation.field.clone(),
                description: violation.description.clone(),
            })
            .collect(),
    }
}
