//! Logs, traces and metrics. Installed once by a `main`; flushed when the guard goes, however the
//! process ends.

use std::io::IsTerminal;

use opentelemetry::global;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{MetricExporter, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::error::{Error, Result};

/// How logs look unless the environment says otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Logs {
    json: bool,
    filter: &'static str,
}

impl Logs {
    /// A service's: for machines to collect; of libraries only what is wrong.
    pub const SERVICE: Logs = Logs {
        json: true,
        filter: "info,sqlx=warn,h2=warn,hyper=warn,tower=warn",
    };
    /// For somebody at a terminal: only what asks for attention.
    pub const TERMINAL: Logs = Logs {
        json: false,
        filter: "warn",
    };
}

/// What is exported: also the spans of calls, never those of exporting itself.
const EXPORT_FILTER: &str =
    "info,otel::tracing=trace,h2=off,hyper=off,tonic=off,tower=off,opentelemetry=off";

/// Exports what is still on its way when it is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the export"]
pub struct TelemetryGuard {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
}

/// Logs go to standard error, in the form that `logs` says or WFP_LOG_FORMAT (json, human), filtered by
/// RUST_LOG. Traces and metrics are exported if OTEL_EXPORTER_OTLP_ENDPOINT is set.
pub fn init(service_name: &'static str, logs: Logs) -> Result<TelemetryGuard> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(text).map_err(|e| {
            Error::precondition("LOG_FILTER_INVALID", format!("RUST_LOG is no filter: {e}"))
        })?,
        _ => EnvFilter::new(logs.filter),
    };
    let format = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let json = match std::env::var("WFP_LOG_FORMAT").as_deref() {
        Ok("json") => true,
        Ok("human") => false,
        Ok("") | Err(_) => logs.json,
        Ok(other) => {
            let message = format!("WFP_LOG_FORMAT is {other:?}; it may be json or human");
            return Err(Error::precondition("LOG_FORMAT_INVALID", message));
        }
    };
    let logs: Box<dyn Layer<Registry> + Send + Sync> = if json {
        format.json().with_filter(filter).boxed()
    } else {
        format.with_filter(filter).boxed()
    };
    let guard = exporters(service_name)?;
    let spans = guard.traces.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(service_name))
            .with_filter(EnvFilter::new(EXPORT_FILTER))
    });
    tracing_subscriber::registry()
        .with(logs)
        .with(spans)
        .try_init()
        .map_err(Error::internal)?;
    log_panics();
    Ok(guard)
}

fn exporters(service_name: &'static str) -> Result<TelemetryGuard> {
    // A trace goes on through us whether or not we export our part of it.
    global::set_text_map_propagator(TraceContextPropagator::new());
    if std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_none_or(|endpoint| endpoint.is_empty()) {
        return Ok(TelemetryGuard {
            traces: None,
            metrics: None,
        });
    }
    let resource = Resource::builder().with_service_name(service_name).build();
    let spans = SpanExporter::builder()
        .with_tonic()
        .build()
        .map_err(Error::internal)?;
    let traces = SdkTracerProvider::builder()
        .with_batch_exporter(spans)
        .with_resource(resource.clone())
        .build();
    let figures = MetricExporter::builder()
        .with_tonic()
        .build()
        .map_err(Error::internal)?;
    let metrics = SdkMeterProvider::builder()
        .with_periodic_exporter(figures)
        .with_resource(resource)
        .build();
    global::set_tracer_provider(traces.clone());
    global::set_meter_provider(metrics.clone());
    Ok(TelemetryGuard {
        traces: Some(traces),
        metrics: Some(metrics),
    })
}

/// A panic belongs into the logs like every other fault, not only onto the terminal.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        tracing::error!(panic = panic.payload_as_str(), at, "panicked");
    }));
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        if let Some(traces) = self.traces.take() {
            let _ = traces.shutdown();
        }
        if let Some(metrics) = self.metrics.take() {
            let _ = metrics.shutdown();
        }
    }
}
