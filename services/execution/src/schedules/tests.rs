//! The loop, stepped: rows are made due, and a catalog of the test's own says what may start.

use chrono::TimeDelta;
use serde_json::json;

use super::*;
use crate::fixtures::catalog::{Replica, Stage};

/// A schedule of each minute.
struct Clock {
    stage: Stage,
    workflow: Uuid,
    id: Uuid,
}

impl Clock {
    /// Overlap policy, and minutes within which instants are made up.
    async fn new(overlap: Overlap, catch_up_minutes: i64) -> Self {
        let stage = Stage::new().await;
        let workflow = stage.publish(1, &[("pack", "pack", json!({}))]).await;
        let id = Uuid::now_v7();
        let sql = format!(
            "insert into execution.schedules (id, workflow_id, name, cron, time_zone, metadata, overlap_policy,
                catch_up_ms, is_paused, created_by, created_at, updated_at)
             values ('{id}', '{workflow}', 'Each minute', '* * * * *', 'UTC', '{{\"region\": \"eu\"}}', '{}', {},
                false, 'ann', now(), now())",
            overlap.as_str(),
            catch_up_minutes * 60_000,
        );
        stage.world.run(&sql).await;
        Self {
            stage,
            workflow,
            id,
        }
    }

    /// Lets the instant come that lies so many minutes back, and those that follow it until now.
    async fn let_come(&self, minutes: i64) {
        self.stage
            .world
            .run(&format!(
                "update execution.schedules
                    set next_at = date_trunc('minute', now()) - interval '{minutes} minutes',
                        end_at = case when {minutes} > 0 then now() end"
            ))
            .await;
    }

    async fn step(&self, replica: &Replica) {
        tick(&self.stage.world.pool, &replica.committer)
            .await
            .expect("the database answers");
    }

    /// Executions by status, in the order of their starts.
    async fn statuses(&self) -> Vec<String> {
        let sql = "select status from execution.workflow_executions order by started_at, id";
        let rows = self.stage.world.rows(sql).await;
        rows.iter()
            .map(|row| row["status"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn schedule(&self) -> schedules::Schedule {
        let mut conn = self.stage.world.pool.acquire().await.unwrap();
        schedules::get(&mut conn, self.id).await.unwrap().unwrap()
    }

    /// Ends whatever is open.
    async fn end_all(&self, replica: &Replica) {
        let mut conn = self.stage.world.pool.acquire().await.unwrap();
        let open = schedules::open_executions(&mut conn, self.id, 10)
            .await
            .unwrap();
        cancel(&replica.committer, self.id, open).await.unwrap();
    }
}

#[tokio::test]
async fn instant_starts_one_execution_however_often_it_is_taken_up() {
    let clock = Clock::new(Overlap::Skip, 10).await;
    let replicas = [clock.stage.replica(), clock.stage.replica()];
    clock.let_come(0).await;
    let came = clock.schedule().await.next_at.unwrap();
    tokio::join!(clock.step(&replicas[0]), clock.step(&replicas[1]));
    let after = clock.schedule().await;
    assert_eq!(after.next_at, Some(came + TimeDelta::minutes(1)));
    assert_eq!(
        (after.skipped_count, after.missed_count, after.last_error),
        (0, 0, None)
    );

    // A replica dies between the start and the note of it.
    clock
        .stage
        .world
        .run(&format!(
            "update execution.schedules set next_at = '{came}'"
        ))
        .await;
    clock.step(&replicas[0]).await;
    let again = clock.schedule().await;
    assert_eq!((again.next_at, again.skipped_count), (after.next_at, 0));

    let rows = clock
        .stage
        .world
        .rows("select * from execution.workflow_executions")
        .await;
    let [row] = rows.as_slice() else {
        panic!("one execution, not {}", rows.len());
    };
    assert_eq!(row["schedule_id"], json!(clock.id));
    assert_eq!(row["started_by"], json!(format!("schedule:{}", clock.id)));
    let stamp = came.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    assert_eq!(
        row["metadata"],
        json!({ "region": "eu", "scheduledAt": stamp })
    );
    assert_eq!(
        again.last_execution_id.map(|id| json!(id)).as_ref(),
        Some(&row["id"])
    );
}

#[tokio::test]
async fn overlap_is_what_the_policy_says() {
    for (policy, statuses, skipped, buffered) in [
        (
            Overlap::Allow,
            &["RUNNING", "RUNNING", "RUNNING"][..],
            0,
            false,
        ),
        (Overlap::Skip, &["RUNNING"], 2, false),
        (Overlap::BufferOne, &["RUNNING"], 1, true),
        (
            Overlap::CancelRunning,
            &["CANCELLED", "CANCELLED", "RUNNING"],
            0,
            false,
        ),
    ] {
        let clock = Clock::new(policy, 60).await;
        let replica = clock.stage.replica();
        clock.let_come(2).await;
        clock.step(&replica).await;
        assert_eq!(clock.statuses().await, statuses, "{policy:?}");
        let schedule = clock.schedule().await;
        assert_eq!(schedule.skipped_count, skipped, "{policy:?}");
        assert_eq!(schedule.buffered_at.is_some(), buffered, "{policy:?}");
        if buffered {
            clock.end_all(&replica).await;
            clock.step(&replica).await;
            assert_eq!(clock.statuses().await, ["CANCELLED", "RUNNING"]);
            assert_eq!(clock.schedule().await.buffered_at, None);
        }
    }
}

#[tokio::test]
async fn instants_are_made_up_within_the_window_and_counted_before_it() {
    let clock = Clock::new(Overlap::Allow, 5).await;
    let replica = clock.stage.replica();
    clock.let_come(3000).await;
    clock.step(&replica).await;
    let made_up = clock.statuses().await.len() as i64;
    // A minute may have passed meanwhile.
    assert!((4..=5).contains(&made_up), "{made_up}");
    assert_eq!(clock.schedule().await.missed_count, 3001 - made_up);
}

#[tokio::test]
async fn outage_of_the_catalog_delays_and_a_refusal_is_told() {
    let clock = Clock::new(Overlap::Allow, 60).await;
    let replica = clock.stage.replica();
    clock.stage.set_away(true);
    clock.let_come(0).await;
    let before = clock.schedule().await;
    clock.step(&replica).await;
    let after = clock.schedule().await;
    assert_eq!(
        (after.next_at, after.skipped_count, after.last_error),
        (before.next_at, 0, None)
    );

    clock.stage.set_away(false);
    clock.stage.set_status(clock.workflow, "INACTIVE");
    clock.step(&replica).await;
    let refused = clock.schedule().await;
    assert!(refused.next_at > before.next_at);
    assert_eq!(
        (refused.skipped_count, refused.last_error_at),
        (1, before.next_at)
    );
    let told = refused.last_error.expect("it was refused");
    assert!(told.contains("WORKFLOW_NOT_ACTIVE"), "{told}");

    clock.stage.set_status(clock.workflow, "ACTIVE");
    clock.let_come(1).await;
    clock.step(&replica).await;
    let started = clock.schedule().await;
    assert_eq!((started.skipped_count, started.last_error), (1, None));
    assert!(started.last_execution_id.is_some());
}

#[tokio::test]
async fn what_is_changed_meanwhile_wins() {
    let clock = Clock::new(Overlap::Skip, 60).await;
    clock.let_come(0).await;
    let mut conn = clock.stage.world.pool.acquire().await.unwrap();
    let due = schedules::due(&mut conn, 10).await.unwrap();
    clock
        .stage
        .world
        .run("update execution.schedules set revision = revision + 1, next_at = null")
        .await;
    let noted = Noted {
        next_at: Some(due[0].now),
        ..Noted::default()
    };
    assert!(!schedules::note(&mut conn, &due[0], &noted).await.unwrap());
    assert_eq!(clock.schedule().await.next_at, None);
}
