//! Requests that are as good as the names of their fields tell, so that one bad value is the only one.

use std::collections::HashMap;

use anyhow::bail;
use platform::client::{Session, request_id};
use prost::Message;
use prost::bytes::Bytes;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, ReflectMessage,
    Value,
};
use proto::catalog::v1::{ApiKeyScope, CreateTransitionRequest, Workflow, WorkflowTransition};
use proto::execution::v1::bulk_operation::Action;
use proto::execution::v1::{BulkCancel, BulkOperation, CreateBulkOperationRequest};
use proto::execution::v1::{CancelExecutionRequest, CreateScheduleRequest, Schedule};
use serde_json::json;

use super::{UNKNOWN, values};
use crate::story::{Acts, Story};

/// Where in a request a value stands.
pub type Path = Vec<FieldDescriptor>;

/// What fields hold that make sense (of instants, the second), by `Method.name`, `Message.name`, `Service.name` or name.
pub type Facts = HashMap<&'static str, Value>;

/// Things to call about. What a call may end, no other call is told of.
pub async fn facts(story: &Story) -> anyhow::Result<Facts> {
    let admin = &story.admin;
    let work = json!({ "action": "work" });
    let steps = [("Enter", "data_entry", json!({})), ("Work", "custom", work)];
    let edited = story.sequence(&steps).await?;
    let run = story.sequence(&steps).await?;
    let ended = story.sequence(&steps).await?;
    let alone = json!({ "client": { "name": "Deleted" }, "workflow": { "name": "Deleted" }, "steps": [{
        "name": "A", "stepType": "data_entry",
    }] });
    let deleted = story.publish(&alone.to_string()).await?;
    let execution = admin.start(&run, json!({})).await?;
    let task = admin.task(&execution).await?;
    let cancelled = admin.start(&run, json!({})).await?;
    let over = admin.start(&run, json!({})).await?;
    let cancel = CancelExecutionRequest {
        id: over.id.clone(),
        ..Default::default()
    };
    admin.executions.clone().cancel_execution(cancel).await?;
    let scheduled = [schedule(admin, &run).await?, schedule(admin, &run).await?];
    let working = admin.start(&run, json!({})).await?;
    admin.submit(&working, json!({})).await?;
    let job = admin.job("work").await?;
    story.user("somebody", &[]).await?;
    let somebody = story.find_user("somebody@example.com").await?;
    let [first, second] = &edited.steps[..] else {
        bail!("two steps were made");
    };
    let transition = transition(admin, &edited).await?;
    let ended_transition = self::transition(admin, &ended).await?;
    let document = json!({
        "client": { "name": "Applied" },
        "workflow": { "name": "Applied" },
        "steps": [{ "name": "A", "stepType": "data_entry" }],
    });
    let (key, _) = story.machine(ApiKeyScope::Worker).await?;
    let counted = counted(admin).await?;
    let texts = [
        ("client_id", edited.client_id.as_str()),
        ("workflow_id", &edited.id),
        ("from_step_id", &first.id),
        ("to_step_id", &second.id),
        ("step_id", &first.id),
        ("execution_id", &execution.id),
        ("job_id", &job.id),
        ("User.id", &somebody),
        ("Client.id", &edited.client_id),
        ("Workflow.id", &edited.id),
        ("WorkflowStep.id", &first.id),
        ("WorkflowTransition.id", &transition),
        ("UserService.id", &somebody),
        ("ClientService.id", &edited.client_id),
        ("WorkflowService.id", &edited.id),
        ("ApiKeyService.id", &key.id),
        ("DeleteClient.id", &deleted.client_id),
        ("DeleteWorkflow.id", &deleted.id),
        ("DeleteStep.id", &ended.steps[0].id),
        ("DeleteTransition.id", &ended_transition),
        ("ArchiveWorkflow.id", &ended.id),
        ("StartExecution.workflow_id", &run.id),
        ("SignalOrStartExecution.workflow_id", &run.id),
        ("business_key", "order 1"),
        ("SimulateWorkflow.workflow_id", &run.id),
        ("PreviewPublish.workflow_id", &run.id),
        ("ImportExecutions.workflow_id", &run.id),
        ("ExecutionService.id", &execution.id),
        ("CancelExecution.id", &cancelled.id),
        ("RestartExecution.id", &over.id),
        ("RestartExecution.from_step_id", &run.steps[0].id),
        ("TaskService.id", &task.id),
        ("BulkOperationService.id", &counted),
        // Of the ways to say which, one is wanted.
        ("WatchExecutions.client_id", ""),
        ("Schedule.id", &scheduled[0]),
        ("Schedule.workflow_id", &run.id),
        ("ScheduleService.id", &scheduled[0]),
        ("DeleteSchedule.id", &scheduled[1]),
        ("target", "48h"),
        ("cron", "0 6 * * 1-5"),
        ("time_zone", "Europe/Berlin"),
        ("UpdateUser.email", "somebody@example.com"),
        ("GetReport.id", UNKNOWN),
        ("VerifyReport.id", UNKNOWN),
        ("document", &document.to_string()),
        ("to_document", &document.to_string()),
        ("password", "long enough"),
        ("current_password", "not the right one"),
        ("new_password", "long enough"),
        ("step_type", "custom"),
        // The job stays where it is.
        ("worker", "another"),
        ("error_code", "BROKEN"),
    ];
    let text = |text: &str| Value::String(text.to_owned());
    let mut facts: Facts = texts.map(|(name, it)| (name, text(it))).into();
    let step_ids = edited.steps.iter().map(|step| text(&step.id));
    facts.insert("step_ids", Value::List(step_ids.collect()));
    facts.insert("job_types", Value::List(vec![text("none")]));
    facts.insert("role", Value::EnumNumber(2));
    facts.insert("scope", Value::EnumNumber(1));
    facts.insert("order", Value::I32(7));
    facts.insert("credit", Value::I32(5));
    facts.insert("dry_run", Value::Bool(true));
    facts.insert("GetWorkflowVersion.version", Value::I32(1));
    facts.insert("ExportExecutions.format", Value::EnumNumber(2));
    facts.insert("ExportReports.format", Value::EnumNumber(1));
    // By step, because steps are named; of 2026, beside another version.
    let by_step = vec![Value::EnumNumber(4)];
    facts.insert("QueryReports.group_by", Value::List(by_step));
    facts.insert("QueryReports.versions", Value::List(vec![Value::I32(1)]));
    facts.insert("Comparison.version", Value::I32(1));
    facts.insert("QueryReports.period_start", Value::I64(1_767_225_600));
    facts.insert("QueryReports.period_end", Value::I64(1_798_761_600));
    let one = |id: &str| Value::List(vec![text(id)]);
    facts.insert("workflow_ids", one(&edited.id));
    facts.insert("client_ids", one(&edited.client_id));
    Ok(facts)
}

/// The id of a new way from the first step to the second.
async fn transition(admin: &Session, workflow: &Workflow) -> anyhow::Result<String> {
    let request = CreateTransitionRequest {
        transition: Some(WorkflowTransition {
            workflow_id: workflow.id.clone(),
            from_step_id: workflow.steps[0].id.clone(),
            to_step_id: workflow.steps[1].id.clone(),
            ..Default::default()
        }),
        request_id: request_id(),
        ..Default::default()
    };
    let made = admin.workflows.clone().create_transition(request).await?;
    Ok(made.into_inner().id)
}

/// The id of a bulk operation that does nothing.
async fn counted(admin: &Session) -> anyhow::Result<String> {
    let request = CreateBulkOperationRequest {
        bulk_operation: Some(BulkOperation {
            action: Some(Action::Cancel(BulkCancel::default())),
            dry_run: true,
            ..Default::default()
        }),
        request_id: request_id(),
    };
    let mut operations = admin.bulk_operations.clone();
    let made = operations.create_bulk_operation(request).await?;
    Ok(made.into_inner().id)
}

/// The id of a new schedule.
async fn schedule(admin: &Session, workflow: &Workflow) -> anyhow::Result<String> {
    let request = CreateScheduleRequest {
        schedule: Some(Schedule {
            workflow_id: workflow.id.clone(),
            name: "Yearly".into(),
            cron: "@yearly".into(),
            ..Default::default()
        }),
        request_id: request_id(),
    };
    let made = admin.schedules.clone().create_schedule(request).await?;
    Ok(made.into_inner().id)
}

/// What nothing else is called yet.
fn unique(field: &str) -> Option<Value> {
    let id = request_id();
    let text = match field {
        "name" => format!("Name {id}"),
        "email" => format!("{id}@example.com"),
        "request_id" => id,
        _ => return None,
    };
    Some(Value::String(text))
}

/// A request that might be granted, unless it would take away what others are about.
pub fn base(facts: &Facts, method: &MethodDescriptor) -> DynamicMessage {
    let mut message = filled(facts, &method.input(), method, 0);
    if let Some(etag) = message.descriptor().get_field_by_name("etag")
        && method.name().starts_with("Delete")
    {
        message.set_field(&etag, Value::String("stale".to_owned()));
    }
    message
}

fn filled(
    facts: &Facts,
    kind: &MessageDescriptor,
    method: &MethodDescriptor,
    depth: usize,
) -> DynamicMessage {
    let mut message = DynamicMessage::new(kind.clone());
    let service = method.parent_service();
    for field in kind.fields() {
        let name = field.name();
        let owners = [method.name(), kind.name(), service.name()];
        let known = owners.map(|owner| format!("{owner}.{name}"));
        let known = known.iter().find_map(|key| facts.get(key.as_str()));
        let value = known.or_else(|| facts.get(name)).cloned();
        match (value.or_else(|| unique(name)), field.kind()) {
            (Some(value), _) if value.is_valid_for_field(&field) => {
                message.set_field(&field, value);
            }
            (Some(Value::I64(second)), Kind::Message(instant)) => {
                let mut value = DynamicMessage::new(instant);
                value.set_field_by_name("seconds", Value::I64(second));
                message.set_field(&field, Value::Message(value));
            }
            (_, Kind::Message(inner))
                if depth < 1 && !field.is_list() && !values::is_value(&inner) =>
            {
                let inner = filled(facts, &inner, method, depth + 1);
                message.set_field(&field, Value::Message(inner));
            }
            _ => {}
        }
    }
    message
}

/// The fields of a request, those inside of its messages included.
pub fn paths(kind: &MessageDescriptor, above: &Path, into: &mut Vec<Path>) {
    for field in kind.fields() {
        let path = [above.as_slice(), std::slice::from_ref(&field)].concat();
        if let Kind::Message(inner) = field.kind()
            && !values::is_value(&inner)
            // What is repeated is what answers show.
            && !field.is_list()
        {
            paths(&inner, &path, into);
        }
        into.push(path);
    }
}

pub fn put(message: &mut DynamicMessage, path: &[FieldDescriptor], value: Value) {
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

/// As bytes; the marker among them becomes what is no UTF-8.
pub fn encoded(message: &DynamicMessage) -> Bytes {
    let mut bytes = message.encode_to_vec();
    let marker = values::NOT_UTF8.as_bytes();
    let found = bytes.windows(marker.len()).position(|at| at == marker);
    if let Some(at) = found {
        bytes[at..at + marker.len()].fill(0xFF);
    }
    bytes.into()
}
