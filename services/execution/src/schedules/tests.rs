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

    /// Lets a single instant come that lies so many minutes back; returns it.
    async fn let_one_come(&self, minutes: i64) -> DateTime<Utc> {
        self.let_come(minutes).await;
        self.change("end_at = next_at + interval '30 seconds'")
            .await;
        self.schedule().await.next_at.expect("it is set")
    }

    async fn change(&self, assignments: &str) {
        let sql = format!("update execution.schedules set {assignments}");
        self.stage.world.run(&sql).await;
    }

    /// Lets a replica do what is due.
    async fn step(&self, replica: &Replica) {
        let mut attending = JoinSet::new();
        loop {
            let pool = &self.stage.world.pool;
            let nap = tick(pool, &replica.committer, &mut attending).await;
            nap.expect("the database answers");
            match attending.join_next().await {
                Some(done) => done.expect("it does not panic"),
                None => break,
            }
        }
    }

    async fn lease(&self, limit: i64) -> Vec<Due> {
        let mut conn = self.stage.world.pool.acquire().await.unwrap();
        schedules::lease(&mut conn, limit, LEASE).await.unwrap()
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
        let sql = "select id from execution.workflow_executions where status = 'RUNNING'";
        let rows = self.stage.world.rows(sql).await;
        let open = rows.iter().map(|row| row["id"].as_str().unwrap());
        let open = open.map(|id| id.parse().unwrap()).collect();
        cancel(&replica.committer, self.id, open).await.unwrap();
    }
}

/// Instants from one to before the other: there is one a minute.
fn minutes(from: DateTime<Utc>, to: Option<DateTime<Utc>>) -> i64 {
    to.map_or(0, |to| (to - from).num_minutes())
}

#[tokio::test]
async fn instant_starts_one_execution_however_often_it_is_taken_up() {
    let clock = Clock::new(Overlap::Skip, 10).await;
    let replicas = [clock.stage.replica(), clock.stage.replica()];
    clock.let_come(0).await;
    let came = clock.schedule().await.next_at.unwrap();
    tokio::join!(clock.step(&replicas[0]), clock.step(&replicas[1]));
    let after = clock.schedule().await;
    // If a minute began meanwhile, its instant found the execution of the one before.
    let passed = minutes(came, after.next_at);
    assert!((1..=2).contains(&passed), "{after:?}");
    assert_eq!(
        (after.skipped_count, after.missed_count, &after.last_error),
        (passed - 1, 0, &None)
    );

    // A replica dies between the start and the note of it.
    clock.change(&format!("next_at = '{came}'")).await;
    clock.step(&replicas[0]).await;
    let again = clock.schedule().await;
    let skipped = again.skipped_count - after.skipped_count;
    assert!(
        (0..minutes(came, again.next_at)).contains(&skipped),
        "{again:?}"
    );

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

    // It is let alone for a moment.
    assert!(clock.lease(10).await.is_empty());
    clock.change("attended_until = now()").await;
    clock.stage.set_away(false);
    clock.stage.set_status(clock.workflow, "INACTIVE");
    clock.step(&replica).await;
    let refused = clock.schedule().await;
    let passed = minutes(before.next_at.expect("it came"), refused.next_at);
    let last = refused.next_at.map(|next| next - TimeDelta::minutes(1));
    assert!((1..=2).contains(&passed), "{refused:?}");
    assert_eq!(
        (refused.skipped_count, refused.last_error_at),
        (passed, last)
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
    let due = clock.lease(10).await;
    clock
        .change("revision = revision + 1, next_at = null")
        .await;
    let mut conn = clock.stage.world.pool.acquire().await.unwrap();
    let noted = Noted {
        next_at: Some(due[0].now),
        ..Noted::default()
    };
    assert!(!schedules::note(&mut conn, &due[0], &noted).await.unwrap());
    assert_eq!(clock.schedule().await.next_at, None);
}

#[tokio::test]
async fn start_that_is_refused_cancels_nothing() {
    let clock = Clock::new(Overlap::CancelRunning, 60).await;
    let replica = clock.stage.replica();
    clock.let_one_come(10).await;
    clock.step(&replica).await;
    clock.stage.set_status(clock.workflow, "INACTIVE");
    let refused = clock.let_one_come(5).await;
    clock.step(&replica).await;
    assert_eq!(clock.statuses().await, ["RUNNING"]);
    let schedule = clock.schedule().await;
    assert_eq!(
        (schedule.skipped_count, schedule.last_error_at),
        (1, Some(refused))
    );
    let told = schedule.last_error.expect("it was refused");
    assert!(told.contains("WORKFLOW_NOT_ACTIVE"), "{told}");
}

#[tokio::test]
async fn start_before_a_crash_cancels_what_was_open_then() {
    let clock = Clock::new(Overlap::Allow, 60).await;
    let replica = clock.stage.replica();
    let mut instants = Vec::new();
    for minutes in [10, 5, 3] {
        instants.push(clock.let_one_come(minutes).await);
        clock.step(&replica).await;
    }
    let crashed = instants[1];
    clock
        .change(&format!(
            "next_at = '{crashed}', end_at = timestamptz '{crashed}' + interval '1 second',
             overlap_policy = 'CANCEL_RUNNING'"
        ))
        .await;
    clock.step(&replica).await;
    assert_eq!(clock.statuses().await, ["CANCELLED", "RUNNING", "RUNNING"]);
    assert_eq!(clock.schedule().await.next_at, None);
}

#[tokio::test]
async fn instant_that_started_before_a_long_outage_is_not_missed() {
    let clock = Clock::new(Overlap::Allow, 60).await;
    let replica = clock.stage.replica();
    let came = clock.let_one_come(30).await;
    clock.step(&replica).await;
    clock
        .change(&format!("next_at = '{came}', catch_up_ms = 60000"))
        .await;
    clock.step(&replica).await;
    let schedule = clock.schedule().await;
    assert_eq!((schedule.next_at, schedule.missed_count), (None, 0));

    clock.let_one_come(40).await;
    clock.step(&replica).await;
    assert_eq!(clock.schedule().await.missed_count, 1);
    assert_eq!(clock.statuses().await, ["RUNNING"]);
}

#[tokio::test]
async fn replicas_share_what_is_due() {
    let clock = Clock::new(Overlap::Allow, 1).await;
    let replica = clock.stage.replica();
    clock
        .stage
        .world
        .run(
            "insert into execution.schedules (id, workflow_id, name, cron, time_zone, overlap_policy, catch_up_ms,
                is_paused, created_by, created_at, updated_at)
             select gen_random_uuid(), workflow_id, name, cron, time_zone, overlap_policy, 10000,
                is_paused, created_by, created_at, updated_at from execution.schedules",
        )
        .await;
    clock.change("next_at = now()").await;
    let (one, other) = tokio::join!(clock.lease(1), clock.lease(10));
    let mut leased = [one, other].concat();
    // What one is about to take, the other does not wait for.
    leased.extend(clock.lease(10).await);
    leased.sort_by_key(|due| due.catch_up_ms);
    let [short, long] = leased.as_slice() else {
        panic!("each is leased once: {leased:?}");
    };
    for (due, seconds) in [(short, 5), (long, 30)] {
        let lease = due.attended_until - due.now;
        assert!(lease <= TimeDelta::seconds(seconds), "{lease}");
    }
    clock.step(&replica).await;
    assert!(clock.statuses().await.is_empty());

    // The lease of one that died ends; the note of one that lives ends it, too.
    clock
        .change("attended_until = case when catch_up_ms = 10000 then now() else attended_until end")
        .await;
    assert_eq!(clock.lease(10).await.len(), 1);
    let mut conn = clock.stage.world.pool.acquire().await.unwrap();
    let noted = Noted {
        next_at: long.next_at,
        ..Noted::default()
    };
    assert!(schedules::note(&mut conn, long, &noted).await.unwrap());
    let again = clock.lease(10).await;
    assert_eq!(again[0].id, long.id);
    // Whose lease has ended gives back nobody else's.
    schedules::release(&mut conn, long, Duration::ZERO)
        .await
        .unwrap();
    assert!(clock.lease(10).await.is_empty());
    schedules::release(&mut conn, &again[0], Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(clock.lease(10).await.len(), 1);
}
