//! Workers' streams: jobs come as they are queued, answers are answered, and what ends a stream loses nothing.

use anyhow::Context;
use platform::client::request_id;
use proto::catalog::v1::{ApiKeyScope, RevokeApiKeyRequest};
use proto::execution::v1::job_answer::Answer;
use proto::execution::v1::{
    CompleteJobRequest, ExecutionStatus, ExtendJobRequest, FailJobRequest, Job, JobAnswer,
    JobSubscription, StreamJobsRequest, ThrowJobErrorRequest,
};
use serde_json::json;
use tonic::Code;

use crate::story::{Acts, Outcome, Story, object, reason_of, until};

use self::worker::{Worker, first, subscription};

mod worker;

fn complete(job: &Job) -> Answer {
    Answer::Complete(CompleteJobRequest {
        job_id: job.id.clone(),
        output: Some(object(json!({ "did": job.step_name }))),
        ..CompleteJobRequest::default()
    })
}

fn extend(job: &Job, seconds: i64) -> Answer {
    Answer::Extend(ExtendJobRequest {
        job_id: job.id.clone(),
        worker: String::new(),
        lease_duration: Some(prost_types::Duration { seconds, nanos: 0 }),
    })
}

fn fail(job: &Job, no_retry: bool) -> Answer {
    Answer::Fail(FailJobRequest {
        job_id: job.id.clone(),
        error_code: "BROKEN".into(),
        no_retry,
        ..FailJobRequest::default()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_has_its_result_and_a_bad_one_ends_nothing() -> Outcome {
    let story = Story::begin().await?;
    let admin = &story.admin;
    let retry =
        json!({ "action": "work", "retry": { "maxAttempts": 2, "initialInterval": "1ms" } });
    let steps = [
        ("A", "custom", json!({ "action": "work" })),
        ("B", "custom", retry),
    ];
    let workflow = story.sequence(&steps).await?;
    // Queued before the stream is there.
    let early = admin.start(&workflow, json!({ "n": 1 })).await?;
    let mut worker = Worker::open(admin, subscription("work", 10)).await?;
    let a = worker.job().await?;
    assert_eq!((&a.execution_id, a.step_name.as_str()), (&early.id, "A"));
    worker.answer(vec![(1, extend(&a, 600))]).await?;
    let extended = worker.result(1).await?.lease_expires_at;
    let (extended, before) = (extended.context("extended")?, a.lease_expires_at);
    assert!(extended.seconds > before.context("leased")?.seconds + 500);
    worker.answer(vec![(2, complete(&a))]).await?;
    assert_eq!(worker.reason(2).await?, "");
    let b = worker.job().await?;
    assert_eq!((b.step_name.as_str(), b.attempt), ("B", 1));
    worker.answer(vec![(3, fail(&b, false))]).await?;
    let failed = worker.result(3).await?;
    assert!(failed.will_retry && failed.error.is_none(), "{failed:?}");
    let again = worker.job().await?;
    assert_eq!((again.step_name.as_str(), again.attempt), ("B", 2));

    let unknown = Job {
        id: request_id(),
        ..Job::default()
    };
    let malformed = Job {
        id: "x".into(),
        ..Job::default()
    };
    let other = Answer::Complete(CompleteJobRequest {
        job_id: again.id.clone(),
        worker: "somebody else".into(),
        ..CompleteJobRequest::default()
    });
    let code = Answer::ThrowError(ThrowJobErrorRequest {
        job_id: again.id.clone(),
        ..ThrowJobErrorRequest::default()
    });
    let bad = vec![
        (10, complete(&a), "JOB_NOT_HELD"),
        (11, extend(&a, 60), "JOB_NOT_HELD"),
        (12, complete(&unknown), "JOB_NOT_FOUND"),
        (13, extend(&unknown, 60), "JOB_NOT_FOUND"),
        (14, fail(&malformed, false), "INVALID_ARGUMENT"),
        (15, extend(&again, 0), "INVALID_ARGUMENT"),
        (16, other, "JOB_NOT_HELD"),
        (17, code, "INVALID_ARGUMENT"),
    ];
    let answers = bad.iter().map(|(n, answer, _)| (*n, answer.clone()));
    worker.answer(answers.collect()).await?;
    let nothing = JobAnswer {
        number: 18,
        answer: None,
    };
    worker
        .tell(StreamJobsRequest {
            answers: vec![nothing],
            ..StreamJobsRequest::default()
        })
        .await?;
    for (number, answer, reason) in bad {
        assert_eq!(worker.reason(number).await?, reason, "{answer:?}");
    }
    let refused = worker.result(18).await?.error.context("refused")?;
    assert_eq!(refused.code, Code::InvalidArgument as i32);
    assert_eq!(refused.fields[0].field, "answer");

    // The same request twice, the second time by a call of its own.
    let request = CompleteJobRequest {
        job_id: again.id.clone(),
        worker: "story".into(),
        output: None,
        request_id: request_id(),
    };
    worker
        .answer(vec![(20, Answer::Complete(request.clone()))])
        .await?;
    assert_eq!(worker.reason(20).await?, "");
    admin.jobs.clone().complete_job(request).await?;
    assert_eq!(
        admin.finished(&early.id).await?.status(),
        ExecutionStatus::Completed
    );

    let thrown = admin.start(&workflow, json!({})).await?;
    let job = worker.job().await?;
    let error = Answer::ThrowError(ThrowJobErrorRequest {
        job_id: job.id.clone(),
        error_code: "NO_STOCK".into(),
        ..ThrowJobErrorRequest::default()
    });
    worker.answer(vec![(30, error)]).await?;
    assert_eq!(worker.reason(30).await?, "");
    let thrown = admin.finished(&thrown.id).await?;
    assert_eq!(thrown.error_code, "NO_STOCK");

    // Whoever closes its side hears what became of its last words.
    let last = admin.start(&workflow, json!({})).await?;
    let job = worker.job().await?;
    worker.answer(vec![(40, fail(&job, true))]).await?;
    worker.say = None;
    assert!(worker.end().await.is_none(), "it ends with OK");
    let told = worker.results.remove(&40).context("it was answered")?;
    assert!(!told.will_retry && told.error.is_none(), "{told:?}");
    assert_eq!(
        admin.finished(&last.id).await?.status(),
        ExecutionStatus::Failed
    );
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_the_rules_of_a_stream_ends_it() -> Outcome {
    let story = Story::begin().await?;
    let good = || subscription("work", 1);
    let wrong = |change: fn(&mut JobSubscription)| {
        let mut asked = good();
        change(&mut asked);
        first(asked)
    };
    let many = JobAnswer {
        number: 1,
        answer: None,
    };
    let firsts = [
        (StreamJobsRequest::default(), "subscription"),
        (wrong(|it| it.worker.clear()), "subscription.worker"),
        (wrong(|it| it.job_types.clear()), "subscription.job_types"),
        (
            wrong(|it| it.job_types = vec![String::new()]),
            "subscription.job_types[0]",
        ),
        (wrong(|it| it.credit = 0), "subscription.credit"),
        (wrong(|it| it.credit = 1001), "subscription.credit"),
        (
            wrong(|it| it.lease_duration = Some(prost_types::Duration::default())),
            "subscription.lease_duration",
        ),
        (
            StreamJobsRequest {
                credit: Some(-1),
                ..first(good())
            },
            "credit",
        ),
        (
            StreamJobsRequest {
                answers: vec![many; 1001],
                ..first(good())
            },
            "answers",
        ),
    ];
    for (message, field) in firsts {
        let mut worker = Worker::begin(&story.admin, message).await?;
        let ended = worker.end().await.context("it ends with a reason")?;
        assert_eq!(ended.code(), Code::InvalidArgument, "{field}");
        let named = tonic_types::StatusExt::get_details_bad_request(&ended);
        let named = named.context("fields")?.field_violations;
        assert_eq!(named[0].field, field);
    }
    let mut worker = Worker::open(&story.admin, good()).await?;
    worker.tell(first(good())).await?;
    let ended = worker.end().await.context("it ends with a reason")?;
    assert_eq!(ended.code(), Code::InvalidArgument);
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_of_a_worker_that_is_silent_goes_to_another_one() -> Outcome {
    let story = Story::begin().await?;
    let config =
        json!({ "action": "work", "retry": { "maxAttempts": 20, "initialInterval": "1ms" } });
    let workflow = story.sequence(&[("A", "custom", config)]).await?;
    let short = JobSubscription {
        lease_duration: Some(prost_types::Duration {
            seconds: 1,
            nanos: 0,
        }),
        ..subscription("work", 1)
    };
    let mut silent = Worker::open(&story.admin, short).await?;
    let execution = story.admin.start(&workflow, json!({})).await?;
    let lost = silent.job().await?;
    let mut other = Worker::open(&story.admin, subscription("work", 1)).await?;
    // The silent one has credit again, too: it keeps losing the job until it is the other's turn.
    let mut taken = None;
    while taken.is_none() {
        tokio::select! {
            job = other.job() => taken = Some(job?),
            job = silent.job() => drop(job?),
        }
    }
    let taken = taken.context("taken")?;
    assert!(taken.attempt > lost.attempt, "{taken:?}");
    silent.answer(vec![(1, complete(&lost))]).await?;
    assert_eq!(silent.reason(1).await?, "JOB_NOT_HELD");
    other.answer(vec![(1, complete(&taken))]).await?;
    assert_eq!(other.reason(1).await?, "");
    let over = story.admin.finished(&execution.id).await?;
    assert_eq!(over.status(), ExecutionStatus::Completed);
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_ends_with_its_key() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story
        .sequence(&[("A", "custom", json!({ "action": "work" }))])
        .await?;
    let (key, machine) = story.machine(ApiKeyScope::Worker).await?;
    let mut worker = Worker::open(&machine, subscription("work", 5)).await?;
    story.admin.start(&workflow, json!({})).await?;
    let job = worker.job().await?;
    worker.answer(vec![(1, complete(&job))]).await?;
    assert_eq!(worker.reason(1).await?, "");
    let revoke = RevokeApiKeyRequest {
        id: key.id,
        etag: String::new(),
    };
    story.admin.api_keys.clone().revoke_api_key(revoke).await?;
    let ended = worker.end().await.context("it ends with a reason")?;
    assert_eq!(
        (ended.code(), reason_of(&ended).as_str()),
        (Code::Unauthenticated, "TOKEN_REVOKED")
    );
    // What is queued from now on is somebody else's.
    let mut other = Worker::open(&story.admin, subscription("work", 1)).await?;
    let second = story.admin.start(&workflow, json!({})).await?;
    let job = other.job().await?;
    assert_eq!(job.execution_id, second.id);
    other.answer(vec![(1, complete(&job))]).await?;
    assert_eq!(other.reason(1).await?, "");
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_ends_when_the_service_stops_and_its_answers_stand() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story
        .sequence(&[("A", "custom", json!({ "action": "work" }))])
        .await?;
    let mut worker = Worker::open(&story.admin, subscription("work", 5)).await?;
    let execution = story.admin.start(&workflow, json!({})).await?;
    let job = worker.job().await?;
    worker.answer(vec![(1, complete(&job))]).await?;
    assert_eq!(worker.reason(1).await?, "");
    story.admin.finished(&execution.id).await?;
    let undelivered = "select count(*) from execution.outbox";
    until("the outbox is empty", async || {
        Ok(story.recount(undelivered).await? == 0)
    })
    .await?;
    let ended = tokio::spawn(async move { worker.end().await });
    story.running.stop().await?;
    let ended = ended.await?.context("it ends with a reason")?;
    assert_eq!(
        (ended.code(), reason_of(&ended).as_str()),
        (Code::Unavailable, "STOPPING")
    );
    Ok(())
}
