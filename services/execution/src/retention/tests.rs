//! What is purged, and what is not.

use super::*;
use crate::fixtures::World;

const POLICY: Policy = Policy {
    days: Some(30),
    simulation_days: Some(7),
};

/// The starts of what is left, as numbers: see `numbered`.
async fn left(world: &World) -> Vec<i64> {
    let rows = world
        .rows("select (metadata -> 'inputData' ->> 'n')::int as n from execution.workflow_executions order by 1")
        .await;
    rows.iter().map(|row| row["n"].as_i64().unwrap()).collect()
}

/// Changes executions by their number.
async fn change(world: &World, numbers: &str, set: &str) {
    world
        .run(&format!(
            "update execution.workflow_executions set {set}
              where (metadata -> 'inputData' ->> 'n')::int in ({numbers})"
        ))
        .await;
}

async fn end(world: &World, numbers: &str, age: &str) {
    let set = format!(
        "status = 'COMPLETED', started_at = now() - interval '{age}' - interval '1 h',
         completed_at = now() - interval '{age}'"
    );
    change(world, numbers, &set).await;
    world
        .run(
            "delete from execution.waits where execution_id in (
                select id from execution.workflow_executions where status = 'COMPLETED')",
        )
        .await;
}

#[tokio::test]
async fn what_has_been_over_for_long_goes_and_its_reports_stay() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 8).await;
    world.remember().await;
    end(&world, "1, 2, 3", "31 days").await;
    end(&world, "4", "29 days").await;
    end(&world, "5", "8 days").await;
    end(&world, "6", "6 days").await;
    change(&world, "5, 6", "simulation = true").await;
    // Open, however old; and one that was open for so long that it ended only lately.
    change(&world, "7", "started_at = now() - interval '90 days'").await;
    end(&world, "8", "1 day").await;
    change(&world, "8", "started_at = now() - interval '90 days'").await;
    world
        .run(&format!(
            "insert into reporting.workflow_reports
                 (id, workflow_id, execution_id, report_type, metrics, period_start, applied_seq)
             select gen_random_uuid(), workflow_id, id, 'execution', '{{\"n\": 1}}', started_at, 3
               from execution.workflow_executions;
             insert into reporting.workflow_reports (id, workflow_id, report_type, metrics, period_start)
             values (gen_random_uuid(), '{0}', 'daily', '{{\"totalExecutions\": 8}}', now());
             insert into reporting.figures (workflow_id, day, version, kind, key, client_id, figures)
             values ('{0}', now(), 1, 'execution', '{1}', '{1}', '{{\"a\": 1}}');
             insert into execution.notifications (id, execution_id, step_id, notification_type)
             select gen_random_uuid(), id, gen_random_uuid(), 'x' from execution.workflow_executions",
            line.workflow, line.client
        ))
        .await;
    let reports = "select id, workflow_id, report_type, metrics, period_start, applied_seq
                     from reporting.workflow_reports order by id";
    let figures = "select * from reporting.figures";
    let before = (world.rows(reports).await, world.rows(figures).await);
    pass(&world.pool, POLICY).await.unwrap();
    assert_eq!(left(&world).await, [4, 6, 7, 8]);
    let after = (world.rows(reports).await, world.rows(figures).await);
    assert_eq!(after, before);
    let loose = "select 1 from reporting.workflow_reports
                  where report_type = 'execution' and execution_id is null";
    assert_eq!(world.rows(loose).await.len(), 4);
    for table in ["execution_logs", "execution_states", "notifications"] {
        let own = world
            .rows(&format!(
                "select distinct execution_id from execution.{table}"
            ))
            .await;
        assert_eq!(own.len(), 4, "{table}");
    }
}

#[tokio::test]
async fn nothing_goes_that_reporting_may_still_ask_for() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 3).await;
    end(&world, "1", "40 days").await;
    end(&world, "2, 3", "31 days").await;
    world
        .run(
            "insert into execution.outbox (id, payload, created_at)
             values (gen_random_uuid(), '', now() - interval '35 days')",
        )
        .await;
    pass(&world.pool, POLICY).await.unwrap();
    assert_eq!(left(&world).await, [2, 3]);
    world.run("delete from execution.outbox").await;
    let for_ever = Policy {
        days: None,
        simulation_days: None,
    };
    pass(&world.pool, for_ever).await.unwrap();
    assert_eq!(left(&world).await, [2, 3]);
    pass(&world.pool, POLICY).await.unwrap();
    assert!(left(&world).await.is_empty());
}

#[tokio::test]
async fn imported_executions_stay_as_long_after_their_import() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 2).await;
    end(&world, "1, 2", "400 days").await;
    world
        .run(
            "insert into execution.imports (execution_id, content_hash, imported_at)
             select id, '', now() - make_interval(days => 20 * (metadata -> 'inputData' ->> 'n')::int)
               from execution.workflow_executions",
        )
        .await;
    pass(&world.pool, POLICY).await.unwrap();
    assert_eq!(left(&world).await, [1]);
}

#[tokio::test]
async fn batches_are_bounded_by_executions_and_by_logs() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 10).await;
    end(&world, "1, 2, 3, 4, 5, 6, 7, 8, 9, 10", "31 days").await;
    world
        .run(
            "insert into execution.execution_logs (id, execution_id, step_id, seq)
             select gen_random_uuid(), execution_id, step_id, n
               from execution.execution_logs, generate_series(2, 4) n",
        )
        .await;
    let horizons = horizons(&world.pool, POLICY).await.unwrap();
    let before = horizons.executions.unwrap();
    let mut conn = world.pool.begin().await.unwrap();
    let mut cursor = None;
    // Each has four logs: the third one begins behind the eighth log.
    for (limits, wanted) in [
        ((4, 1000), 4),
        ((9, 8), 2),
        ((9, 9), 3),
        ((9, 9), 1),
        ((9, 9), 0),
    ] {
        let purged = retention::purge(&mut conn, before, false, cursor, limits);
        let purged = purged.await.unwrap();
        assert_eq!(purged.executions, wanted, "{limits:?}");
        assert_eq!(purged.cursor.is_some(), wanted > 0);
        cursor = purged.cursor;
    }
    conn.commit().await.unwrap();
    assert!(left(&world).await.is_empty());
}

#[tokio::test]
async fn execution_that_somebody_holds_is_left_for_the_next_pass() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 2).await;
    end(&world, "1, 2", "31 days").await;
    let mut holder = world.pool.begin().await.unwrap();
    let held = "select id from execution.workflow_executions
                 where metadata -> 'inputData' ->> 'n' = '1' for no key update";
    sqlx::query(held).execute(&mut *holder).await.unwrap();
    pass(&world.pool, POLICY).await.unwrap();
    assert_eq!(left(&world).await, [1]);
    holder.rollback().await.unwrap();
    pass(&world.pool, POLICY).await.unwrap();
    assert!(left(&world).await.is_empty());
}
