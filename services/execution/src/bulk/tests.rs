//! What becomes of executions that are done in bulk.

use serde_json::json;

use super::*;
use crate::engine::Actor;
use crate::fixtures::{Line, World};
use crate::store::bulk::NewOperation;

fn worker(world: &World) -> Worker {
    Worker {
        pool: world.pool.clone(),
        committer: world.committer(),
    }
}

fn signal() -> Deed {
    Deed::Signal {
        name: "go".to_owned(),
        data: Map::from_iter([("n".to_owned(), json!(1))]),
    }
}

/// Executions that a command can move, and an operation over some of them.
async fn line(world: &World, count: u32) -> Line {
    let line = world.line(1).await;
    world.jobs(line, "pack", count).await;
    world.remember().await;
    line
}

async fn operation(world: &World, deed: &Deed, filter: &str, max_per_second: i32) -> Uuid {
    let actor = Actor {
        id: "1".to_owned(),
        email: "ann@x.org".to_owned(),
        groups: Vec::new(),
    };
    let new = NewOperation {
        id: Uuid::now_v7(),
        deed,
        filter,
        max_per_second,
        dry_run: false,
        actor: &actor,
        created_by: "ann@x.org",
    };
    let mut conn = world.pool.acquire().await.unwrap();
    bulk::insert(&mut conn, &new).await.unwrap();
    new.id
}

async fn read(world: &World, id: Uuid) -> Operation {
    let mut conn = world.pool.acquire().await.unwrap();
    bulk::get(&mut conn, id).await.unwrap().unwrap()
}

/// Goes on until the operation is over, or somebody else's.
async fn finish(worker: &Worker, held: Held) -> usize {
    let mut pages = 1;
    while worker.step(held).await.unwrap().is_some() {
        pages += 1;
    }
    pages
}

/// Whether each execution keeps exactly as many signals.
async fn kept(world: &World, signals: u32) -> bool {
    let others = format!(
        "select 1 from execution.execution_states
          where coalesce(json_array_length(state -> 'signals'), 0) <> {signals}"
    );
    world.rows(&others).await.is_empty()
}

fn counts(operation: &Operation) -> (i64, i64, i64, i64) {
    let Operation {
        processed,
        succeeded,
        skipped,
        failed,
        ..
    } = operation;
    (*processed, *succeeded, *skipped, *failed)
}

/// Does a page, and is gone before it could say so; returns how many it was done to.
async fn do_uncounted(worker: &Worker, held: Held) -> i64 {
    let mut conn = worker.pool.acquire().await.unwrap();
    let operation = bulk::renew(&mut conn, held.id, held.holder).await;
    let operation = operation.unwrap().expect("it is its own");
    drop(conn);
    let page = worker.page(held, &operation).await.unwrap().unwrap();
    let mut lost = Progress::default();
    let done = worker.fulfil(&operation, &page, &mut lost).await;
    done.unwrap();
    lost.succeeded
}

async fn expire(world: &World) {
    let expire = "update execution.bulk_operations set lease_until = now() - interval '1 s'";
    world.run(expire).await;
}

/// Waits as if what they waited for had failed for good.
async fn park(world: &World) {
    world
        .run(
            "update execution.waits
                set kind = 'incident', error_code = 'DOWN', error = 'it is down', job_type = null",
        )
        .await;
}

#[tokio::test]
async fn page_that_is_done_again_after_a_crash_is_done_once() {
    let world = World::new().await;
    line(&world, 25).await;
    let id = operation(&world, &signal(), "", 50).await;
    let first = worker(&world);
    let held = first.take().await.unwrap().expect("it is new");
    assert!(first.step(held).await.unwrap().is_some());
    // The second page is committed, and its worker gone before it could say so.
    let before = read(&world, id).await;
    assert_eq!(
        (do_uncounted(&first, held).await, before.processed),
        (10, 10)
    );

    let second = worker(&world);
    assert!(second.take().await.unwrap().is_none(), "the lease lasts");
    expire(&world).await;
    let taken = second.take().await.unwrap().expect("the lease has ended");
    assert_eq!(
        first.step(held).await.unwrap(),
        None,
        "it is not its any more"
    );
    assert_eq!(finish(&second, taken).await, 2);
    let done = read(&world, id).await;
    assert_eq!(done.state, "COMPLETED");
    assert_eq!(counts(&done), (25, 25, 0, 0));
    assert!(kept(&world, 1).await);
}

#[tokio::test]
async fn what_was_cancelled_before_a_crash_is_counted() {
    let world = World::new().await;
    line(&world, 25).await;
    let cancel = Deed::Cancel {
        reason: "recalled".to_owned(),
        compensate: false,
    };
    let id = operation(&world, &cancel, "", 50).await;
    let (first, second) = (worker(&world), worker(&world));
    let held = first.take().await.unwrap().unwrap();
    assert_eq!(do_uncounted(&first, held).await, 10);
    expire(&world).await;
    let taken = second.take().await.unwrap().expect("the lease has ended");
    assert_eq!(finish(&second, taken).await, 3);
    assert_eq!(counts(&read(&world, id).await), (25, 25, 0, 0));
    let left = "select id from execution.bulk_operations where page is not null";
    assert!(world.rows(left).await.is_empty());
}

#[tokio::test]
async fn incident_that_parks_again_before_its_page_is_counted_is_left_alone() {
    let world = World::new().await;
    line(&world, 5).await;
    park(&world).await;
    let id = operation(&world, &Deed::Retry, "", 100).await;
    let (first, second) = (worker(&world), worker(&world));
    let held = first.take().await.unwrap().unwrap();
    assert_eq!(do_uncounted(&first, held).await, 5);
    park(&world).await;
    let ids = "select id from execution.waits where kind = 'incident' order by id";
    let parked = world.rows(ids).await;
    assert_eq!(parked.len(), 5);
    expire(&world).await;
    let taken = second.take().await.unwrap().expect("the lease has ended");
    finish(&second, taken).await;
    assert_eq!(counts(&read(&world, id).await), (5, 5, 0, 0));
    assert_eq!(world.rows(ids).await, parked);
}

#[tokio::test]
async fn page_is_kept_only_by_who_holds_the_operation() {
    let world = World::new().await;
    line(&world, 5).await;
    let id = operation(&world, &signal(), "", 100).await;
    let (first, second) = (worker(&world), worker(&world));
    let late = first.take().await.unwrap().unwrap();
    expire(&world).await;
    second.take().await.unwrap().expect("the lease has ended");
    let operation = read(&world, id).await;
    assert_eq!(first.page(late, &operation).await.unwrap(), None);
    assert!(kept(&world, 0).await);
}

#[tokio::test]
async fn rate_is_kept_page_by_page() {
    let world = World::new().await;
    line(&world, 3).await;
    let worker = worker(&world);
    for (rate, pages, longest) in [(1, 4, 1000), (10, 2, 200), (10_000, 1, 0)] {
        operation(&world, &signal(), "", rate).await;
        let held = worker.take().await.unwrap().unwrap();
        if let Some(pause) = worker.step(held).await.unwrap() {
            let longest = Duration::from_millis(longest);
            assert!(pause <= longest, "{rate}: {pause:?}");
        }
        assert_eq!(finish(&worker, held).await + 1, pages.max(2), "{rate}");
    }
    assert!(kept(&world, 3).await);
}

#[tokio::test]
async fn operation_that_was_cancelled_goes_no_further() {
    let world = World::new().await;
    line(&world, 25).await;
    let id = operation(&world, &signal(), "", 50).await;
    let worker = worker(&world);
    let held = worker.take().await.unwrap().unwrap();
    assert!(worker.step(held).await.unwrap().is_some());
    let mut conn = world.pool.acquire().await.unwrap();
    bulk::cancel(&mut conn, id).await.unwrap();
    assert_eq!(worker.step(held).await.unwrap(), None);
    assert!(worker.take().await.unwrap().is_none());
    let after = read(&world, id).await;
    assert_eq!((after.state.as_str(), after.processed), ("CANCELLED", 10));
    assert!(!worker.count(held, &Progress::default()).await.unwrap());
}

#[tokio::test]
async fn only_what_matches_is_open_and_older_is_done() {
    let world = World::new().await;
    let line = line(&world, 6).await;
    world
        .run(
            "with numbered as (
                select id, row_number() over (order by started_at) as n from execution.workflow_executions)
             update execution.workflow_executions e
                set status = case n when 1 then 'FAILED' else status::text end::execution.execution_status,
                    started_at = case n when 2 then now() + interval '1 h' else started_at end,
                    metadata = case n when 3 then metadata else '{\"region\": \"eu\"}' end
               from numbered where numbered.id = e.id",
        )
        .await;
    let cancel = Deed::Cancel {
        reason: "recalled".to_owned(),
        compensate: false,
    };
    let filter = format!(
        "metadata.region = \"eu\" AND workflow_id = {}",
        line.workflow
    );
    let id = operation(&world, &cancel, &filter, 100).await;
    let worker = worker(&world);
    let held = worker.take().await.unwrap().unwrap();
    finish(&worker, held).await;
    assert_eq!(counts(&read(&world, id).await), (3, 3, 0, 0));
    let cancelled = world
        .rows("select error from execution.workflow_executions where status = 'CANCELLED'")
        .await;
    assert_eq!(cancelled.len(), 3);
    assert_eq!(cancelled[0]["error"], "recalled");
    let waits = world.rows("select id from execution.waits").await;
    assert_eq!(waits.len(), 3, "jobs of what is cancelled are withdrawn");
}

#[tokio::test]
async fn incidents_are_resolved_where_the_filter_says() {
    let world = World::new().await;
    let line = line(&world, 4).await;
    world
        .run(&format!(
            "with numbered as (select id, row_number() over (order by created_at) as n from execution.waits)
             update execution.waits w
                set kind = 'incident', error_code = 'DOWN', error = 'it is down', job_type = null,
                    step_id = case n when 1 then '{}'::uuid else step_id end
               from numbered where numbered.id = w.id and n < 4",
            line.task_step
        ))
        .await;
    let worker = worker(&world);
    let filter = format!("waiting_step_id = {}", line.job_step);
    for (deed, filter, wanted, left) in [
        (Deed::Retry, filter.as_str(), 2, 1),
        (Deed::GiveUp, "", 1, 0),
    ] {
        let id = operation(&world, &deed, filter, 100).await;
        let held = worker.take().await.unwrap().unwrap();
        finish(&worker, held).await;
        let done = read(&world, id).await;
        assert_eq!(counts(&done), (wanted, wanted, 0, 0), "{:?}", done.errors);
        let waits = world
            .rows("select id from execution.waits where kind = 'incident'")
            .await;
        assert_eq!(waits.len(), left);
    }
    let failed = world
        .rows("select error_code from execution.workflow_executions where status = 'FAILED'")
        .await;
    assert_eq!(failed.len(), 1);
}

#[tokio::test]
async fn one_that_cannot_be_done_does_not_keep_the_others() {
    let world = World::new().await;
    line(&world, 5).await;
    // What the engine remembers of one is lost; another one ends before its turn; the third never was.
    world
        .run(
            "delete from execution.execution_states where execution_id =
                 (select id from execution.workflow_executions order by started_at limit 1)",
        )
        .await;
    let id = operation(&world, &signal(), "", 100).await;
    let worker = worker(&world);
    let held = worker.take().await.unwrap().unwrap();
    let before = read(&world, id).await;
    let mut page = worker.page(held, &before).await.unwrap().unwrap();
    let never = PageTarget {
        id: Uuid::now_v7(),
        waits: Vec::new(),
    };
    page.executions.push(never);
    world
        .run(
            "update execution.workflow_executions set status = 'COMPLETED' where id =
                 (select id from execution.workflow_executions order by started_at desc limit 1)",
        )
        .await;
    let mut progress = Progress::default();
    worker.fulfil(&before, &page, &mut progress).await.unwrap();
    let Progress {
        succeeded,
        skipped,
        failed,
        ..
    } = progress;
    assert_eq!((succeeded, skipped, failed), (3, 2, 1));
    assert_eq!(progress.errors[0].execution_id, page.executions[0].id);
    assert_eq!(progress.errors[0].reason, "INTERNAL");
    finish(&worker, held).await;
    assert_eq!(counts(&read(&world, id).await), (5, 3, 1, 1));
}

#[tokio::test]
async fn operation_that_cannot_be_read_any_more_fails_with_the_reason() {
    let world = World::new().await;
    let id = operation(&world, &signal(), "nothing = 1", 100).await;
    let worker = worker(&world);
    let held = worker.take().await.unwrap().unwrap();
    assert_eq!(worker.step(held).await.unwrap(), None);
    let failed = read(&world, id).await;
    assert_eq!(failed.state, "FAILED");
    assert!(failed.error.unwrap().contains("nothing"));
    assert!(failed.completed_at.is_some());
}
