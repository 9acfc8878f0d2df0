//! How a service listens: the one list of what every call passes through, and the one way to stop.
//! Nothing is served before the service says that it is ready, and nothing that began is cut off.

use std::time::Duration;

use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic_tracing_opentelemetry::middleware::server::OtelGrpcLayer;
use tonic_web::GrpcWebLayer;
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use crate::BoxFuture;
use crate::auth::{AccessTable, Verifier};
use crate::error::{Error, Result};
use crate::shutdown::Shutdown;

mod edge;
mod health;
mod table;
mod watched;

pub use edge::{CallerGone, Gate};
use edge::{EdgeLayer, Terms};
pub use health::Readiness;

/// Both ends of a connection learn within 20 s that the other vanished without a word.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Streams a client may have open on one connection; the rest wait on its side.
const STREAMS_PER_CONNECTION: u32 = 1000;
/// Callers that give up at once are usual here; h2's own limit of 20 would cost them the connection.
const RESETS_PER_CONNECTION: usize = 1000;

/// Everything that makes a service's port.
#[derive(Debug)]
pub struct Server {
    /// For logs.
    pub name: &'static str,
    pub listener: TcpListener,
    pub routes: Routes,
    /// Who may call what. Every method of every name in `serving` must be there.
    pub access: AccessTable,
    pub verifier: Verifier,
    /// Full names of the gRPC services in `routes`: `workflow.catalog.v1.AuthService`.
    pub serving: Vec<&'static str>,
    pub readiness: Readiness,
    pub shutdown: Shutdown,
    /// What is refused before anything else is looked at.
    pub gate: Gate,
    /// Paths of methods whose calls mostly wait for something: they have room of their own, and take none from
    /// those that work.
    pub patient: &'static [&'static str],
    pub limits: Limits,
}

/// What a service puts up with.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Calls at work at the same time; more are refused with RESOURCE_EXHAUSTED.
    pub in_flight: usize,
    /// The same for calls that mostly wait.
    pub waiting: usize,
    /// How long the end may take.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: 2048,
            waiting: 8192,
            grace: Duration::from_secs(10),
        }
    }
}

/// Serves until `soft`, then lets calls and streams end; after the grace period it does not wait for them.
pub fn serve(server: Server) -> BoxFuture<'static, Result<()>> {
    Box::pin(listen(server))
}

async fn listen(server: Server) -> Result<()> {
    let Server {
        name,
        listener,
        routes,
        access,
        verifier,
        serving,
        readiness,
        shutdown,
        gate,
        patient,
        limits,
    } = server;
    table::check(access, &serving)?;
    let streams = table::streams(&serving)?;
    let address = listener.local_addr().map_err(Error::internal)?;
    let (reporter, health) = tonic_health::server::health_reporter();
    health::begin(&reporter, &serving).await;
    let routes = routes
        .add_service(health.accept_compressed(Gzip))
        .add_service(
            reflection(&serving)
                .build_v1()
                .map_err(Error::internal)?
                .accept_compressed(Gzip),
        )
        .add_service(
            reflection(&serving)
                .build_v1alpha()
                .map_err(Error::internal)?
                .accept_compressed(Gzip),
        );
    shutdown.spawn_loop("standing", {
        let (standing, soft) = (verifier.standing().clone(), shutdown.soft.clone());
        let ready = readiness.clone();
        async move {
            // The catalog asks its own tables, which may have to be made first.
            soft.run_until_cancelled(ready.wait()).await;
            standing.keep_up(soft).await;
        }
    });
    let terms = Terms {
        access,
        streams,
        verifier,
        readiness: readiness.clone(),
        gate,
        patient,
        limits,
    };
    let edge = EdgeLayer::new(terms, &shutdown);
    let told_to_stop = health::report(reporter, serving, readiness, shutdown.soft.clone());

    tracing::info!(name, %address, "listening");
    let listening = tonic::transport::Server::builder()
        .accept_http1(true) // gRPC-Web comes over HTTP/1.1, too.
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_max_pending_accept_reset_streams(Some(RESETS_PER_CONNECTION))
        // What a call passes through, from the outside in.
        .layer(OtelGrpcLayer::default().filter(is_worth_a_span))
        .layer(cors())
        .layer(GrpcWebLayer::new())
        .layer(edge) // ready? let in? room? deadline, who (still)?, and a task of its own
        .add_routes(routes)
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            told_to_stop,
        );
    drain(listening, &shutdown, limits.grace).await?;
    tracing::info!(name, "stopped");
    Ok(())
}

/// Waits for connections and then for detached calls and loops, but no longer than the grace period.
async fn drain(
    listening: impl Future<Output = Result<(), tonic::transport::Error>>,
    shutdown: &Shutdown,
    grace: Duration,
) -> Result<()> {
    let ended = async {
        listening.await.map_err(Error::internal)?;
        shutdown.tasks.close();
        shutdown.tasks.wait().await;
        Ok(())
    };
    let waited_enough = async {
        shutdown.soft.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        ended = ended => ended,
        () = waited_enough => {
            tracing::warn!(left = shutdown.tasks.len(), "the grace period is over");
            shutdown.hard.cancel();
            Ok(())
        }
    }
}

fn is_worth_a_span(path: &str) -> bool {
    !table::is_public(path)
}

fn cors() -> CorsLayer {
    let exposed = ["grpc-status", "grpc-message", "grpc-status-details-bin"];
    CorsLayer::new()
        .allow_origin(Any) // A bearer token is sent by the page itself, never by the browser.
        .allow_methods(Any)
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(exposed.map(http::HeaderName::from_static))
        .max_age(Duration::from_secs(24 * 3600))
}

/// Lists what this port serves; knows the error details, too, so that tools can print them.
fn reflection(serving: &[&'static str]) -> tonic_reflection::server::Builder<'static> {
    let mut builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("grpc.health.v1.Health");
    for name in serving {
        builder = builder.with_service_name(*name);
    }
    builder
}
