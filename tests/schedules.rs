//! Executions that start by themselves.

use platform::client::{Session, request_id};
use prost_types::{Duration, FieldMask, Timestamp};
use proto::catalog::v1::Workflow;
use proto::execution::v1::{
    CreateScheduleRequest, DeleteScheduleRequest, GetScheduleRequest, ListExecutionsRequest,
    ListSchedulesRequest, OverlapPolicy, Schedule, TriggerScheduleRequest, UpdateScheduleRequest,
};
use serde_json::json;
use tonic::Code;

use crate::story::{Outcome, Story, object, plain, reason_of, refused, until};

fn nightly(workflow: &Workflow) -> CreateScheduleRequest {
    let schedule = Schedule {
        workflow_id: workflow.id.clone(),
        name: "Each night".into(),
        cron: "30 2 * * *".into(),
        time_zone: "Europe/Berlin".into(),
        metadata: Some(object(json!({ "inputData": { "kind": "nightly" } }))),
        ..Default::default()
    };
    CreateScheduleRequest {
        schedule: Some(schedule),
        request_id: request_id(),
    }
}

async fn shown(caller: &Session, id: &str) -> anyhow::Result<Schedule> {
    let request = GetScheduleRequest { id: id.into() };
    let mut schedules = caller.schedules.clone();
    Ok(schedules.get_schedule(request).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedule_is_kept_as_told() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story.sequence(&[("Decide", "approval", json!({}))]).await?;
    let user = story.user("planner", &[]).await?;
    let mut schedules = user.schedules.clone();

    let request = nightly(&workflow);
    let made = schedules
        .create_schedule(request.clone())
        .await?
        .into_inner();
    let again = schedules.create_schedule(request).await?.into_inner();
    assert_eq!(again, made);
    assert_eq!(made.overlap_policy(), OverlapPolicy::Skip);
    assert_eq!(
        made.catch_up_window,
        Some(Duration {
            seconds: 60,
            nanos: 0
        })
    );
    assert_eq!((made.next_times.len(), made.is_paused), (5, Some(false)));
    assert_eq!(
        made.created_by,
        story.find_user("planner@example.com").await?
    );

    let mut change = UpdateScheduleRequest {
        schedule: Some(Schedule {
            id: made.id.clone(),
            is_paused: Some(true),
            etag: made.etag.clone(),
            ..Default::default()
        }),
        update_mask: None,
    };
    let paused = schedules
        .update_schedule(change.clone())
        .await?
        .into_inner();
    assert!(paused.next_times.is_empty() && paused.etag != made.etag);
    assert_eq!((&paused.name, &paused.cron), (&made.name, &made.cron));
    refused(
        schedules.update_schedule(change.clone()).await,
        Code::Aborted,
        "STALE_ETAG",
    )?;
    change.schedule = Some(Schedule {
        id: made.id.clone(),
        ..Default::default()
    });
    let paths = ["is_paused", "time_zone", "metadata"].map(str::to_owned);
    change.update_mask = Some(FieldMask {
        paths: paths.into(),
    });
    let cleared = schedules
        .update_schedule(change.clone())
        .await?
        .into_inner();
    assert_eq!(
        (cleared.time_zone.as_str(), cleared.metadata.as_ref()),
        ("UTC", None)
    );
    assert_eq!(cleared.next_times.len(), 5);

    let mut late = change.clone();
    late.update_mask = None;
    late.schedule = Some(Schedule {
        id: made.id.clone(),
        end_at: Some(Timestamp {
            seconds: 9,
            nanos: 0,
        }),
        ..Default::default()
    });
    refused(
        schedules.update_schedule(late).await,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
    )?;

    let other = story.sequence(&[("Decide", "approval", json!({}))]).await?;
    change.schedule = Some(Schedule {
        id: made.id.clone(),
        workflow_id: other.id,
        ..Default::default()
    });
    refused(
        schedules.update_schedule(change).await,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
    )?;

    schedules.create_schedule(nightly(&workflow)).await?;
    let mut page = ListSchedulesRequest {
        page_size: 1,
        filter: format!("workflow_id = \"{}\" AND is_paused = false", workflow.id),
        order_by: "created_at desc".into(),
        ..Default::default()
    };
    let first = schedules.list_schedules(page.clone()).await?.into_inner();
    page.page_token = first.next_page_token;
    let second = schedules.list_schedules(page).await?.into_inner();
    assert_eq!(second.schedules[0].id, made.id);
    assert!(second.next_page_token.is_empty());

    let mut delete = DeleteScheduleRequest {
        id: made.id.clone(),
        etag: made.etag,
    };
    refused(
        schedules.delete_schedule(delete.clone()).await,
        Code::Aborted,
        "STALE_ETAG",
    )?;
    delete.etag = cleared.etag;
    schedules.delete_schedule(delete.clone()).await?;
    refused(
        schedules.delete_schedule(delete).await,
        Code::NotFound,
        "SCHEDULE_NOT_FOUND",
    )?;
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_comes_or_is_not_known_is_refused() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story.sequence(&[("Decide", "approval", json!({}))]).await?;
    let mut schedules = story.admin.schedules.clone();
    let good = nightly(&workflow).schedule.expect("it is given");
    let metadata = |value| Some(object(value));
    let second = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let wrong = [
        (
            "cron",
            Schedule {
                cron: "0 0 30 2 *".into(),
                ..good.clone()
            },
        ),
        (
            "cron",
            Schedule {
                cron: String::new(),
                ..good.clone()
            },
        ),
        (
            "name",
            Schedule {
                name: " Night".into(),
                ..good.clone()
            },
        ),
        (
            "time_zone",
            Schedule {
                time_zone: "Mars/Olympus".into(),
                ..good.clone()
            },
        ),
        (
            "overlap_policy",
            Schedule {
                overlap_policy: 9,
                ..good.clone()
            },
        ),
        (
            "catch_up_window",
            Schedule {
                catch_up_window: Some(Duration {
                    seconds: 9,
                    nanos: 0,
                }),
                ..good.clone()
            },
        ),
        (
            "catch_up_window",
            Schedule {
                catch_up_window: Some(Duration {
                    seconds: 604_801,
                    nanos: 0,
                }),
                ..good.clone()
            },
        ),
        (
            "end_at",
            Schedule {
                start_at: second(9),
                end_at: second(9),
                ..good.clone()
            },
        ),
        (
            "end_at",
            Schedule {
                end_at: second(9),
                ..good.clone()
            },
        ),
        (
            "metadata.simulation",
            Schedule {
                metadata: metadata(json!({ "simulation": true })),
                ..good.clone()
            },
        ),
        (
            "metadata.scheduledAt",
            Schedule {
                metadata: metadata(json!({ "scheduledAt": 1 })),
                ..good.clone()
            },
        ),
        (
            "metadata.inputData",
            Schedule {
                metadata: metadata(json!({ "inputData": 1 })),
                ..good.clone()
            },
        ),
    ];
    for (field, schedule) in wrong {
        let request = CreateScheduleRequest {
            schedule: Some(schedule),
            request_id: request_id(),
        };
        let status = schedules.create_schedule(request).await.expect_err(field);
        assert_eq!(reason_of(&status), "INVALID_ARGUMENT");
        assert!(
            status.message().starts_with(&format!("schedule.{field}: ")),
            "{status:?}"
        );
    }
    let request = CreateScheduleRequest {
        schedule: Some(Schedule {
            workflow_id: request_id(),
            ..good
        }),
        request_id: request_id(),
    };
    refused(
        schedules.create_schedule(request).await,
        Code::NotFound,
        "WORKFLOW_NOT_FOUND",
    )?;

    let full = format!(
        "insert into execution.schedules (id, workflow_id, name, cron, time_zone, overlap_policy, catch_up_ms,
            is_paused, created_by, created_at, updated_at)
         select gen_random_uuid(), '{}', 'n', '@daily', 'UTC', 'SKIP', 60000, true, 'x', now(), now()
           from generate_series(1, 1000)",
        workflow.id
    );
    story.alter(&full).await?;
    refused(
        schedules.create_schedule(nightly(&workflow)).await,
        Code::FailedPrecondition,
        "TOO_MANY_SCHEDULES",
    )?;
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn executions_start_when_it_is_time_and_when_somebody_says_so() -> Outcome {
    let story = Story::begin().await?;
    let workflow = story.sequence(&[("Decide", "approval", json!({}))]).await?;
    let mut schedules = story.admin.schedules.clone();
    let made = schedules
        .create_schedule(nightly(&workflow))
        .await?
        .into_inner();
    let come = "update execution.schedules set next_at = date_trunc('second', now())";
    story.alter(come).await?;
    until("the execution of the instant starts", async || {
        Ok(!shown(&story.admin, &made.id)
            .await?
            .last_execution_id
            .is_empty())
    })
    .await?;
    until("the instant is noted", async || {
        Ok(shown(&story.admin, &made.id).await?.next_times == made.next_times)
    })
    .await?;
    // The one that is open keeps the next instant from starting another one, but nobody from triggering it.
    story.alter(come).await?;
    until("the instant is skipped", async || {
        Ok(shown(&story.admin, &made.id).await?.skipped_count == 1)
    })
    .await?;
    let trigger = TriggerScheduleRequest {
        id: made.id.clone(),
        request_id: request_id(),
    };
    let triggered = schedules
        .trigger_schedule(trigger.clone())
        .await?
        .into_inner();
    let again = schedules.trigger_schedule(trigger).await?.into_inner();
    assert_eq!(again.id, triggered.id);
    assert_eq!(
        shown(&story.admin, &made.id).await?.last_execution_id,
        triggered.id
    );

    let request = ListExecutionsRequest {
        filter: format!("schedule_id = \"{}\"", made.id),
        order_by: "started_at".into(),
        ..Default::default()
    };
    let mut executions = story.admin.executions.clone();
    let listed = executions
        .list_executions(request)
        .await?
        .into_inner()
        .executions;
    let [first, second] = listed.as_slice() else {
        panic!("two executions, not {}", listed.len());
    };
    assert_eq!(second.id, triggered.id);
    assert_eq!(first.started_by, format!("schedule:{}", made.id));
    assert_ne!(second.started_by, first.started_by);
    let metadata = plain(first.metadata.as_ref());
    assert_eq!(metadata["inputData"], json!({ "kind": "nightly" }));
    assert!(metadata["scheduledAt"].is_string());
    story.end().await
}
