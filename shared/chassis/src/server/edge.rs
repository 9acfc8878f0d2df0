//! The gate between the wire and the handlers. A handler runs in a task of its own: a caller that
//! vanishes, or whose deadline passes, takes nothing away from database work that has begun. A handler
//! that only waits can ask whether it still waits for somebody. Who calls is asked again and again as long
//! as a call or a stream lasts.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use chrono::Utc;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::service::Routes;
use tower::{Layer, Service};
use tracing::Instrument;

use super::watched::Watched;
use super::{Limits, Readiness, table};
use crate::auth::{Access, AccessTable, Verifier};
use crate::deadline;
use crate::error::{Error, Result};
use crate::shutdown::Shutdown;

#[derive(Clone)]
pub(super) struct EdgeLayer(Arc<Rules>);

struct Rules {
    access: HashMap<&'static str, Access>,
    /// Paths of the methods that answer with a stream.
    streams: HashSet<String>,
    verifier: Verifier,
    readiness: Readiness,
    gate: Gate,
    room: Arc<Semaphore>,
    /// Paths of the methods that mostly wait, and the room for those.
    patient: HashSet<&'static str>,
    waiting_room: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// Ends when a caller may not go on, and says why.
pub(super) type Refusal = BoxFuture<'static, Error>;

/// Tells a handler that nobody waits for its answer any more: the caller has left, or its deadline has
/// passed.
#[derive(Debug, Clone, Default)]
pub struct CallerGone(pub CancellationToken);

tokio::task_local! {
    static CALLER: CallerGone;
}

impl CallerGone {
    /// Of the call whose handler this is; of what nobody called for, or of a task that a handler left behind, the
    /// caller never goes.
    pub fn current() -> Self {
        CALLER.try_with(Clone::clone).unwrap_or_default()
    }

    /// Does what the call's handler does.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        CALLER.scope(self.clone(), work).await
    }

    /// Of a call that came by no port, the caller never goes.
    pub fn from<T>(request: &tonic::Request<T>) -> Self {
        request.extensions().get().cloned().unwrap_or_default()
    }
}

/// Refuses calls, by their paths, before anything else is done for them: what a service cannot work on costs it
/// next to nothing. Open to all unless the service says otherwise.
#[derive(Clone, Default)]
pub struct Gate(Option<Arc<Judge>>);

type Judge = dyn Fn(&str) -> Result<()> + Send + Sync;

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl Gate {
    pub fn new(judge: impl Fn(&str) -> Result<()> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(judge)))
    }

    fn check(&self, path: &str) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |judge| judge(path))
    }
}

/// What the gate between wire and handlers knows of its service.
pub(super) struct Terms {
    pub access: AccessTable,
    pub streams: HashSet<String>,
    pub verifier: Verifier,
    pub readiness: Readiness,
    pub gate: Gate,
    pub patient: &'static [&'static str],
    pub limits: Limits,
}

impl EdgeLayer {
    pub(super) fn new(terms: Terms, shutdown: &Shutdown) -> Self {
        Self(Arc::new(Rules {
            access: terms.access.iter().copied().collect(),
            streams: terms.streams,
            verifier: terms.verifier,
            readiness: terms.readiness,
            gate: terms.gate,
            room: Arc::new(Semaphore::new(terms.limits.in_flight)),
            patient: terms.patient.iter().copied().collect(),
            waiting_room: Arc::new(Semaphore::new(terms.limits.waiting)),
            tasks: shutdown.tasks.clone(),
        }))
    }
}

impl Layer<Routes> for EdgeLayer {
    type Service = Edge;

    fn layer(&self, routes: Routes) -> Edge {
        Edge {
            rules: Arc::clone(&self.0),
            routes,
        }
    }
}

#[derive(Clone)]
pub(super) struct Edge {
    rules: Arc<Rules>,
    routes: Routes,
}

impl Service<Request<Body>> for Edge {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Routes are always ready; what there is no room for is refused, not queued.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let rules = Arc::clone(&self.rules);
        let mut routes = self.routes.clone();
        Box::pin(async move {
            if table::is_public(request.uri().path()) {
                return routes.call(request).await;
            }
            let limit = deadline::of(request.headers());
            let answer = deadline::within(limit, rules.answer(routes, request)).await;
            Ok(answer.unwrap_or_else(Error::into_http))
        })
    }
}

impl Rules {
    async fn answer(&self, routes: Routes, mut request: Request<Body>) -> Result<Response<Body>> {
        let path = request.uri().path();
        let access = *self
            .access
            .get(path)
            .ok_or_else(|| Error::unimplemented(path))?;
        if !self.readiness.is_ready() {
            return Err(Error::unavailable(
                "NOT_READY",
                "the service is not ready yet",
            ));
        }
        self.gate.check(path)?;
        let room = match self.patient.contains(path) {
            true => &self.waiting_room,
            false => &self.room,
        };
        let place = Arc::clone(room)
            .try_acquire_owned()
            .map_err(|_| overload())?;
        let streams = self.streams.contains(path);
        let mut refusal: Refusal = std::future::pending().boxed();
        if access != Access::Open {
            let caller = self.verifier.caller(request.headers(), Utc::now()).await?;
            access.check(&caller)?;
            refusal = self.verifier.refusal(caller.clone(), access).boxed();
            request.extensions_mut().insert(caller);
        }
        self.detach(routes, request, (place, refusal, streams))
            .await
    }

    /// The place is kept until the work is done, whether or not anybody still waits for it.
    async fn detach(
        &self,
        mut routes: Routes,
        mut request: Request<Body>,
        (place, mut refusal, streams): (OwnedSemaphorePermit, Refusal, bool),
    ) -> Result<Response<Body>> {
        let gone = CancellationToken::new();
        let caller = CallerGone(gone.clone());
        request.extensions_mut().insert(caller.clone());
        // Dropped with this future, or with the stream that it returns: both are the caller's.
        let gone = gone.drop_guard();
        let work = async move {
            let _place = place;
            let Ok(response) = routes.call(request).await;
            response
        };
        let work = async move { caller.during(work).await };
        let handler = self.tasks.spawn(work.in_current_span());
        let response = tokio::select! {
            biased;
            done = handler => {
                done.map_err(|crash| Error::internal(format_args!("a handler died: {crash}")))?
            }
            error = &mut refusal => return Err(error),
        };
        if is_undecodable(&response) {
            let limit = "is malformed, or nested deeper than the 32 levels that are allowed";
            return Err(Error::invalid("request", limit));
        }
        if !streams {
            return Ok(response);
        }
        Ok(response.map(|body| Body::new(Watched::new(body, refusal, gone))))
    }
}

/// Whether the request's bytes were no message. tonic answers INTERNAL then, but the caller is at fault.
fn is_undecodable(response: &Response<Body>) -> bool {
    let says = |name: &str, expected: &[u8]| {
        let header = response.headers().get(name);
        header.is_some_and(|value| value.as_bytes().starts_with(expected))
    };
    says("grpc-status", b"13") && says("grpc-message", b"failed%20to%20decode%20Protobuf")
}

fn overload() -> Error {
    let message = "the service has more calls than it can work on";
    Error::exhausted("OVERLOADED", message, Duration::from_secs(1))
}
