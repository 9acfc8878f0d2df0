//! What the scenarios play on: a PostgreSQL of our own, the services as processes, proxies between them.
//! Invariant: whatever a scenario broke, dropping its stage leaves no process behind.

mod cluster;
mod process;
mod proxy;
mod sessions;
mod setting;

pub use cluster::Cluster;
pub use process::Process;
pub use proxy::Proxy;
pub use sessions::Sessions;
pub use setting::{Props, Stage};

use std::time::{Duration, Instant};

/// Asks again and again until it is so.
pub async fn until(
    what: &str,
    patience: Duration,
    mut holds: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let last = match holds().await {
            Ok(true) => return Ok(()),
            Ok(false) => String::new(),
            Err(error) => format!(": {error:#}"),
        };
        anyhow::ensure!(
            Instant::now() < deadline,
            "not within {patience:?}: {what}{last}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
