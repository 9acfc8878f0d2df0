//! Takes events in: streams hand rows to one writer, which applies whatever has gathered as one batch.
//! Invariant: a row is acknowledged after each of its parts was counted, held or parked, and not before.

mod apply;
mod intake;
mod writer;

pub use apply::apply;
pub use intake::{Intake, Row};
pub use writer::{Writer, settle};

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, watch};

/// The queue's two ends, and where the writer tells up to when its senders are done.
pub fn queue() -> (Intake, Writer, watch::Receiver<Option<DateTime<Utc>>>) {
    let (items, queued) = mpsc::channel(intake::MOST_ITEMS);
    let (complete, completed) = watch::channel(None);
    (Intake::new(items), Writer::new(queued, complete), completed)
}
