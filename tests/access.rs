//! Every call of the contract, made by everybody who may not make it. The calls come from the descriptors,
//! so a new one is covered when it is declared.

use anyhow::{Context, ensure};
use http::uri::PathAndQuery;
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::story::{Outcome, Story};

const OPEN: [&str; 2] = ["AuthService/Login", "AuthService/ListSigningKeys"];
const INTERNAL: [&str; 3] = ["DefinitionService/", "HistoryService/", "StepEventService/"];
const ADMIN: [&str; 3] = [
    "UserService/CreateUser",
    "UserService/UpdateUser",
    "ExecutionService/CheckExecutions",
];

/// `/package.Service/Method` of every call, with the address of its service.
fn calls(story: &Story) -> anyhow::Result<Vec<(String, String)>> {
    let set = FileDescriptorSet::decode(proto::DESCRIPTORS)?;
    let mut calls = Vec::new();
    for file in set
        .file
        .iter()
        .filter(|file| file.package().starts_with("workflow."))
    {
        let at = &story.running.addresses;
        let address = match file.package() {
            "workflow.catalog.v1" => at.catalog,
            "workflow.execution.v1" => at.execution,
            _ => at.reporting,
        };
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                calls.push((address.to_string(), path));
            }
        }
    }
    ensure!(
        calls.len() > 50,
        "the contract is not where this test looks"
    );
    Ok(calls)
}

/// What an empty message is answered with.
async fn call(
    address: &str,
    path: &str,
    token: Option<&str>,
) -> anyhow::Result<Result<(), Status>> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?
        .connect()
        .await?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await?;
    let mut request = Request::new(tokio_stream::once(()));
    if let Some(token) = token {
        let value = MetadataValue::try_from(format!("Bearer {token}"))?;
        request.metadata_mut().insert("authorization", value);
    }
    let path: PathAndQuery = path.parse()?;
    let codec = ProstCodec::<(), ()>::default();
    Ok(match client.streaming(request, path, codec).await {
        Ok(mut answer) => answer.get_mut().message().await.map(|_| ()),
        Err(status) => Err(status),
    })
}

fn is_one_of(path: &str, names: &[&str]) -> bool {
    names.iter().any(|name| path.contains(&format!(".{name}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_refuses_those_who_may_not_make_it() -> Outcome {
    let story = Story::begin().await?;
    let clerk = story.user("clerk", &[]).await?;
    let token = clerk.token.as_str();
    let mut wrong = Vec::new();
    for (address, path) in calls(&story)? {
        let expect = |who: &str, answer: Result<(), Status>, expected: Code| {
            let code = answer.err().map_or(Code::Ok, |status| status.code());
            (code != expected).then(|| format!("{path} answers {who} with {code:?}"))
        };
        if is_one_of(&path, &OPEN) {
            let answer = call(&address, &path, None).await?;
            let code = answer.err().map_or(Code::Ok, |status| status.code());
            ensure!(
                !matches!(code, Code::PermissionDenied | Code::Unimplemented),
                "{path}: {code:?}"
            );
            continue;
        }
        let nobody = call(&address, &path, None).await?;
        wrong.extend(expect("nobody", nobody, Code::Unauthenticated));
        let forged = call(&address, &path, Some("e30.e30.e30")).await?;
        wrong.extend(expect("a forged token", forged, Code::Unauthenticated));
        if is_one_of(&path, &INTERNAL) || is_one_of(&path, &ADMIN) {
            let user = call(&address, &path, Some(token)).await?;
            wrong.extend(expect("a USER", user, Code::PermissionDenied));
        } else {
            // Let in; whatever is wrong then is the empty message.
            let user = call(&address, &path, Some(token)).await?;
            let code = user.err().map_or(Code::Ok, |status| status.code());
            if !matches!(code, Code::Ok | Code::InvalidArgument | Code::NotFound) {
                wrong.push(format!("{path} answers a USER with {code:?}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_calls_are_unimplemented_and_a_changed_token_is_refused() -> Outcome {
    let story = Story::begin().await?;
    let address = story.running.addresses.catalog.to_string();
    let answer = call(
        &address,
        "/workflow.catalog.v1.Nothing/Here",
        Some(&story.admin.token),
    )
    .await?;
    assert_eq!(
        answer.err().map(|status| status.code()),
        Some(Code::Unimplemented)
    );

    let whoami = "/workflow.catalog.v1.AuthService/GetCurrentUser";
    let token = story.admin.token.as_str();
    ensure!(
        call(&address, whoami, Some(token)).await?.is_ok(),
        "the admin is let in"
    );
    let (signed, signature) = token.rsplit_once('.').context("a token has three parts")?;
    let (header, claims) = signed.split_once('.').context("a token has three parts")?;
    // `{"alg":"none"}`, and the first and last letter changed.
    let unsigned = format!("eyJhbGciOiJub25lIn0.{claims}.");
    let other = if claims.starts_with('f') { "g" } else { "f" };
    let changed = format!("{header}.{other}{}.{signature}", &claims[1..]);
    for bad in [unsigned, changed, String::new()] {
        let answer = call(&address, whoami, Some(&bad)).await?;
        assert_eq!(
            answer.err().map(|status| status.code()),
            Some(Code::Unauthenticated),
            "{bad}"
        );
    }
    story.end().await
}
