//! Asks a service whether it serves, with the standard health protocol.
//!
//! Invariant: only SERVING counts as healthy.

use std::time::Duration;

use anyhow::{Context, bail};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Longer than a healthy answer takes on a busy machine, shorter than the interval of any prober.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(25);

/// For container engines and scripts: fails unless the service at `address` says that it serves.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of the service, e.g. 127.0.0.1:50051.
    address: String,
}

pub async fn run(args: &Args) -> anyhow::Result<()> {
    check(&args.address)
        .await
        .with_context(|| format!("{} is not healthy", args.address))
}

async fn check(address: &str) -> anyhow::Result<()> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    let channel = endpoint
        .connect_timeout(PATIENCE)
        .timeout(PATIENCE)
        .connect_lazy();
    // The empty name asks for the whole server.
    let request = HealthCheckRequest {
        service: String::new(),
    };
    let answer = HealthClient::new(channel)
        .check(request)
        .await?
        .into_inner();
    if answer.status() != ServingStatus::Serving {
        bail!("it says {}", answer.status().as_str_name());
    }
    Ok(())
}

/// Returns when the service serves; it is for the caller to stop waiting.
pub async fn until_serving(address: &str) {
    while check(address).await.is_err() {
        tokio::time::sleep(PAUSE).await;
    }
}
