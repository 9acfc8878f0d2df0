//! How executions come to be: under a business key, many at once, in place of others, by schedule.

use std::collections::BTreeSet;

use platform::client::{Session, request_id};
use proto::catalog::v1::{DeactivateWorkflowRequest, Workflow};
use proto::execution::v1::{
    BatchStartExecutionsRequest, BusinessKeyPolicy, CancelExecutionRequest, Execution,
    ExecutionStatus, FailJobRequest, ListExecutionsRequest, RestartExecutionRequest,
    SignalOrStartExecutionRequest, StartExecutionRequest,
};
use proto::reporting::v1::ListReportsRequest;
use serde_json::json;
use tonic::{Code, Response, Status};

use crate::story::{Acts, Outcome, Story, object, plain, reason_of, refused, until};

fn keyed(workflow: &Workflow, key: &str, policy: BusinessKeyPolicy) -> StartExecutionRequest {
    StartExecutionRequest {
        workflow_id: workflow.id.clone(),
        request_id: request_id(),
        business_key: key.into(),
        business_key_policy: policy.into(),
        ..Default::default()
    }
}

async fn start(
    caller: &Session,
    request: &StartExecutionRequest,
) -> Result<Response<Execution>, Status> {
    let mut executions = caller.executions.clone();
    executions.start_execution(request.clone()).await
}

async fn cancel(caller: &Session, id: &str) -> Outcome {
    let request = CancelExecutionRequest {
        id: id.into(),
        request_id: request_id(),
        ..Default::default()
    };
    caller.executions.clone().cancel_execution(request).await?;
    Ok(())
}

async fn listed(caller: &Session, filter: String) -> anyhow::Result<Vec<Execution>> {
    let request = ListExecutionsRequest {
        filter,
        ..Default::default()
    };
    let page = caller.executions.clone().list_executions(request).await?;
    Ok(page.into_inner().executions)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn business_key_is_used_again_as_its_policy_says() -> Outcome {
    use BusinessKeyPolicy::{AllowDuplicate, RejectAlways, RejectWhileRunning, ReturnRunning};
    let story = Story::begin().await?;
    let admin = &story.admin;
    let steps = [("Decide", "approval", json!({}))];
    let (workflow, other) = (story.sequence(&steps).await?, story.sequence(&steps).await?);

    let first = keyed(&workflow, "order 7", RejectAlways);
    let begun = start(admin, &first).await?.into_inner();
    assert_eq!(begun.business_key, "order 7");
    for policy in [RejectWhileRunning, RejectAlways] {
        let answer = start(admin, &keyed(&workflow, "order 7", policy)).await;
        let status = answer.as_ref().expect_err("the key is in use");
        assert!(status.message().contains(&begun.id), "{status:?}");
        refused(answer, Code::AlreadyExists, "BUSINESS_KEY_IN_USE")?;
    }
    // A repetition finds what it started, whatever the policy; so does who asks for the running one.
    let found = [first, keyed(&workflow, "order 7", ReturnRunning)];
    for request in &found {
        assert_eq!(start(admin, request).await?.into_inner().id, begun.id);
    }
    // Case, workflow and simulation make a difference.
    start(admin, &keyed(&workflow, "Order 7", RejectAlways)).await?;
    start(admin, &keyed(&other, "order 7", RejectAlways)).await?;
    let simulation = StartExecutionRequest {
        metadata: Some(object(json!({ "simulation": true }))),
        ..keyed(&workflow, "order 7", RejectAlways)
    };
    start(admin, &simulation).await?;

    let second = start(admin, &keyed(&workflow, "order 7", AllowDuplicate)).await?;
    cancel(admin, &second.get_ref().id).await?;
    cancel(admin, &begun.id).await?;
    refused(
        start(admin, &keyed(&workflow, "order 7", RejectAlways)).await,
        Code::AlreadyExists,
        "BUSINESS_KEY_IN_USE",
    )?;
    let third = start(admin, &keyed(&workflow, "order 7", ReturnRunning)).await?;
    let filter = format!(
        "workflow_id = \"{}\" AND business_key = \"order 7\" AND simulation = false",
        workflow.id
    );
    let ids: Vec<String> = (listed(admin, filter).await?.into_iter())
        .map(|execution| execution.id)
        .collect();
    let (second, third) = (&second.get_ref().id, &third.get_ref().id);
    assert_eq!(ids, [third.as_str(), second, &begun.id]);

    for request in [
        keyed(&workflow, "", RejectAlways),
        keyed(&workflow, "two\nlines", AllowDuplicate),
        keyed(&workflow, &"x".repeat(201), AllowDuplicate),
    ] {
        refused(
            start(admin, &request).await,
            Code::InvalidArgument,
            "INVALID_ARGUMENT",
        )?;
    }
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_starts_with_a_key_at_once_one_succeeds() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story.sequence(&[("Decide", "approval", json!({}))]).await?;
    let policies = [
        (BusinessKeyPolicy::RejectWhileRunning, 1),
        (BusinessKeyPolicy::RejectAlways, 1),
        (BusinessKeyPolicy::ReturnRunning, 40),
    ];
    for (policy, answered) in policies {
        let mut starting = tokio::task::JoinSet::new();
        for _ in 0..40 {
            let (caller, request) = (
                story.admin.clone(),
                keyed(&workflow, &format!("{policy:?}"), policy),
            );
            starting.spawn(async move { start(&caller, &request).await });
        }
        let mut ids = BTreeSet::new();
        let mut successes = 0;
        for answer in starting.join_all().await {
            match answer {
                Ok(execution) => {
                    successes += 1;
                    ids.insert(execution.into_inner().id);
                }
                Err(status) => assert_eq!(reason_of(&status), "BUSINESS_KEY_IN_USE"),
            }
        }
        assert_eq!((ids.len(), successes), (1, answered), "{policy:?}");
    }
    // A key is free again at the moment its execution is over, even if all of it is one commit.
    let at_once = story
        .sequence(&[("Tell", "notification", json!({}))])
        .await?;
    let requests =
        (0..100).map(|_| keyed(&at_once, "short", BusinessKeyPolicy::RejectWhileRunning));
    let batch = BatchStartExecutionsRequest {
        requests: requests.collect(),
    };
    let mut executions = story.admin.executions.clone();
    let results = executions
        .batch_start_executions(batch)
        .await?
        .into_inner()
        .results;
    assert!(
        results.iter().all(|result| result.error.is_none()),
        "{results:?}"
    );
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batch_starts_what_it_can_and_says_what_it_could_not() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story.sequence(&[("Decide", "approval", json!({}))]).await?;
    let mut executions = story.admin.executions.clone();
    let ordinary = || keyed(&workflow, "", BusinessKeyPolicy::Unspecified);
    let wrong = StartExecutionRequest {
        workflow_id: "7".into(),
        ..ordinary()
    };
    let unknown = StartExecutionRequest {
        workflow_id: request_id(),
        ..ordinary()
    };
    let simulation = StartExecutionRequest {
        metadata: Some(object(json!({ "simulation": true }))),
        ..ordinary()
    };
    let mut requests = vec![ordinary(); 997];
    for request in &mut requests {
        request.request_id = request_id();
    }
    requests.splice(500..500, [wrong, unknown, simulation]);
    let batch = BatchStartExecutionsRequest { requests };
    let answer = executions
        .batch_start_executions(batch.clone())
        .await?
        .into_inner();
    let (mut ids, mut errors) = (BTreeSet::new(), Vec::new());
    for (at, result) in answer.results.iter().enumerate() {
        match &result.error {
            None => {
                let execution = result.execution.as_ref().expect("the answer has room");
                assert_eq!(execution.id, result.execution_id);
                assert_eq!(execution.status(), ExecutionStatus::Running);
                ids.insert(result.execution_id.clone());
            }
            Some(error) => errors.push((at, error.code, error.reason.as_str())),
        }
    }
    assert_eq!(ids.len(), 997);
    let invalid = Code::InvalidArgument as i32;
    assert_eq!(
        errors,
        [
            (500, invalid, "INVALID_ARGUMENT"),
            (501, Code::NotFound as i32, "WORKFLOW_NOT_FOUND"),
            (502, invalid, "INVALID_ARGUMENT"),
        ]
    );
    let fields = &answer.results[500].error.as_ref().expect("refused").fields;
    assert_eq!(fields[0].field, "workflow_id");
    // Sent again it starts nothing.
    let again = executions.batch_start_executions(batch).await?.into_inner();
    let same = |results: &[proto::execution::v1::StartResult]| -> Vec<String> {
        results
            .iter()
            .map(|result| result.execution_id.clone())
            .collect()
    };
    assert_eq!(same(&again.results), same(&answer.results));
    for count in [0, 1001] {
        let batch = BatchStartExecutionsRequest {
            requests: vec![ordinary(); count],
        };
        refused(
            executions.batch_start_executions(batch).await,
            Code::InvalidArgument,
            "INVALID_ARGUMENT",
        )?;
    }
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_takes_over_what_was_done() -> Outcome {
    let story = Story::begin().await?;
    let admin = &story.admin;
    let once = json!({ "retry": { "maxAttempts": 1 } });
    let workflow = story
        .sequence(&[
            ("Tell", "notification", json!({})),
            ("Enter", "data_entry", json!({})),
            ("Work", "custom-work", once),
        ])
        .await?;
    let request = StartExecutionRequest {
        metadata: Some(object(
            json!({ "inputData": { "given": 1 }, "region": "eu" }),
        )),
        ..keyed(&workflow, "case 1", BusinessKeyPolicy::RejectAlways)
    };
    let old = start(admin, &request).await?.into_inner();
    let mut executions = admin.executions.clone();
    let restart = RestartExecutionRequest {
        id: old.id.clone(),
        request_id: request_id(),
        ..Default::default()
    };
    refused(
        executions.restart_execution(restart.clone()).await,
        Code::FailedPrecondition,
        "EXECUTION_NOT_FINISHED",
    )?;
    admin.submit(&old, json!({ "entered": 2 })).await?;
    let job = admin.job("custom-work").await?;
    let failure = FailJobRequest {
        job_id: job.id,
        worker: "story".into(),
        error_code: "BROKEN".into(),
        request_id: request_id(),
        ..Default::default()
    };
    admin.jobs.clone().fail_job(failure).await?;
    assert_eq!(
        admin.finished(&old.id).await?.status(),
        ExecutionStatus::Failed
    );

    let new = executions
        .restart_execution(restart.clone())
        .await?
        .into_inner();
    assert_eq!(new.restarted_from_id, old.id);
    assert_eq!(
        (&new.metadata, &new.business_key),
        (&old.metadata, &old.business_key)
    );
    let again = executions
        .restart_execution(restart.clone())
        .await?
        .into_inner();
    assert_eq!(again.id, new.id);
    let job = admin.job("custom-work").await?;
    assert_eq!(job.execution_id, new.id);
    assert_eq!(
        plain(job.data.as_ref()),
        json!({ "given": 1, "entered": 2 })
    );
    admin.complete(&job, json!({})).await?;
    let done = admin.finished(&new.id).await?;
    assert_eq!(done.status(), ExecutionStatus::Completed);
    let logs = admin.logs(&new.id).await?;
    let told: Vec<_> = logs
        .iter()
        .map(|log| (log.step_name.as_str(), log.from_seq))
        .collect();
    assert_eq!(told, [("Tell", 0), ("Enter", 1), ("Work", 2)]);
    assert!(
        logs[1]
            .message
            .ends_with(&format!("taken over from execution {}", old.id))
    );
    let sent = format!(
        "select count(*) from execution.notifications where execution_id = '{}'",
        new.id
    );
    assert_eq!(story.recount(&sent).await?, 0);
    // What was taken over is told once, by the execution that did it.
    let counted = |id: &str| ListReportsRequest {
        filter: format!("execution_id = \"{id}\""),
        ..Default::default()
    };
    for (id, steps) in [(&old.id, vec![0, 1, 2]), (&new.id, vec![2])] {
        let mut steps: Vec<&str> = steps.iter().map(|at: &usize| &*logs[*at].step_id).collect();
        steps.sort_unstable();
        until("its report tells what it did", async || {
            let mut reports = admin.reports.clone();
            let page = reports.list_reports(counted(id)).await?.into_inner();
            let told = page.reports.first().and_then(|it| it.metrics.as_ref());
            let metrics = plain(told);
            let told = metrics["steps"].as_object();
            Ok(metrics["executionTime"].is_number()
                && told.is_some_and(|told| told.keys().eq(steps.iter())))
        })
        .await?;
    }
    let filter = format!("restarted_from_id = \"{}\"", old.id);
    let found = listed(admin, filter).await?;
    assert_eq!(found.iter().map(|it| &it.id).collect::<Vec<_>>(), [&new.id]);

    // What is COMPLETED begins again at a step only.
    let mut from = RestartExecutionRequest {
        id: new.id.clone(),
        request_id: request_id(),
        ..Default::default()
    };
    refused(
        executions.restart_execution(from.clone()).await,
        Code::FailedPrecondition,
        "EXECUTION_COMPLETED",
    )?;
    from.from_step_id = request_id();
    refused(
        executions.restart_execution(from.clone()).await,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
    )?;
    from.from_step_id = workflow.steps[1].id.clone();
    from.use_current_version = true;
    let third = executions
        .restart_execution(from.clone())
        .await?
        .into_inner();
    assert_eq!(third.waits[0].step_name, "Enter");

    let cancelled = start(admin, &keyed(&workflow, "", BusinessKeyPolicy::Unspecified)).await?;
    cancel(admin, &cancelled.get_ref().id).await?;
    let unreached = RestartExecutionRequest {
        id: cancelled.get_ref().id.clone(),
        from_step_id: workflow.steps[2].id.clone(),
        request_id: request_id(),
        ..Default::default()
    };
    refused(
        executions.restart_execution(unreached).await,
        Code::FailedPrecondition,
        "STEP_NOT_REACHED",
    )?;

    // Whatever has become of the workflow since, a repetition finds what it started.
    let stop = DeactivateWorkflowRequest {
        id: workflow.id.clone(),
    };
    admin.workflows.clone().deactivate_workflow(stop).await?;
    let found = executions
        .restart_execution(from.clone())
        .await?
        .into_inner();
    assert_eq!(found.id, third.id);
    from.request_id = request_id();
    refused(
        executions.restart_execution(from).await,
        Code::FailedPrecondition,
        "WORKFLOW_NOT_ACTIVE",
    )?;
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signal_finds_the_execution_of_its_key_or_starts_it() -> Outcome {
    let story = Story::begin().await?;
    let message = |name: &str| json!({ "name": name, "correlation": "order" });
    let workflow = story
        .sequence(&[
            ("Ordered", "signal", message("ordered")),
            ("Paid", "signal", message("paid")),
        ])
        .await?;
    let admin = &story.admin;
    let signal = |name: &str, data: serde_json::Value| SignalOrStartExecutionRequest {
        workflow_id: workflow.id.clone(),
        business_key: "order 9".into(),
        name: name.into(),
        data: Some(object(data)),
        request_id: request_id(),
        ..Default::default()
    };
    let mut telling = tokio::task::JoinSet::new();
    for name in ["ordered", "paid"] {
        let mut executions = admin.executions.clone();
        let request = signal(name, json!({ "order": 9, "by": name }));
        telling.spawn(async move {
            let told = executions
                .signal_or_start_execution(request.clone())
                .await?;
            let again = executions.signal_or_start_execution(request).await?;
            assert_eq!(again.get_ref().id, told.get_ref().id);
            Ok::<_, Status>(told.into_inner().id)
        });
    }
    let mut ids = BTreeSet::new();
    for id in telling.join_all().await {
        ids.insert(id?);
    }
    // Whichever came first started it, and all reached it, each once.
    assert_eq!(ids.len(), 1);
    let id = ids.into_iter().next().unwrap_or_default();
    let done = admin.finished(&id).await?;
    assert_eq!(
        (done.status(), done.business_key.as_str()),
        (ExecutionStatus::Completed, "order 9")
    );
    let logs = admin.logs(&id).await?;
    let by: Vec<_> = logs
        .iter()
        .map(|log| plain(log.data.as_ref())["by"].clone())
        .collect();
    assert_eq!(by, ["ordered", "paid"]);
    assert_eq!(plain(done.metadata.as_ref())["inputData"]["order"], 9);

    // The next one starts another execution, with the metadata that is given.
    let mut request = signal("ordered", json!({ "quick": true }));
    request.metadata = Some(object(json!({ "inputData": { "order": 10 } })));
    let mut executions = admin.executions.clone();
    let next = executions
        .signal_or_start_execution(request)
        .await?
        .into_inner();
    assert_ne!(next.id, id);
    assert_eq!(next.waits[0].step_name, "Paid");
    cancel(admin, &next.id).await?;
    for wrong in [
        SignalOrStartExecutionRequest {
            business_key: String::new(),
            ..signal("ordered", json!({}))
        },
        SignalOrStartExecutionRequest {
            metadata: Some(object(json!({ "simulation": true }))),
            ..signal("ordered", json!({}))
        },
    ] {
        let answer = executions.signal_or_start_execution(wrong).await;
        refused(answer, Code::InvalidArgument, "INVALID_ARGUMENT")?;
    }
    story.end().await
}
