//! Imported executions, of which every field is tried: a value is blamed by the field that it stands in, or kept.

use anyhow::Context;
use platform::client::Session;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor};
use proto::execution::v1::{
    ExportExecutionsRequest, ExportFormat, ImportExecutionsRequest, ImportedExecution,
    ImportedStep, ListExecutionLogsRequest, ListExecutionsRequest,
};
use serde_json::json;

use super::{requests, values};
use crate::story::{Outcome, Story};

fn good(case_id: String) -> ImportedExecution {
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let step = ImportedStep {
        step: "Work".into(),
        assigned_at: at(1_000_000_001),
        completed_at: at(1_000_000_002),
        ..Default::default()
    };
    ImportedExecution {
        case_id,
        steps: vec![step],
        ..Default::default()
    }
}

/// Good cases but for one value each, with the path of the field that it stands in.
fn cases() -> anyhow::Result<Vec<(String, ImportedExecution)>> {
    let pool = DescriptorPool::decode(proto::DESCRIPTORS)?;
    let of = |name: &str| {
        let name = format!("workflow.execution.v1.{name}");
        pool.get_message_by_name(&name).context(name)
    };
    let (execution, step) = (of("ImportedExecution")?, of("ImportedStep")?);
    let mut cases = Vec::new();
    let case = |count: usize| good(format!("case {count}"));
    for field in execution.fields().filter(|field| !field.is_list()) {
        for value in values::of(&field) {
            let mut message = DynamicMessage::new(execution.clone());
            message.merge(case(cases.len()).encode_to_vec().as_slice())?;
            put(&mut message, &field, value);
            cases.push((field.name().to_owned(), message.transcode_to()?));
        }
    }
    for field in step.fields() {
        for value in values::of(&field) {
            let mut case = case(cases.len());
            let mut message = DynamicMessage::new(step.clone());
            message.merge(case.steps[0].encode_to_vec().as_slice())?;
            put(&mut message, &field, value);
            case.steps[0] = message.transcode_to()?;
            cases.push((format!("steps[0].{}", field.name()), case));
        }
    }
    Ok(cases)
}

fn put(message: &mut DynamicMessage, field: &FieldDescriptor, value: prost_reflect::Value) {
    requests::put(message, std::slice::from_ref(field), value);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imported_executions() -> Outcome {
    let story = Story::begin().await?;
    let steps = [("Work", "custom", json!({ "action": "work" }))];
    let workflow = story.sequence(&steps).await?;
    let Session { mut executions, .. } = story.admin.clone();
    let (fields, cases): (Vec<_>, Vec<_>) = cases()?.into_iter().unzip();
    assert!(cases.len() > 300, "{} cases", cases.len());
    let workflow_id = workflow.id.clone();
    let requests = cases.into_iter().map(move |case| ImportExecutionsRequest {
        workflow_id: workflow_id.clone(),
        executions: vec![case],
        ..Default::default()
    });
    let requests = tokio_stream::iter(requests.collect::<Vec<_>>());
    let mut answers = executions.import_executions(requests).await?.into_inner();
    let (mut wrong, mut imported) = (Vec::new(), 0);
    for field in &fields {
        let answer = answers
            .message()
            .await?
            .context("an answer to each request")?;
        imported += answer.imported;
        let error = answer.failures.into_iter().next().and_then(|it| it.error);
        let Some(error) = error else { continue };
        // An execution's instant may not fit those of its step, which is blamed then.
        let name = field.rsplit('.').next().unwrap_or(field);
        let blamed = error.fields.iter().any(|it| it.field.ends_with(name));
        // What is twice the same, or differs from it, is no fault of a field.
        if !blamed && error.reason != "CASE_DIFFERS" {
            wrong.push(format!("{field}: {} {:?}", error.reason, error.fields));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(imported > 50, "{imported} were kept");

    // What was kept can be told.
    let request = ListExecutionsRequest {
        filter: format!("workflow_id = {}", workflow.id),
        page_size: 1000,
        ..Default::default()
    };
    let mut told = 0;
    for execution in executions
        .list_executions(request)
        .await?
        .into_inner()
        .executions
    {
        let request = ListExecutionLogsRequest {
            execution_id: execution.id,
            ..Default::default()
        };
        told += executions
            .list_execution_logs(request)
            .await?
            .into_inner()
            .logs
            .len();
    }
    assert_eq!(told, usize::try_from(imported)?);
    let request = ExportExecutionsRequest {
        workflow_id: workflow.id,
        format: ExportFormat::Xes.into(),
        ..Default::default()
    };
    let mut chunks = executions.export_executions(request).await?.into_inner();
    let mut document = Vec::new();
    while let Some(chunk) = chunks.message().await? {
        document.extend(chunk.chunk);
    }
    let traces = String::from_utf8(document)?.matches("<trace>").count();
    assert_eq!(traces, told);
    story.end().await
}
