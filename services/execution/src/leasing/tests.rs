//! Leasing: the sharing of turns, and leases on a real database.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use model::wire;
use serde_json::json;
use tokio::task::JoinSet;

use super::*;
use crate::fixtures::World;

fn queue(client: u128, job_type: &str) -> Queue {
    Queue {
        client_id: Uuid::from_u128(client),
        job_type: job_type.to_owned(),
    }
}

fn job(id: u128, client: u128) -> Locked {
    Locked {
        id: Uuid::from_u128(id),
        execution_id: Uuid::from_u128(id),
        workflow_id: Uuid::nil(),
        client_id: Uuid::from_u128(client),
        step_id: Uuid::nil(),
        job_type: "a".to_owned(),
        item: None,
    }
}

#[test]
fn clients_share_alike_whatever_their_job_types() {
    let check = |queues: &[Queue], wanted: usize, want: &[i64]| {
        assert_eq!(share(queues, wanted), want, "{queues:?} {wanted}");
    };
    check(&[queue(1, "a")], 7, &[7]);
    check(&[queue(1, "a"), queue(2, "a")], 7, &[4, 4]);
    check(
        &[queue(1, "a"), queue(1, "b"), queue(2, "a")],
        8,
        &[2, 2, 4],
    );
    check(
        &[queue(1, "a"), queue(2, "a"), queue(3, "a")],
        1,
        &[1, 1, 1],
    );
    check(&[], 5, &[]);
}

#[test]
fn turns_go_round_from_the_last_one() {
    let last = Uuid::from_u128(2);
    let mut clients: Vec<Uuid> = (1..=4).map(Uuid::from_u128).collect();
    clients.sort_by_key(|client| turn(last, *client));
    assert_eq!(clients, [3, 4, 1, 2].map(Uuid::from_u128));
}

#[test]
fn answer_that_is_cut_short_is_short_for_every_client() {
    let locked = vec![
        job(1, 7),
        job(2, 7),
        job(3, 7),
        job(4, 9),
        job(5, 9),
        job(6, 8),
    ];
    let ids: Vec<u128> = interleave(locked, Uuid::nil())
        .iter()
        .map(|job| job.id.as_u128())
        .collect();
    assert_eq!(ids, [1, 6, 4, 2, 5, 3]);
}

fn taker(worker: &str, limit: usize) -> Taker {
    Taker {
        job_types: Arc::new(["pack".to_owned()]),
        holder: format!("u/{worker}").into(),
        limit,
        lease: Duration::from_secs(30),
    }
}

/// Leases for one worker.
async fn lease(
    pool: &PgPool,
    definitions: &Definitions,
    turns: &Turns,
    taker: &Taker,
) -> Result<Vec<Job>> {
    let leased = super::lease(pool, definitions, turns, vec![taker.clone()]).await?;
    Ok(leased.jobs.into_iter().map(|(_, job)| job).collect())
}

/// Extends for one worker.
async fn extend(
    pool: &PgPool,
    definitions: &Definitions,
    (job, holder): (Uuid, &str),
    lease: Duration,
) -> Result<Option<Job>> {
    let holder = holder.to_owned();
    super::extend(pool, definitions, Extension { job, holder, lease }).await
}

#[tokio::test]
async fn no_job_is_leased_twice_by_eight_workers_at_once() {
    let world = World::new().await;
    for n in 1..=3 {
        let line = world.line(n).await;
        world.jobs(line, "pack", 100).await;
    }
    let definitions = world.definitions();
    let turns = Arc::new(Turns::default());
    let mut workers = JoinSet::new();
    for n in 0..8 {
        let (pool, definitions) = (world.pool.clone(), definitions.clone());
        let turns = turns.clone();
        workers.spawn(async move {
            let own = taker(&n.to_string(), 7);
            let mut ids = Vec::new();
            loop {
                let jobs = lease(&pool, &definitions, &turns, &own).await.unwrap();
                if jobs.is_empty() {
                    return ids;
                }
                assert!(jobs.len() <= 7);
                ids.extend(jobs.into_iter().map(|job| job.id));
            }
        });
    }
    let mut ids: Vec<String> = workers.join_all().await.into_iter().flatten().collect();
    // What was locked by one while another looked is left for the next look.
    let rest = lease(&world.pool, &definitions, &turns, &taker("last", 300))
        .await
        .unwrap();
    ids.extend(rest.into_iter().map(|job| job.id));
    assert_eq!(ids.len(), 300);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 300);
}

#[tokio::test]
async fn client_with_one_job_does_not_wait_for_one_with_thousands() {
    let world = World::new().await;
    let (busy, calm) = (world.line(1).await, world.line(2).await);
    world.jobs(busy, "pack", 5000).await;
    world.jobs(calm, "pack", 1).await;
    let definitions = world.definitions();
    let turns = Turns::default();
    let mut clients = Vec::new();
    for _ in 0..3 {
        let jobs = lease(&world.pool, &definitions, &turns, &taker("w", 1))
            .await
            .unwrap();
        clients.extend(jobs.into_iter().map(|job| job.client_id));
    }
    let [busy, calm] = [busy, calm].map(|line| line.client.to_string());
    assert_eq!(clients, [busy.clone(), calm, busy]);
}

#[tokio::test]
async fn many_jobs_at_once_are_shared_and_what_one_lacks_others_give() {
    let world = World::new().await;
    for (n, count) in [(1, 100), (2, 2), (3, 100)] {
        let line = world.line(n).await;
        world.jobs(line, "pack", count).await;
    }
    let definitions = world.definitions();
    let jobs = lease(
        &world.pool,
        &definitions,
        &Turns::default(),
        &taker("w", 30),
    )
    .await
    .unwrap();
    let mut counts: HashMap<String, usize> = HashMap::new();
    for job in &jobs {
        *counts.entry(job.client_id.clone()).or_default() += 1;
    }
    let mut counts: Vec<usize> = counts.into_values().collect();
    counts.sort_unstable();
    assert_eq!(counts, [2, 14, 14]);
}

#[tokio::test]
async fn leased_job_tells_what_its_execution_knows() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 1).await;
    let output = |seq: i32, status: &str, output: serde_json::Value| {
        format!(
            "insert into execution.execution_logs (
                id, execution_id, step_id, status, seq, event_seq, data, completed_at)
             select gen_random_uuid(), id, '{}', '{status}', {seq}, {seq}, '{output}', now()
               from execution.workflow_executions;",
            line.task_step
        )
    };
    world
        .run(&output(3, "COMPLETED", json!({"who": "second", "b": 2})))
        .await;
    world
        .run(&output(
            2,
            "COMPLETED",
            json!({"who": "first", "a": {"deep": true}}),
        ))
        .await;
    world
        .run(&output(4, "FAILED", json!({"who": "nobody"})))
        .await;
    world
        .run("update execution.waits set timeout_ms = 5000")
        .await;

    let definitions = world.definitions();
    let jobs = lease(&world.pool, &definitions, &Turns::default(), &taker("w", 9))
        .await
        .unwrap();
    let [job] = jobs.as_slice() else {
        panic!("there is one job: {jobs:?}");
    };
    let data = wire::json_from_struct(job.data.as_ref().unwrap()).unwrap();
    assert_eq!(
        json!(data),
        json!({"n": 1, "who": "second", "a": {"deep": true}, "b": 2})
    );
    let config = wire::json_from_struct(job.config.as_ref().unwrap()).unwrap();
    assert_eq!(json!(config), json!({"box": "small"}));
    assert_eq!((job.step_name.as_str(), job.attempt), ("pack", 1));
    let key = format!("{}/{}/1/1", job.execution_id, line.job_step);
    assert_eq!(job.idempotency_key, key);
    let rows = world
        .rows(
            "select w.held_by, l.status, l.assigned_at = l.started_at as begun,
                    w.lease_until - l.assigned_at between interval '29 s' and interval '30 s' as full_lease,
                    w.wake_at - l.assigned_at between interval '4 s' and interval '5 s' as timed
               from execution.waits w join execution.execution_logs l using (id)",
        )
        .await;
    assert_eq!(json!(rows[0]["held_by"]), json!("u/w"));
    assert_eq!(json!(rows[0]["status"]), json!("RUNNING"));
    for fact in ["begun", "full_lease", "timed"] {
        assert_eq!(rows[0][fact], json!(true), "{fact}");
    }
}

#[tokio::test]
async fn expired_lease_is_not_given_again_before_the_engine_took_it_back() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 1).await;
    let definitions = world.definitions();
    let turns = Turns::default();
    let jobs = lease(&world.pool, &definitions, &turns, &taker("w", 1))
        .await
        .unwrap();
    let id: Uuid = jobs[0].id.parse().unwrap();
    world
        .run("update execution.waits set lease_until = now() - interval '1 s'")
        .await;
    let again = lease(&world.pool, &definitions, &turns, &taker("v", 1))
        .await
        .unwrap();
    assert!(again.is_empty());
    let long = Duration::from_secs(60);
    let late = extend(&world.pool, &definitions, (id, "u/w"), long)
        .await
        .unwrap();
    assert!(late.is_none(), "what has ended cannot be extended");
}

#[tokio::test]
async fn only_the_holder_extends_a_lease() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 1).await;
    let definitions = world.definitions();
    let jobs = lease(&world.pool, &definitions, &Turns::default(), &taker("w", 1))
        .await
        .unwrap();
    let id: Uuid = jobs[0].id.parse().unwrap();
    let long = Duration::from_secs(600);
    let other = extend(&world.pool, &definitions, (id, "u/v"), long)
        .await
        .unwrap();
    assert!(other.is_none());
    let job = extend(&world.pool, &definitions, (id, "u/w"), long)
        .await
        .unwrap()
        .unwrap();
    let until = |job: &Job| job.lease_expires_at.as_ref().unwrap().seconds;
    assert!(until(&job) >= until(&jobs[0]) + 500);
    assert_eq!(job.data, jobs[0].data);
    assert_eq!(job.idempotency_key, jobs[0].idempotency_key);
}

#[tokio::test]
async fn jobs_that_do_not_fit_into_an_answer_stay_queued() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 8).await;
    world
        .run(
            "update execution.workflow_executions
                set metadata = jsonb_build_object('inputData', jsonb_build_object('x', repeat('x', 1000000)))",
        )
        .await;
    let definitions = world.definitions();
    let turns = Turns::default();
    let jobs = lease(&world.pool, &definitions, &turns, &taker("w", 8))
        .await
        .unwrap();
    assert_eq!(jobs.len(), 3);
    let rows = world
        .rows("select 1 as one from execution.waits where held_by is null")
        .await;
    assert_eq!(rows.len(), 5);
}
