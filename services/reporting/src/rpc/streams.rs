//! Answers that are streams. Invariant: what is sent is read when its reader has room for it; a reader that is gone, or a
//! service that stops, ends a stream at once and makes its room free.

use std::sync::Arc;
use std::time::Duration;

use chassis::{Error, Result, Shutdown};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Messages that may wait for their reader.
const WAITING: usize = 4;
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// What a call answers with.
pub type Sent<T> = ReceiverStream<Result<T, Status>>;

/// Room for the streams of one kind at this replica.
#[derive(Debug)]
pub struct Room {
    places: Arc<Semaphore>,
    most: usize,
    /// Why there is none.
    reason: &'static str,
}

impl Room {
    pub fn new(most: usize, reason: &'static str) -> Self {
        Self {
            places: Arc::new(Semaphore::new(most)),
            most,
            reason,
        }
    }

    pub fn enter(&self) -> Result<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().map_err(|_| {
            let message = format!(
                "{} streams of this kind are open at this replica; one that ends makes room",
                self.most
            );
            Error::exhausted(self.reason, message, RETRY_AFTER)
        })
    }
}

/// Where messages go.
#[derive(Debug)]
pub struct Reader<T>(mpsc::Sender<Result<T, Status>>);

impl<T> Reader<T> {
    /// As soon as there is room.
    pub async fn send(&self, message: T) -> Result<()> {
        let sent = self.0.send(Ok(message)).await;
        sent.map_err(|_| Error::unavailable("READER_GONE", "nobody reads any more"))
    }
}

/// Sends what `work` has to tell until it ends, nobody reads any more or the service stops; says why if it has to.
pub fn open<T, F>(
    shutdown: &Shutdown,
    place: OwnedSemaphorePermit,
    work: impl FnOnce(Reader<T>) -> F,
) -> Sent<T>
where
    T: Send + 'static,
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(WAITING);
    let work = work(Reader(sender.clone()));
    let soft = shutdown.soft.clone();
    shutdown.tasks.spawn(async move {
        let ended = tokio::select! {
            ended = work => ended,
            () = sender.closed() => Ok(()),
            () = soft.cancelled() => {
                Err(Error::unavailable("STOPPING", "the service is stopping; ask again"))
            }
        };
        drop(place);
        if let Err(error) = ended {
            // A reader that is gone needs no reason.
            let _ = sender.send(Err(error.into())).await;
        }
    });
    ReceiverStream::new(receiver)
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;

    async fn endless(reader: Reader<u32>) -> Result<()> {
        loop {
            reader.send(1).await?;
        }
    }

    #[tokio::test]
    async fn a_reader_that_leaves_makes_room() {
        let (shutdown, room) = (Shutdown::new(), Room::new(1, "TOO_MANY"));
        let mut first = open(&shutdown, room.enter().unwrap(), endless);
        assert!(first.next().await.unwrap().is_ok());
        let refused = room.enter().unwrap_err();
        assert_eq!(refused.reason(), "TOO_MANY");
        drop(first);
        let again = room.places.acquire();
        let again = tokio::time::timeout(Duration::from_secs(20), again).await;
        assert!(again.is_ok());
    }

    #[tokio::test]
    async fn a_service_that_stops_says_so_at_the_end() {
        let (shutdown, room) = (Shutdown::new(), Room::new(1, "TOO_MANY"));
        let silent = |reader: Reader<u32>| async move {
            let _kept = reader;
            std::future::pending().await
        };
        let mut stream = open(&shutdown, room.enter().unwrap(), silent);
        shutdown.soft.cancel();
        let last = stream.next().await.unwrap().unwrap_err();
        assert_eq!(last.code(), tonic::Code::Unavailable);
        assert!(stream.next().await.is_none());
    }
}
