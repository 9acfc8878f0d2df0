//! Repeats a call from many callers at once, and the same number of echoes of the same size right after it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::drive::{Measured, histogram};
use super::echo::{self, Echo};

/// How often, and by how many at once.
#[derive(Clone, Copy)]
pub struct Load {
    pub calls: usize,
    pub callers: usize,
}

/// Bytes of a request and of its answer.
pub type Sizes = (usize, usize);

/// A call of the platform beside the echo.
pub struct Beside {
    pub call: Measured,
    pub echo: Measured,
    pub sizes: Sizes,
}

impl Beside {
    /// A row of the table.
    pub fn line(&self, what: &str, callers: usize) -> String {
        format!(
            "{what:<52}{callers:>7} {:>9.0}/s  p50 {:>8.2} ms  p99 {:>8.2} ms   {:>7.1} x echo ({:.2} ms, {} B in, {} B out)",
            self.call.rate(),
            self.call.p50_ms(),
            self.call.p99_ms(),
            self.call.p50_ms() / self.echo.p50_ms(),
            self.echo.p50_ms(),
            self.sizes.0,
            self.sizes.1,
        )
    }
}

/// `call` is told which caller it is and the number of the call, and returns its sizes.
pub async fn beside_echo<F, Fut>(echo: &Echo, load: Load, call: F) -> anyhow::Result<Beside>
where
    F: Fn(usize, usize) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = anyhow::Result<Sizes>> + Send + 'static,
{
    let sizes = call(0, 0).await?;
    let measured = repeat(load, move |caller, n| {
        let called = call(caller, n + 1);
        async move { called.await.map(drop) }
    })
    .await?;
    let channels = echo.channels.clone();
    let floor = repeat(load, move |caller, _| {
        echo::call(channels[caller % channels.len()].clone(), sizes)
    })
    .await?;
    Ok(Beside {
        call: measured,
        echo: floor,
        sizes,
    })
}

async fn repeat<F, Fut>(load: Load, call: F) -> anyhow::Result<Measured>
where
    F: Fn(usize, usize) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers: JoinSet<anyhow::Result<Histogram<u64>>> = JoinSet::new();
    let begun = Instant::now();
    for caller in 0..load.callers {
        let (next, call) = (next.clone(), call.clone());
        callers.spawn(async move {
            let mut latency = histogram();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= load.calls {
                    return Ok(latency);
                }
                let called = Instant::now();
                call(caller, n).await?;
                latency.record(called.elapsed().as_micros() as u64)?;
            }
        });
    }
    let mut latency = histogram();
    while let Some(ended) = callers.join_next().await {
        latency.add(ended??)?;
    }
    Ok(Measured {
        count: load.calls,
        elapsed: begun.elapsed(),
        latency,
    })
}
