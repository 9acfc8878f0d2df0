//! What a service says of itself under `grpc.health.v1`: NOT_SERVING until it is ready, and again as
//! the first thing of its end.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// The name under which the server as a whole is asked for.
const WHOLE: &str = "";

/// Whether a service can do its work: set by the service, told to callers and balancers.
#[derive(Debug, Clone)]
pub struct Readiness(watch::Sender<bool>);

impl Default for Readiness {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Readiness {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn set(&self, ready: bool) {
        self.0.send_replace(ready);
    }

    pub fn is_ready(&self) -> bool {
        *self.0.borrow()
    }

    /// Until it is ready for the first time.
    pub(super) async fn wait(&self) {
        // It fails without a sender, and this is one.
        let _ = self.0.subscribe().wait_for(|ready| *ready).await;
    }
}

/// What is known before anybody can ask. The library would say SERVING of the server as a whole.
pub(super) async fn begin(reporter: &HealthReporter, names: &[&'static str]) {
    tell(reporter, names, false).await;
    tell(reporter, &[WHOLE], false).await;
}

/// Reports until `soft`; when this returns, everybody has been told NOT_SERVING.
pub(super) async fn report(
    mut reporter: HealthReporter,
    mut names: Vec<&'static str>,
    readiness: Readiness,
    soft: CancellationToken,
) {
    names.push(WHOLE);
    let mut ready = readiness.0.subscribe();
    let stop = soft.cancelled();
    tokio::pin!(stop);
    loop {
        let serving = *ready.borrow_and_update();
        tell(&reporter, &names, serving).await;
        tokio::select! {
            _ = ready.changed() => {}
            () = &mut stop => break,
        }
    }
    tell(&reporter, &names, false).await;
    // Ends the watchers' streams, which nothing else ever would.
    for name in names {
        reporter.clear_service_status(name).await;
    }
}

async fn tell(reporter: &HealthReporter, names: &[&str], serving: bool) {
    let status = if serving {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    for name in names {
        reporter.set_service_status(name, status).await;
    }
}

#[cfg(test)]
mod tests {
    use tonic::Request;
    use tonic_health::pb::health_server::Health;
    use tonic_health::pb::{HealthCheckRequest, health_check_response};
    use tonic_health::server::HealthService;

    use super::*;

    #[tokio::test]
    async fn whoever_asks_before_the_first_report_is_told_not_serving() {
        let reporter = HealthReporter::new();
        begin(&reporter, &["auth"]).await;
        let health = HealthService::from_health_reporter(reporter);
        for service in ["", "auth"].map(str::to_owned) {
            let answer = health.check(Request::new(HealthCheckRequest { service }));
            let status = answer.await.expect("known").get_ref().status();
            assert_eq!(status, health_check_response::ServingStatus::NotServing);
        }
    }
}
