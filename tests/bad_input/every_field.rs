//! Every field of every call, made from the descriptors: filled with what does not belong there, and sent
//! by an administrator. The answer is a definite one that names the field, or the value is accepted; never
//! an internal error, and never silence. A new call or field is covered when it is declared.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use http::uri::PathAndQuery;
use platform::client::request_id;
use prost::Message;
use prost::bytes::{Buf, BufMut, Bytes};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    ReflectMessage, Value,
};
use serde_json::json;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::values;
use crate::story::{Acts, Outcome, Story};

/// Not for people: their tokens get no further than the access table.
const INTERNAL: [&str; 4] = [
    "DefinitionService",
    "HistoryService",
    "IdentityService",
    "StepEventService",
];
/// Nothing that is refused takes as long, and nothing that is accepted but a wait for jobs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Messages as they are on the wire.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = from.remaining();
        Ok(Some(from.copy_to_bytes(length)))
    }
}

/// One way to say where in a request a value stands.
type Path = Vec<FieldDescriptor>;

struct Caller {
    /// By package.
    channels: HashMap<String, Channel>,
    admin: String,
    /// May lose what it has: its own session and password.
    throwaway: String,
    /// What fields hold that make sense, by name or by `Message.name`.
    facts: HashMap<&'static str, Value>,
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
        let workflow = story
            .sequence(&[("Enter", "data_entry", json!({}))])
            .await?;
        let execution = story.admin.start(&workflow, json!({})).await?;
        let task = story.admin.task(&execution).await?;
        story.user("somebody", &[]).await?;
        let somebody = story.find_user("somebody@example.com").await?;
        let text = |text: &str| Value::String(text.to_owned());
        let document = json!({
            "client": { "name": "Applied" },
            "workflow": { "name": "Applied" },
            "steps": [{ "name": "A", "stepType": "data_entry" }],
        });
        let facts = HashMap::from([
            ("client_id", text(&workflow.client_id)),
            ("workflow_id", text(&workflow.id)),
            ("from_step_id", text(&workflow.steps[0].id)),
            ("to_step_id", text(&workflow.steps[0].id)),
            ("step_id", text(&workflow.steps[0].id)),
            ("execution_id", text(&execution.id)),
            ("Client.id", text(&workflow.client_id)),
            ("User.id", text(&somebody)),
            ("Workflow.id", text(&workflow.id)),
            ("WorkflowStep.id", text(&workflow.steps[0].id)),
            ("ClientService.id", text(&workflow.client_id)),
            ("UserService.id", text(&somebody)),
            ("WorkflowService.id", text(&workflow.id)),
            ("ExecutionService.id", text(&execution.id)),
            ("TaskService.id", text(&task.id)),
            ("name", text("A name")),
            ("email", text("new@example.com")),
            ("password", text("long enough")),
            ("current_password", text("not the right one")),
            ("new_password", text("long enough")),
            ("step_type", text("custom")),
            ("order", Value::I32(7)),
            ("worker", text("worker")),
            ("job_type", text("none")),
            ("document", text(&document.to_string())),
        ]);
        Ok(Self {
            channels,
            admin: story.admin.token.clone(),
            throwaway: story.user("throwaway", &[]).await?.token,
            facts,
        })
    }

    /// A request that is as good as its names tell.
    fn base(&self, method: &MethodDescriptor) -> DynamicMessage {
        let mut message = self.filled(&method.input(), method, 0);
        let deletes = method.name().starts_with("Delete");
        if let Some(etag) = message.descriptor().get_field_by_name("etag")
            && deletes
        {
            // What it is about has to stay for the calls to come.
            message.set_field(&etag, Value::String("stale".to_owned()));
        }
        message
    }

    fn filled(
        &self,
        kind: &MessageDescriptor,
        method: &MethodDescriptor,
        depth: usize,
    ) -> DynamicMessage {
        let mut message = DynamicMessage::new(kind.clone());
        for field in kind.fields() {
            let name = field.name();
            let service = method.parent_service().name().to_owned();
            let fact = [
                format!("{}.{name}", kind.name()),
                format!("{service}.{name}"),
                name.to_owned(),
            ]
            .iter()
            .find_map(|key| self.facts.get(key.as_str()).cloned());
            match (fact, field.kind()) {
                (Some(value), _) if !field.is_list() => message.set_field(&field, value),
                (_, Kind::Message(inner))
                    if depth < 1 && !field.is_list() && !values::is_value(&inner) =>
                {
                    let inner = self.filled(&inner, method, depth + 1);
                    message.set_field(&field, Value::Message(inner));
                }
                _ => {}
            }
        }
        message
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

/// The fields of a request, those inside of its messages included.
fn paths(kind: &MessageDescriptor, above: &Path, into: &mut Vec<Path>) {
    for field in kind.fields() {
        let path = [above.as_slice(), &[field.clone()]].concat();
        if let Kind::Message(inner) = field.kind()
            && !values::is_value(&inner)
            && above.len() < 2
        {
            paths(&inner, &path, into);
        }
        into.push(path);
    }
}

fn put(message: &mut DynamicMessage, path: &[FieldDescriptor], value: Value) {
    let (field, rest) = path.split_first().expect("a path has a field");
    let value = match rest {
        [] => value,
        _ => {
            let inner = message.get_field(field).into_owned();
            let mut inner = match inner {
                Value::Message(inner) => inner,
                // One element is enough.
                _ => match field.kind() {
                    Kind::Message(kind) => DynamicMessage::new(kind),
                    _ => return,
                },
            };
            put(&mut inner, rest, value);
            Value::Message(inner)
        }
    };
    let value = if field.is_list() {
        Value::List(vec![value])
    } else {
        value
    };
    message.set_field(field, value);
}

fn encoded(message: &DynamicMessage) -> Bytes {
    let mut bytes = message.encode_to_vec();
    let marker = values::NOT_UTF8.as_bytes();
    let found = bytes.windows(marker.len()).position(|at| at == marker);
    if let Some(at) = found {
        bytes[at..at + marker.len()].fill(0xFF);
    }
    bytes.into()
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
        _ if rest.is_empty() => true,
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
    let leaks = ["sqlx", "panick", "catalog.", "SELECT", "src/"];
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
            let violations = status.get_details_bad_request().unwrap_or_default();
            let fields: Vec<&str> = (violations.field_violations.iter())
                .map(|violation| violation.field.as_str())
                .collect();
            let strange = fields.iter().find(|name| !is_field(&method.input(), name));
            if fields.is_empty() {
                return Some(format!("names no field: {}", said()));
            }
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

/// Calls with each value in each field; returns how many, and adds to `wrong` what was answered badly.
async fn try_method(
    caller: &Caller,
    method: &MethodDescriptor,
    wrong: &mut Vec<String>,
) -> anyhow::Result<usize> {
    let name = method.full_name().to_owned();
    let base = caller.base(method);
    let honest = caller.call(method, encoded(&base)).await;
    // If the guess at a good request is not one, its own faults are blamed too.
    let is_good = !matches!(&honest, Err(status) if status.code() == Code::InvalidArgument);
    wrong.extend(fault(method, None, honest).map(|fault| format!("{name}: {fault}")));
    for garbage in [&[0xFF; 9][..], &[0x0A, 0xFF, 0x01], &[0x0B], &[0x08]] {
        let answer = caller.call(method, Bytes::from_static(garbage)).await;
        wrong.extend(fault(method, None, answer).map(|it| format!("{name}({garbage:?}): {it}")));
    }
    let mut all = Vec::new();
    paths(&method.input(), &Path::new(), &mut all);
    let mut calls = 5;
    for path in all {
        let field = path.last().context("a path has a field")?;
        for value in values::of(field) {
            let mut request = base.clone();
            let shown = format!("{value:.60?}");
            put(&mut request, &path, value);
            if let Some(id) = request.descriptor().get_field_by_name("request_id")
                && path[0] != id
            {
                request.set_field(&id, Value::String(request_id()));
            }
            let answer = caller.call(method, encoded(&request)).await;
            calls += 1;
            if let Some(fault) = fault(method, is_good.then_some(&path), answer) {
                wrong.push(format!("{name} {}={shown:.100}: {fault}", field.name()));
            }
        }
    }
    Ok(calls)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_of_every_call() -> Outcome {
    let story = Story::begin().await?;
    let caller = Caller::begin(&story).await?;
    let pool = DescriptorPool::decode(proto::DESCRIPTORS)?;
    let (mut wrong, mut calls) = (Vec::new(), 0);
    for service in pool.services() {
        if !service.package_name().starts_with("workflow.") || INTERNAL.contains(&service.name()) {
            continue;
        }
        for method in service.methods() {
            calls += try_method(&caller, &method, &mut wrong).await?;
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
