//! What a call meets between the wire and its handler.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chassis::Error;
use chassis::auth::{Caller, SigningKey, Standing, UserKeys, Verifier};
use chassis::server::Limits;
use chrono::{TimeDelta, Utc};
use prost::Message;
use proto::catalog::v1 as pb;
use proto::catalog::v1::auth_service_client::AuthServiceClient;
use proto::catalog::v1::client_service_client::ClientServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Status};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_types::StatusExt;

use crate::fixture::{NAME, Peace, Running, login, service_key, signed, user_token};

fn reason(status: &Status) -> String {
    status
        .get_details_error_info()
        .map(|info| info.reason)
        .unwrap_or_default()
}

#[tokio::test]
async fn panicking_handler_is_internal_and_tells_nothing() {
    let running = Running::with_defaults().await;
    let mut client = running.client().await;
    let status = client.login(login("panic")).await.expect_err("a panic");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Internal, "INTERNAL")
    );
    assert!(!format!("{status:?}").contains("canary"));
    client
        .login(login(""))
        .await
        .expect("the same connection goes on");
}

#[tokio::test]
async fn passed_deadline_is_deadline_exceeded_and_the_work_goes_on() {
    let running = Running::with_defaults().await;
    for _ in 0..20 {
        // gRPC-Web by hand: a generated client would answer by its own clock.
        let answer = web(
            &running,
            &login("wait").encode_to_vec(),
            "grpc-timeout: 20m",
        )
        .await;
        assert!(answer.contains("grpc-status: 4"), "{answer}");
    }
    running.stage.go.add_permits(20);
    running.finished(20).await;
}

#[tokio::test]
async fn handler_learns_that_nobody_waits_for_it() {
    let running = Running::with_defaults().await;
    let stay = login("stay").encode_to_vec();
    let late = web(&running, &stay, "grpc-timeout: 200m").await;
    assert!(late.contains("grpc-status: 4"), "{late}");
    // Once when it began, once when it ended.
    running.finished(2).await;

    let mut client = running.client().await;
    let left = tokio::spawn(async move { client.login(login("stay")).await });
    running.finished(1).await;
    left.abort();
    running.finished(1).await;
}

#[tokio::test]
async fn peer_gives_up_with_deadline_exceeded() {
    let running = Running::with_defaults().await;
    let mut client = AuthServiceClient::new(running.peer());
    let mut request = tonic::Request::new(login("wait"));
    request.set_timeout(Duration::from_millis(50));
    let status = client.login(request).await.expect_err("too late");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(Error::from(status).reason(), "DEPENDENCY_UNAVAILABLE");
}

#[tokio::test]
async fn browser_may_call_from_another_origin_and_read_errors() {
    let running = Running::with_defaults().await;
    let answer = web(
        &running,
        &login("panic").encode_to_vec(),
        "origin: http://elsewhere",
    )
    .await
    .to_lowercase();
    assert!(answer.contains("grpc-status: 13"), "{answer}");
    assert!(
        answer.contains("access-control-allow-origin: *"),
        "{answer}"
    );
    assert!(answer.contains("grpc-status-details-bin"), "{answer}");
}

#[tokio::test]
async fn bytes_that_are_no_message_are_the_callers_fault() {
    let running = Running::with_defaults().await;
    let answer = web(&running, b"\xff\xff\xff", "x-test: 1").await;
    assert!(answer.contains("grpc-status: 3"), "{answer}");
}

/// Calls Login by gRPC-Web over HTTP/1.1; all that comes back, as text.
async fn web(running: &Running, message: &[u8], header: &str) -> String {
    let length = u32::try_from(message.len()).expect("short");
    let head = format!(
        "POST /workflow.catalog.v1.AuthService/Login HTTP/1.1\r\nhost: test\r\n\
         content-type: application/grpc-web+proto\r\n{header}\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        message.len() + 5
    );
    let mut stream = TcpStream::connect(running.address)
        .await
        .expect("listening");
    let frame = [&[0], &length.to_be_bytes()[..], message].concat();
    stream
        .write_all(&[head.as_bytes(), &frame].concat())
        .await
        .expect("written");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn more_calls_than_there_is_room_for_are_refused_at_once() {
    let limits = Limits {
        in_flight: 2,
        ..Limits::default()
    };
    let running = Running::start(limits, None).await;
    let client = running.client().await;
    let call = || {
        let mut client = client.clone();
        async move { client.login(login("wait")).await }
    };
    let (first, second) = (tokio::spawn(call()), tokio::spawn(call()));
    let status = loop {
        // Refused once both are in their handlers; before that, let in and given up by us.
        let third = tokio::time::timeout(Duration::from_millis(100), call()).await;
        if let Ok(Err(status)) = third {
            break status;
        }
    };
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::ResourceExhausted, "OVERLOADED")
    );
    assert!(status.get_details_retry_info().is_some());
    running.stage.go.add_permits(10);
    let ended = [
        first.await.expect("no panic"),
        second.await.expect("no panic"),
    ];
    assert!(ended.iter().any(Result::is_ok), "{ended:?}");
    client.clone().login(login("")).await.expect("room again");
}

#[tokio::test]
async fn calls_that_wait_take_no_room_from_those_that_work() {
    let limits = Limits {
        in_flight: 1,
        waiting: 1,
        ..Limits::default()
    };
    let running = Running::start(limits, None).await;
    let client = running.client().await;
    let poll = || {
        let mut client = client.clone();
        async move {
            client
                .refresh_token(pb::RefreshTokenRequest::default())
                .await
        }
    };
    let first = tokio::spawn(poll());
    running.stage.begun.acquire().await.expect("open").forget();
    client.clone().login(login("")).await.expect("room to work");
    let status = poll().await.expect_err("no room to wait");
    assert_eq!(reason(&status), "OVERLOADED");
    running.stage.go.add_permits(1);
    first.await.expect("no panic").expect("it was only waiting");
}

#[tokio::test]
async fn what_the_gate_refuses_reaches_nobody() {
    let running = Running::with_defaults().await;
    let mut client = running.client().await;
    running.stage.closed.store(true, Ordering::Relaxed);
    let status = client.login(login("")).await.expect_err("the gate is shut");
    assert_eq!(reason(&status), "CLOSED");
    assert!(status.get_details_retry_info().is_some());
    assert_eq!(running.stage.begun.available_permits(), 0);
    let who = pb::GetCurrentUserRequest {};
    let others = client.get_current_user(signed(who, &user_token())).await;
    others.expect("it is shut for one call only");
    running.stage.closed.store(false, Ordering::Relaxed);
    client.login(login("")).await.expect("open again");
}

#[tokio::test]
async fn service_that_is_not_ready_serves_nobody() {
    let running = Running::with_defaults().await;
    let mut client = running.client().await;
    running.readiness.set(false);
    let status = client.login(login("")).await.expect_err("not ready");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unavailable, "NOT_READY")
    );
    running.readiness.set(true);
    client.login(login("")).await.expect("ready");
}

#[tokio::test]
async fn each_method_is_for_those_the_table_names() {
    let running = Running::with_defaults().await;
    let mut client = running.client().await;
    let who = pb::GetCurrentUserRequest {};
    let keys = pb::ListSigningKeysRequest {};
    let (service_token, _) = service_key()
        .token("reporting", Utc::now())
        .expect("signed");

    let user = client
        .get_current_user(signed(who, &user_token()))
        .await
        .expect("a user");
    assert_eq!(user.get_ref().id, "00000000-0000-0000-0000-000000000001");
    client
        .list_signing_keys(signed(keys, &service_token))
        .await
        .expect("a service");
    client
        .login(signed(login(""), "rubbish"))
        .await
        .expect("open, whatever the token");

    let refused = [
        (
            client.get_current_user(who).await.err(),
            Code::Unauthenticated,
            "TOKEN_MISSING",
        ),
        (
            client.get_current_user(signed(who, "x.y.z")).await.err(),
            Code::Unauthenticated,
            "TOKEN_INVALID",
        ),
        (
            client
                .get_current_user(signed(who, &service_token))
                .await
                .err(),
            Code::PermissionDenied,
            "USER_REQUIRED",
        ),
        (
            client
                .list_signing_keys(signed(keys, &user_token()))
                .await
                .err(),
            Code::PermissionDenied,
            "INTERNAL_ONLY",
        ),
    ];
    for (status, code, why) in refused {
        let status = status.expect("refused");
        assert_eq!((status.code(), reason(&status).as_str()), (code, why));
    }
}

#[tokio::test]
async fn unknown_method_is_unimplemented() {
    let running = Running::with_defaults().await;
    let mut client = ClientServiceClient::new(running.channel().await);
    let request = signed(pb::GetClientRequest::default(), &user_token());
    let status = client
        .get_client(request)
        .await
        .expect_err("not served here");
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test]
async fn other_services_verify_people_with_the_published_keys() {
    let running = Running::with_defaults().await;
    let keys = UserKeys::remote(running.peer());
    let standing = Standing::new(Arc::new(Peace));
    let verifier = Arc::new(Verifier::new(
        service_key().public().clone(),
        keys,
        standing,
    ));
    let (now, since) = (Utc::now(), Instant::now());
    let verified: Vec<_> = (0..8)
        .map(|_| {
            let verifier = Arc::clone(&verifier);
            tokio::spawn(async move { verifier.verify(&user_token(), now).await })
        })
        .collect();
    let mut users = Vec::new();
    for caller in verified {
        match caller.await.expect("no panic").expect("accepted") {
            Caller::User(user) => users.push(user),
            other => panic!("{other} is no user"),
        }
    }
    let expires = now + TimeDelta::minutes(1);
    for (seed, user) in users.iter().enumerate() {
        let kid = format!("unknown {seed}");
        let stranger = SigningKey::from_seed(kid, &[1; 32]);
        let token = stranger.user_token(user, now, expires).expect("signed");
        let error = verifier.verify(&token, now).await.expect_err("unknown key");
        assert_eq!(error.reason(), "TOKEN_INVALID");
    }
    let asked = u64::from(running.stage.asked.load(Ordering::Relaxed));
    assert!(
        asked <= 1 + since.elapsed().as_secs(),
        "asked {asked} times"
    );
}

#[tokio::test]
async fn reflection_lists_what_is_served_here() {
    let running = Running::with_defaults().await;
    let mut client = ServerReflectionClient::new(running.channel().await)
        .send_compressed(CompressionEncoding::Gzip);
    let question = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = client
        .server_reflection_info(tokio_stream::once(question))
        .await;
    let answer = answers
        .expect("open to all")
        .into_inner()
        .message()
        .await
        .expect("no error");
    let Some(MessageResponse::ListServicesResponse(list)) =
        answer.and_then(|answer| answer.message_response)
    else {
        panic!("no list");
    };
    let mut names: Vec<String> = list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    names.sort();
    assert_eq!(names, ["grpc.health.v1.Health", NAME]);
}
