//! A stream whose reader is looked at as long as it lasts. Invariant: once its caller's access has ended,
//! nothing more is sent but why.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio_util::sync::DropGuard;
use tonic::Status;
use tonic::body::Body;

use super::edge::Refusal;

pub(super) struct Watched {
    body: Body,
    refusal: Refusal,
    /// Tells the handler when nobody reads any more.
    gone: Option<DropGuard>,
}

impl Watched {
    pub(super) fn new(body: Body, refusal: Refusal, gone: DropGuard) -> Self {
        Self {
            body,
            refusal,
            gone: Some(gone),
        }
    }
}

impl HttpBody for Watched {
    type Data = <Body as HttpBody>::Data;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let this = self.get_mut();
        // Refused before: there is nothing left to say.
        if this.gone.is_none() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(error) = this.refusal.poll_unpin(cx) {
            this.gone = None;
            this.body = Body::empty();
            return Poll::Ready(Some(Ok(Frame::trailers(error.into_trailers()))));
        }
        Pin::new(&mut this.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.gone.is_none() || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use tokio::sync::oneshot;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::error::Error;

    /// Something to send at any time, and no end.
    struct Endless;

    impl HttpBody for Endless {
        type Data = <Body as HttpBody>::Data;
        type Error = Status;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
            Poll::Ready(Some(Ok(Frame::data(Self::Data::from_static(b"more")))))
        }
    }

    struct Nobody;

    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn stream_ends_with_the_reason_even_if_there_is_always_more_to_send() {
        let (tell, told) = oneshot::channel::<Error>();
        let (gone, waker) = (CancellationToken::new(), Arc::new(Nobody).into());
        let refusal = async { told.await.expect("told") }.boxed();
        let mut stream = Watched::new(Body::new(Endless), refusal, gone.clone().drop_guard());
        let mut next = || match Pin::new(&mut stream).poll_frame(&mut Context::from_waker(&waker)) {
            Poll::Ready(frame) => frame.map(|frame| frame.expect("no error")),
            Poll::Pending => panic!("nothing to wait for"),
        };
        assert!(next().expect("a frame").is_data());
        assert!(!gone.is_cancelled());

        tell.send(Error::unauthenticated("TOKEN_REVOKED", "it is over"))
            .expect("somebody listens");
        let last = next().expect("why it ends");
        let trailers = last.into_trailers().expect("trailers");
        assert_eq!(trailers["grpc-status"], "16");
        assert_eq!(trailers["grpc-message"], "it%20is%20over");
        assert!(trailers.contains_key("grpc-status-details-bin"));
        assert!(!trailers.contains_key("content-type"));
        assert!(gone.is_cancelled(), "the handler learns of it");
        assert!(next().is_none());
    }
}
