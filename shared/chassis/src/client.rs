//! Calls to the platform's other services. Each carries the trace, the caller's own identity and a time
//! limit: a peer that is silent is as good as one that is away.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tonic_tracing_opentelemetry::middleware::client::{OtelGrpcLayer, OtelGrpcService};
use tower::{Layer, Service};

use crate::auth::ServiceKey;
use crate::error::{Error, Result};
use crate::{clock, deadline};

/// For calls that set no deadline themselves: how long until the answer, or the stream, begins.
const PATIENCE: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A peer that vanished without a word is noticed after interval + timeout.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// A token is replaced when less than this is left of it.
const FRESH: TimeDelta = TimeDelta::minutes(1);

/// Another service; generated clients are made from it: `WorkflowServiceClient::new(peer)`.
#[derive(Debug, Clone)]
pub struct Peer {
    channel: OtelGrpcService<Channel>,
    identity: Arc<Identity>,
}

#[derive(Debug)]
struct Identity {
    key: ServiceKey,
    own_name: &'static str,
    token: Mutex<Option<(HeaderValue, DateTime<Utc>)>>,
}

impl Peer {
    /// `address` is `host:port` or an http:// URL. Connects with the first call, and again when the
    /// connection was lost.
    pub fn connect_lazy(address: &str, key: ServiceKey, own_name: &'static str) -> Result<Self> {
        let url = if address.contains("://") {
            address.to_owned()
        } else {
            format!("http://{address}")
        };
        let endpoint = Endpoint::from_shared(url).map_err(|_| {
            Error::precondition(
                "ADDRESS_INVALID",
                format!("{address} is not host:port or a URL"),
            )
        })?;
        let channel = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_lazy();
        let identity = Arc::new(Identity {
            key,
            own_name,
            token: Mutex::default(),
        });
        Ok(Self {
            channel: OtelGrpcLayer.layer(channel),
            identity,
        })
    }
}

impl Identity {
    fn authorization(&self, now: DateTime<Utc>) -> Result<HeaderValue> {
        let mut kept = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((value, expires)) = &*kept
            && *expires - now > FRESH
        {
            return Ok(value.clone());
        }
        let (token, expires) = self.key.token(self.own_name, now)?;
        let value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(Error::internal)?;
        *kept = Some((value.clone(), expires));
        Ok(value)
    }
}

impl Service<Request<Body>> for Peer {
    type Response = Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let limit = deadline::of(request.headers()).unwrap_or(PATIENCE);
        let authorization = self.identity.authorization(clock::now());
        let authorization = match authorization {
            Ok(value) => value,
            Err(error) => return Box::pin(async { Ok(error.into_http()) }),
        };
        request.headers_mut().insert(AUTHORIZATION, authorization);
        let answer = self.channel.call(request);
        Box::pin(async move {
            match deadline::within(Some(limit), async { Ok(answer.await) }).await {
                Ok(answer) => answer,
                Err(late) => Ok(late.into_http()),
            }
        })
    }
}
