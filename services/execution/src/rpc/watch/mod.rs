//! Streams of what changes. Invariant: what is sent is read from the tables when the reader has room for it, and a
//! reader that is gone, or a service that stops, ends it at once.

pub mod many;
pub mod one;

use std::time::Duration;

use chassis::{Error, Result};
use tokio::sync::mpsc;
use tonic::Status;

use crate::state::Service;

/// Messages that may wait for their reader.
const WAITING: usize = 8;
/// Looks follow each other no slower: the tables are the truth, and leases do not count as commits.
const POLL: Duration = Duration::from_secs(1);

/// Does what `follow` does until it ends, nobody reads any more or the service stops; says why if it has to.
async fn run<T>(
    service: Service,
    sender: mpsc::Sender<Result<T, Status>>,
    follow: impl Future<Output = Result<()>>,
) {
    let ended = tokio::select! {
        ended = follow => ended,
        () = sender.closed() => return,
        () = service.shutdown.soft.cancelled() => {
            Err(Error::unavailable("STOPPING", "the service is stopping; watch again"))
        }
    };
    if let Err(error) = ended {
        // A reader that is gone needs no reason.
        let _ = sender.send(Err(error.into())).await;
    }
}

/// Sends one message, as soon as there is room.
async fn send<T>(sender: &mpsc::Sender<Result<T, Status>>, message: T) -> Result<()> {
    let sent = sender.send(Ok(message)).await;
    sent.map_err(|_| Error::unavailable("READER_GONE", "nobody reads any more"))
}

/// Waits for the next commit or [`POLL`], and for `pause` in any case.
async fn wait(changes: &mut tokio::sync::watch::Receiver<u64>, pause: Duration) {
    let hint = async {
        tokio::time::sleep(pause).await;
        if changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    // A hint that comes too early is kept by the channel; one that is lost, the poll makes up for.
    let _ = tokio::time::timeout(POLL, hint).await;
}
