//! What a service says of itself, and how it ends.

use std::time::Duration;

use chassis::server::Limits;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::fixture::{NAME, Running, login};

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test]
async fn health_follows_readiness_and_ends_with_not_serving() {
    let running = Running::with_defaults().await;
    let mut health = HealthClient::new(running.channel().await);
    for name in ["", NAME] {
        let mut watch = health.watch(of(name)).await.expect("known").into_inner();
        let mut next = async || watch.message().await.expect("no error").map(|a| a.status());
        // Until the first report is out, a watcher may see NOT_SERVING.
        while next().await != Some(ServingStatus::Serving) {}
        running.readiness.set(false);
        assert_eq!(next().await, Some(ServingStatus::NotServing));
        running.readiness.set(true);
        assert_eq!(next().await, Some(ServingStatus::Serving));
    }
    let unknown = health.check(of("nobody")).await.expect_err("unknown");
    assert_eq!(unknown.code(), Code::NotFound);

    let mut watch = health.watch(of("")).await.expect("known").into_inner();
    running.shutdown.soft.cancel();
    let mut last = None;
    while let Some(answer) = watch.message().await.expect("no error") {
        last = Some(answer.status());
    }
    assert_eq!(last, Some(ServingStatus::NotServing));
    running
        .serving
        .await
        .expect("no panic")
        .expect("a clean end");
}

#[tokio::test]
async fn call_that_began_is_answered_although_the_service_stops() {
    let running = Running::with_defaults().await;
    let mut client = running.client().await;
    let call = tokio::spawn(async move { client.login(login("wait")).await });
    running.stage.begun.acquire().await.expect("open").forget();
    running.shutdown.soft.cancel();
    running.stage.go.add_permits(1);
    call.await.expect("no panic").expect("answered");
    running
        .serving
        .await
        .expect("no panic")
        .expect("a clean end");
    assert!(running.shutdown.outcome().is_ok());
}

#[tokio::test]
async fn grace_period_bounds_the_end() {
    let limits = Limits {
        grace: Duration::from_millis(50),
        ..Limits::default()
    };
    let running = Running::start(limits, None).await;
    let mut client = running.client().await;
    let call = tokio::spawn(async move { client.login(login("wait")).await });
    running.stage.begun.acquire().await.expect("open").forget();
    running.shutdown.soft.cancel();
    running.serving.await.expect("no panic").expect("an end");
    assert!(running.shutdown.hard.is_cancelled());
    call.abort();
}
