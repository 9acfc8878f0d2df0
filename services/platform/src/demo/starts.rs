//! Puts the work in: applies and publishes the three documents, starts the executions. Everything goes
//! through the public API; starting again after a lost answer starts nothing twice.

use std::sync::Arc;

use anyhow::Context;
use proto::catalog::v1::{ApplyWorkflowRequest, PublishWorkflowRequest};
use proto::execution::v1::{
    CancelExecutionRequest, GetExecutionRequest, ListExecutionsRequest, StartExecutionRequest,
};
use serde_json::{Map, Value};
use tonic::Code;

use super::cases::{self, Case, DOCUMENTS};
use super::tally::Tally;
use crate::client::{Session, again, each, request_id};

/// Applies the documents and publishes what they leave a draft; returns the workflows' ids in the
/// documents' order, and what changed.
pub async fn apply(session: &Session) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let mut ids = Vec::new();
    let mut changes = Vec::new();
    for document in DOCUMENTS {
        let request = ApplyWorkflowRequest {
            document: document.into(),
            validate_only: false,
            ..ApplyWorkflowRequest::default()
        };
        let applied = again(
            &session.workflows,
            &request,
            |mut client, request| async move { client.apply_workflow(request).await },
        )
        .await
        .context("ApplyWorkflow")?;
        let workflow = applied
            .workflow
            .context("ApplyWorkflow returned no workflow")?;
        let request = PublishWorkflowRequest {
            id: workflow.id,
            etag: String::new(),
            ..PublishWorkflowRequest::default()
        };
        let published = again(
            &session.workflows,
            &request,
            |mut client, request| async move { client.publish_workflow(request).await },
        )
        .await
        .context("PublishWorkflow")?;
        changes.push(format!(
            "{}: {} changes, version {} is published",
            published.name,
            applied.changes.len(),
            published.version
        ));
        ids.push(published.id);
    }
    Ok((ids, changes))
}

/// Starts the first `wanted` cases, at most 16 at a time, and cancels those that are to be cancelled.
pub async fn start(
    session: Session,
    workflows: Arc<Vec<String>>,
    wanted: u32,
    tally: Arc<Tally>,
) -> anyhow::Result<()> {
    each((0..wanted).map(cases::nth), 16, |case| {
        let workflow_id = workflows[case.workflow].clone();
        let (session, tally) = (session.clone(), tally.clone());
        async move { start_one(&session, workflow_id, case, &tally).await }
    })
    .await
}

async fn start_one(
    session: &Session,
    workflow_id: String,
    case: Case,
    tally: &Tally,
) -> anyhow::Result<()> {
    let metadata = Map::from_iter([
        ("inputData".to_owned(), Value::Object(case.input)),
        ("startedBy".to_owned(), Value::from("demo")),
    ]);
    let request = StartExecutionRequest {
        workflow_id,
        metadata: Some(model::wire::struct_from_json(&metadata)),
        request_id: request_id(),
        ..Default::default()
    };
    let started = again(
        &session.executions,
        &request,
        |mut client, request| async move { client.start_execution(request).await },
    )
    .await
    .context("StartExecution")?;
    Tally::add(&tally.started);
    if !case.cancel {
        return Ok(());
    }
    let request = CancelExecutionRequest {
        id: started.id,
        reason: "withdrawn by the client".into(),
        request_id: request_id(),
        compensate: false,
    };
    match again(
        &session.executions,
        &request,
        |mut client, request| async move { client.cancel_execution(request).await },
    )
    .await
    {
        Ok(_) => Tally::add(&tally.cancelled),
        // The people and the worker were quicker.
        Err(status) if status.code() == Code::FailedPrecondition => {}
        Err(status) => return Err(status).context("CancelExecution"),
    }
    Ok(())
}

/// The ids of executions of these workflows that are not over, at most 1000 of each and status.
pub async fn open(session: &Session, workflows: &[String]) -> anyhow::Result<Vec<String>> {
    let mut ids = Vec::new();
    for workflow in workflows {
        for status in ["PENDING", "RUNNING"] {
            let request = ListExecutionsRequest {
                page_size: 1000,
                filter: format!("workflow_id = \"{workflow}\" AND status = \"{status}\""),
                ..Default::default()
            };
            let page = again(
                &session.executions,
                &request,
                |mut client, request| async move { client.list_executions(request).await },
            )
            .await
            .context("ListExecutions")?;
            ids.extend(page.executions.into_iter().map(|execution| execution.id));
        }
    }
    Ok(ids)
}

/// What an execution waits for, in words.
pub async fn reason(session: &Session, id: &str) -> anyhow::Result<String> {
    let request = GetExecutionRequest { id: id.to_owned() };
    let execution = again(
        &session.executions,
        &request,
        |mut client, request| async move { client.get_execution(request).await },
    )
    .await
    .context("GetExecution")?;
    let reasons: Vec<String> = execution
        .waits
        .iter()
        .map(|wait| format!("{} waits for {}", wait.step_name, wait.reason))
        .collect();
    Ok(format!("{id}: {}", reasons.join("; ")))
}
