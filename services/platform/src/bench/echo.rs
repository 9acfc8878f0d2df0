//! The floor of every call: a bare tonic service that reads a message and answers with one as long as it is
//! asked for. No layers, no token, no database.

use std::convert::Infallible;
use std::future::Ready;
use std::task::{Context, Poll};

use http::uri::PathAndQuery;
use prost::Message;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

const PATH: &str = "/bench.Echo/Echo";
/// Of a message: as the platform's own limit.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// A message of one field of bytes. The first eight of a request tell how long the answer is to be.
type Bytes = Vec<u8>;

/// Serves until it is dropped.
pub struct Echo {
    pub channels: Vec<Channel>,
    serving: JoinHandle<()>,
}

impl Echo {
    pub async fn start(channels: usize) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = Server::builder().add_service(Answering);
        let serving = tokio::spawn(async move {
            // It is aborted, or the calls fail and say so.
            let _ = server.serve_with_incoming(incoming).await;
        });
        let channel = || -> anyhow::Result<Channel> {
            Ok(Endpoint::from_shared(format!("http://{address}"))?.connect_lazy())
        };
        let channels = (0..channels).map(|_| channel()).collect::<Result<_, _>>()?;
        Ok(Self { channels, serving })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// One call with messages of these sizes.
pub async fn call(channel: Channel, (asked, answered): (usize, usize)) -> anyhow::Result<()> {
    let mut body: Bytes = (answered as u64).to_le_bytes().to_vec();
    body.resize(asked.max(body.len()), b'x');
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(MOST_BYTES);
    client.ready().await?;
    let path = PathAndQuery::from_static(PATH);
    let codec = ProstCodec::<Bytes, Bytes>::default();
    let answer = client.unary(Request::new(body), path, codec).await?;
    anyhow::ensure!(answer.get_ref().encoded_len() >= answered, "a short answer");
    Ok(())
}

#[derive(Clone)]
struct Answering;

impl NamedService for Answering {
    const NAME: &'static str = "bench.Echo";
}

impl UnaryService<Bytes> for Answering {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let length = request.get_ref().first_chunk().copied();
        let length = usize::try_from(u64::from_le_bytes(length.unwrap_or_default()));
        let answer = length
            .ok()
            .filter(|length| *length <= MOST_BYTES)
            .map(|length| Response::new(vec![b'x'; length]))
            .ok_or_else(|| Status::invalid_argument("too long"));
        std::future::ready(answer)
    }
}

impl Service<http::Request<Body>> for Answering {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let codec = ProstCodec::<Bytes, Bytes>::default();
            let mut server = tonic::server::Grpc::new(codec).max_decoding_message_size(MOST_BYTES);
            Ok(server.unary(Answering, request).await)
        })
    }
}
