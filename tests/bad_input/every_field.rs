//! Every field of every call, made from the descriptors: filled with what does not belong there, and sent
//! by an administrator. The answer is a definite one that names the field, or the value is accepted; never
//! an internal error, and never silence. A new call or field is covered when it is declared.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use http::uri::PathAndQuery;
use prost::bytes::Bytes;
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};
use tokio::task::JoinSet;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::raw::Raw;
use super::requests::{self, Facts, Path};
use super::values;
use crate::story::{Outcome, Story};

/// Not for people: their tokens get no further than the access table.
const INTERNAL: [&str; 4] = [
    "DefinitionService",
    "HistoryService",
    "IdentityService",
    "StepEventService",
];
/// Nothing that is refused takes as long, and nothing that is accepted but a wait for jobs.
const PATIENCE: Duration = Duration::from_secs(20);

struct Caller {
    /// By package.
    channels: HashMap<String, Channel>,
    admin: String,
    /// May lose what it has: its own session and password.
    throwaway: String,
    facts: Facts,
}

impl Caller {
    async fn begin(story: &Story) -> anyhow::Result<Self> {
        let at = &story.running.addresses;
        let mut channels = HashMap::new();
        for (package, address) in [
            ("workflow.catalog.v1", at.catalog),
            ("workflow.execution.v1", at.execution),
            ("workflow.reporting.v1", at.reporting),
        ] {
            let channel = Endpoint::from_shared(format!("http://{address}"))?.connect_lazy();
            channels.insert(package.to_owned(), channel);
        }
        Ok(Self {
            channels,
            admin: story.admin.token.clone(),
            throwaway: story.user("throwaway", &[]).await?.token,
            facts: requests::facts(story).await?,
        })
    }

    async fn call(&self, method: &MethodDescriptor, body: Bytes) -> Result<(), Status> {
        let service = method.parent_service();
        let package = service.parent_file().package_name().to_owned();
        let channel = self.channels[&package].clone();
        let mut client = tonic::client::Grpc::new(channel);
        client
            .ready()
            .await
            .map_err(|error| Status::unknown(error.to_string()))?;
        let mut request = Request::new(tokio_stream::once(body));
        let token = match service.name() {
            "AuthService" => &self.throwaway,
            _ => &self.admin,
        };
        let bearer = MetadataValue::try_from(format!("Bearer {token}"));
        let bearer = bearer.map_err(|error| Status::unknown(error.to_string()))?;
        request.metadata_mut().insert("authorization", bearer);
        let path = format!("/{}/{}", service.full_name(), method.name());
        let path = PathAndQuery::try_from(path).map_err(|e| Status::unknown(e.to_string()))?;
        let asked = async {
            let mut answer = client.streaming(request, path, Raw).await?;
            answer.get_mut().message().await.map(|_| ())
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(Status::deadline_exceeded("silence")),
        }
    }
}

/// Whether the contract has a field of this name in the request.
fn is_field(kind: &MessageDescriptor, name: &str) -> bool {
    // What could not be decoded has no fields.
    if name == "request" {
        return true;
    }
    let (first, rest) = name.split_once('.').unwrap_or((name, ""));
    let first = first.split('[').next().unwrap_or_default();
    let Some(field) = kind.get_field_by_name(first) else {
        return false;
    };
    match field.kind() {
        // A map's key may hold a dot.
        _ if rest.is_empty() || field.is_map() => true,
        Kind::Message(inner) => values::is_value(&inner) || is_field(&inner, rest),
        _ => false,
    }
}

/// What is wrong with an answer, if anything.
fn fault(
    method: &MethodDescriptor,
    path: Option<&Path>,
    answer: Result<(), Status>,
) -> Option<String> {
    let Err(status) = answer else {
        return None;
    };
    let said = || format!("{:?} {:.200}", status.code(), status.message());
    let leaks = [
        "sqlx",
        "panick",
        "constraint",
        "SELECT ",
        "insert into",
        "src/",
    ];
    if leaks.iter().any(|word| status.message().contains(word)) {
        return Some(format!("tells of the inside: {}", said()));
    }
    let field_of = |path: &Path| {
        let names: Vec<&str> = path.iter().map(FieldDescriptor::name).collect();
        names.join(".")
    };
    match status.code() {
        Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::ResourceExhausted => None,
        Code::Unauthenticated if method.parent_service().name() == "AuthService" => None,
        // A person is no worker, and the throwaway no administrator.
        Code::PermissionDenied => None,
        Code::InvalidArgument => {
            let named = status.get_details_bad_request();
            let named = named.map(|it| it.field_violations).unwrap_or_default();
            let fields: Vec<&str> = named.iter().map(|it| it.field.as_str()).collect();
            if fields.is_empty() {
                return Some(format!("names no field: {}", said()));
            }
            let strange = fields.iter().find(|name| !is_field(&method.input(), name));
            if let Some(strange) = strange {
                return Some(format!("names {strange:?}, which the request has not"));
            }
            let wrong = path.map(field_of)?;
            let plain = |name: &str| name.replace("[0]", "");
            let names_it = fields.iter().any(|name| {
                let name = plain(name);
                name == "request" || name.starts_with(&wrong) || wrong.starts_with(&name)
            });
            (!names_it).then(|| format!("blames {fields:?}: {}", said()))
        }
        _ => Some(said()),
    }
}

/// Calls with each value in each field; returns how many, and what was answered badly.
async fn try_method(
    caller: &Caller,
    method: &MethodDescriptor,
) -> anyhow::Result<(usize, Vec<String>)> {
    let name = method.full_name().to_owned();
    let mut wrong = Vec::new();
    let base = || requests::base(&caller.facts, method);
    let honest = caller.call(method, requests::encoded(&base())).await;
    // If the guess at a good request is not one, its own faults are blamed too.
    let is_good = !matches!(&honest, Err(status) if status.code() == Code::InvalidArgument);
    wrong.extend(fault(method, None, honest).map(|fault| format!("{name}: {fault}")));
    for garbage in [&[0xFF; 9][..], &[0x0A, 0xFF, 0x01], &[0x0B], &[0x08]] {
        let answer = caller.call(method, Bytes::from_static(garbage)).await;
        wrong.extend(fault(method, None, answer).map(|it| format!("{name}({garbage:?}): {it}")));
    }
    let mut all = Vec::new();
    requests::paths(&method.input(), &Path::new(), &mut all);
    let mut calls = 5;
    for path in all {
        let field = path.last().context("a path has a field")?;
        for value in values::of(field) {
            let mut request = base();
            let shown = format!("{value:.60?}");
            requests::put(&mut request, &path, value);
            let answer = caller.call(method, requests::encoded(&request)).await;
            calls += 1;
            if let Some(fault) = fault(method, is_good.then_some(&path), answer) {
                wrong.push(format!("{name} {}={shown:.100}: {fault}", field.name()));
            }
        }
    }
    Ok((calls, wrong))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_of_every_call() -> Outcome {
    let story = Story::begin().await?;
    let caller = Arc::new(Caller::begin(&story).await?);
    let pool = DescriptorPool::decode(proto::DESCRIPTORS)?;
    let mut trying = JoinSet::new();
    for service in pool.services() {
        if !service.package_name().starts_with("workflow.") || INTERNAL.contains(&service.name()) {
            continue;
        }
        let caller = caller.clone();
        trying.spawn(async move {
            let mut tried = Vec::new();
            for method in service.methods() {
                tried.push(try_method(&caller, &method).await?);
            }
            anyhow::Ok(tried)
        });
    }
    let (mut calls, mut wrong) = (0, Vec::new());
    while let Some(tried) = trying.join_next().await {
        for (more, faults) in tried?? {
            calls += more;
            wrong.extend(faults);
        }
    }
    ensure!(
        calls > 3000,
        "{calls} calls: the contract is not where this test looks"
    );
    let shown: Vec<&str> = wrong.iter().take(100).map(String::as_str).collect();
    ensure!(
        wrong.is_empty(),
        "{} of {calls}:\n{}",
        wrong.len(),
        shown.join("\n")
    );
    story.end().await
}
