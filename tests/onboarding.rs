//! The platform's main job, told from outside: from the login to the report. The figures and the logs
//! that a story names are those that a person would expect.

use proto::execution::v1::{
    ApproveTaskRequest, ClaimTaskRequest, ExecutionStatus, RejectTaskRequest, StepStatus,
};
use proto::reporting::v1::{ListReportsRequest, ReportType, SummarizeReportsRequest};
use serde_json::json;
use tonic::Code;

use crate::story::{Acts, Outcome, Story, plain, refused, until};
use platform::client::request_id;
use platform::demo::DOCUMENTS;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_client_is_taken_in_and_reported() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story.publish(DOCUMENTS[0]).await?;
    let clerk = story.user("clerk", &[]).await?;
    let manager = story.user("manager", &["manager"]).await?;

    let execution = clerk
        .start(&workflow, json!({ "company": "Initech" }))
        .await?;
    assert_eq!(execution.status(), ExecutionStatus::Running);
    assert_eq!(execution.waits.len(), 1);
    assert_eq!(execution.waits[0].step_name, "Document Collection");

    clerk
        .submit(&execution, json!({ "documentsComplete": true }))
        .await?;
    let task = manager.task(&execution).await?;
    assert_eq!(
        (task.step_name.as_str(), task.group.as_str()),
        ("Manager Approval", "manager")
    );
    assert!(task.due_at.is_some(), "its timeout is 48 hours");
    let request = ApproveTaskRequest {
        id: task.id,
        comment: "welcome".into(),
        request_id: request_id(),
    };
    manager.tasks.clone().approve_task(request).await?;

    let job = clerk.job("create_account").await?;
    assert_eq!(job.execution_id, execution.id);
    assert_eq!(plain(job.data.as_ref())["company"], "Initech");
    assert_eq!(plain(job.data.as_ref())["approver"], "manager@example.com");
    clerk.complete(&job, json!({ "account": "A-1" })).await?;

    let finished = clerk.finished(&execution.id).await?;
    assert_eq!(finished.status(), ExecutionStatus::Completed);
    let logs = clerk.logs(&execution.id).await?;
    let names: Vec<&str> = logs.iter().map(|log| log.step_name.as_str()).collect();
    let expected = [
        "Initial Contact",
        "Document Collection",
        "Manager Approval",
        "Account Setup",
        "Welcome Email",
    ];
    assert_eq!(names, expected);
    assert!(logs.iter().all(|log| log.status() == StepStatus::Completed));
    assert_eq!(plain(logs[2].data.as_ref())["approved"], true);
    assert_eq!(plain(logs[2].data.as_ref())["comment"], "welcome");
    let route = plain(logs[1].route.as_ref());
    assert!(
        route["candidates"].is_array(),
        "the way on is explained: {route}"
    );

    reported(&story, &workflow.id).await?;
    story.end().await
}

/// One completed execution stands in each kind of report, and in the summary.
async fn reported(story: &Story, workflow_id: &str) -> Outcome {
    let reports = &story.admin.reports;
    let request = ListReportsRequest {
        filter: format!("workflow_id = \"{workflow_id}\""),
        ..Default::default()
    };
    until("four reports count it as completed", async || {
        let page = reports
            .clone()
            .list_reports(request.clone())
            .await?
            .into_inner();
        Ok(page.reports.len() == 4
            && page.reports.iter().all(|report| {
                let metrics = plain(report.metrics.as_ref());
                match report.report_type() {
                    ReportType::Execution => metrics["status"] == "COMPLETED",
                    _ => metrics["completedExecutions"] == 1 && metrics["totalExecutions"] == 1,
                }
            }))
    })
    .await?;
    let summary = reports
        .clone()
        .summarize_reports(SummarizeReportsRequest::default())
        .await?
        .into_inner();
    let total = summary.total.unwrap_or_default();
    assert_eq!((total.total_executions, total.completed_executions), (1, 1));
    assert_eq!(total.success_rate, Some(1.0));
    assert_eq!(summary.by_workflow[0].name, "Client Onboarding Process");
    assert_eq!(summary.by_client[0].name, "Acme Corporation");
    assert_eq!(summary.by_step.len(), 5);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_group_decides_and_only_once() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story
        .sequence(&[("Decide", "approval", json!({ "approverRole": "finance" }))])
        .await?;
    let clerk = story.user("clerk", &["clerks"]).await?;
    let finance = story.user("finance", &["finance"]).await?;
    let other = story.user("other", &["finance"]).await?;
    let execution = clerk.start(&workflow, json!({})).await?;
    let id = finance.task(&execution).await?.id;

    let approve = |id: &str| ApproveTaskRequest {
        id: id.into(),
        comment: String::new(),
        request_id: request_id(),
    };
    for outsider in [&clerk, &story.admin] {
        let answer = outsider.tasks.clone().approve_task(approve(&id)).await;
        refused(answer, Code::PermissionDenied, "NOT_YOUR_TASK")?;
    }
    let claim = ClaimTaskRequest {
        id: id.clone(),
        request_id: request_id(),
    };
    finance.tasks.clone().claim_task(claim).await?;
    let answer = other.tasks.clone().approve_task(approve(&id)).await;
    refused(answer, Code::FailedPrecondition, "TASK_CLAIMED")?;

    let reject = RejectTaskRequest {
        id: id.clone(),
        comment: "no".into(),
        request_id: request_id(),
    };
    let decided = finance
        .tasks
        .clone()
        .reject_task(reject.clone())
        .await?
        .into_inner();
    assert_eq!(plain(decided.output.as_ref())["approved"], false);
    let answer = finance.tasks.clone().approve_task(approve(&id)).await;
    refused(answer, Code::FailedPrecondition, "TASK_FINISHED")?;
    // The same call again is no second decision.
    finance.tasks.clone().reject_task(reject).await?;
    assert_eq!(
        clerk.finished(&execution.id).await?.status(),
        ExecutionStatus::Completed
    );
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incomplete_documents_end_the_onboarding_before_the_approval() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story.publish(DOCUMENTS[0]).await?;
    let clerk = story.user("clerk", &[]).await?;
    let execution = clerk.start(&workflow, json!({})).await?;
    clerk
        .submit(&execution, json!({ "documentsComplete": false }))
        .await?;
    assert_eq!(
        clerk.finished(&execution.id).await?.status(),
        ExecutionStatus::Completed
    );
    assert_eq!(
        clerk.logs(&execution.id).await?.len(),
        2,
        "untaken branches leave no log"
    );
    story.end().await
}
