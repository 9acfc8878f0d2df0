//! Who takes what, and when: by looks into a real queue, and past it with the commit.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;
use tokio_stream::StreamExt;

use super::*;
use crate::committer::{Action, Target};
use crate::engine::{Actor, Answer};
use crate::fixtures::catalog::{Replica, Stage};
use crate::leasing::Turns;
use crate::rpc::jobs::Reader;
use crate::rpc::jobs::job::Job;

/// A worker and what it was sent.
struct Worker {
    name: &'static str,
    place: Place,
    outgoing: Outgoing,
    reader: Reader,
}

impl Worker {
    fn come(dispatch: &Dispatch, name: &'static str, limit: usize) -> Self {
        Self::with_lease(dispatch, name, limit, Duration::from_secs(30))
    }

    fn with_lease(dispatch: &Dispatch, name: &'static str, limit: usize, lease: Duration) -> Self {
        let outgoing = Outgoing::new(dispatch.look());
        let taker = Taker {
            job_types: Arc::new(["pack".to_owned()]),
            holder: Actor::default().holder(name).into(),
            limit,
            lease,
        };
        Self {
            name,
            place: dispatch.join(taker, outgoing.clone()),
            reader: outgoing.reader(),
            outgoing,
        }
    }

    /// What is there to read.
    async fn read(&mut self) -> Vec<Job> {
        let mut jobs = Vec::new();
        let mut next = async || tokio::time::timeout(Duration::ZERO, self.reader.next()).await;
        while let Ok(Some(message)) = next().await {
            jobs.extend(message.unwrap().jobs);
        }
        jobs
    }

    async fn complete(&self, replica: &Replica, job: &Job) {
        let id = job.id.parse().unwrap();
        self.place.answered(id);
        let answer = Answer::Complete {
            worker: self.name.to_owned(),
            output: serde_json::Map::new(),
        };
        replica.tell(Target::Wait(id), Action::Answer(answer)).await;
    }
}

async fn held(stage: &Stage) -> usize {
    let sql = "select id from execution.waits where held_by is not null";
    stage.world.rows(sql).await.len()
}

#[tokio::test]
async fn job_goes_with_the_commit_that_queues_it_and_looks_like_a_leased_one() {
    let stage = Stage::new().await;
    let limits = json!({ "timeout": "10s", "queueTimeout": "1h" });
    let steps = [("a", "pack", limits.clone()), ("b", "pack", limits)];
    let workflow = stage.publish(1, &steps).await;
    let replica = stage.replica();
    let turns = Turns::default();
    let state = "select w.held_by, w.lease_until - l.started_at as length, w.wake_at - l.started_at as timed,
                        l.status, l.assigned_at = l.started_at as begun, l.queued_at <= l.started_at as forwards
                   from execution.waits w join execution.execution_logs l using (id)";

    // Queued before anybody came: leased by a look.
    replica.start(workflow, json!({ "n": 1 })).await;
    let mut worker = Worker::come(&replica.dispatch, "w", 10);
    assert!(worker.read().await.is_empty());
    replica.leaser.look(&turns).await;
    let [first] = <[_; 1]>::try_from(worker.read().await).unwrap();
    assert_eq!(first.step_name, "a");
    let looked = stage.world.rows(state).await;

    // The next one comes with the answer's commit, and no look.
    worker.complete(&replica, &first).await;
    let [second] = <[_; 1]>::try_from(worker.read().await).unwrap();
    assert_eq!(second.step_name, "b");
    assert_eq!(second.attempt, 1);
    let key = format!("{}/{}/1/1", second.execution_id, second.step_id);
    assert_eq!(second.idempotency_key, key);
    let data = model::wire::json_from_struct(second.data.as_ref().unwrap()).unwrap();
    assert_eq!(json!(data), json!({ "n": 1 }));
    let handed = stage.world.rows(state).await;
    for fact in ["held_by", "status", "begun", "forwards"] {
        assert_eq!(handed[0][fact], looked[0][fact], "{fact}");
    }
    assert_eq!(handed[0]["length"], json!("00:00:30"));
    assert_eq!(handed[0]["timed"], json!("00:00:10"));

    worker.complete(&replica, &second).await;
    let id = second.execution_id.parse().unwrap();
    assert_eq!(stage.status(id).await.0, "COMPLETED");
}

/// A worker that is never read from, named like its job type.
fn come(dispatch: &Dispatch, job_type: &str, limit: usize) -> Place {
    let taker = Taker {
        job_types: Arc::new([job_type.to_owned()]),
        holder: job_type.into(),
        limit,
        lease: Duration::from_secs(30),
    };
    dispatch.join(taker, Outgoing::new(dispatch.look()))
}

#[test]
fn backlog_of_one_type_is_not_forgotten_because_another_type_has_none() {
    let dispatch = Dispatch::default();
    let (_idle, busy) = (come(&dispatch, "a", 5), come(&dispatch, "b", 1));
    let mut board = dispatch.board();
    let look = board.look().unwrap();
    let id = Uuid::now_v7();
    let job = Job {
        id: id.to_string(),
        ..Job::default()
    };
    let place = look.takers.iter().position(|it| &*it.holder == "b");
    board.looked(&look, vec![(place.unwrap(), job)], false);
    let look = board.look().unwrap();
    assert_eq!(look.takers.len(), 1, "the busy one has no credit left");
    board.looked(&look, Vec::new(), true);
    assert!(board.answered(busy.id, id), "there is more of its type");
    drop(board);
}

#[test]
fn credit_of_a_stream_that_left_is_in_use_while_a_job_is_leased_with_it() {
    let dispatch = Dispatch::default();
    let place = come(&dispatch, "a", 1);
    let mut board = dispatch.board();
    let look = board.look().unwrap();
    board.looked(&look, Vec::new(), true);
    drop(board);
    let reserved = dispatch.reserve("a").unwrap();
    drop(place);
    assert!(dispatch.is_in_use(), "what it leases is to be given back");
    drop(reserved);
    assert!(!dispatch.is_in_use());
}

#[tokio::test]
async fn worker_holds_no_more_than_its_credit_until_leases_end() {
    let stage = Stage::new().await;
    let workflow = stage.publish(1, &[("a", "pack", json!({}))]).await;
    let replica = stage.replica();
    let turns = Turns::default();
    let lease = Duration::from_secs(30);
    let mut worker = Worker::with_lease(&replica.dispatch, "w", 2, lease);
    replica.leaser.look(&turns).await;
    for _ in 0..5 {
        replica.start(workflow, json!({})).await;
    }
    assert_eq!(worker.read().await.len(), 2);
    replica.leaser.look(&turns).await;
    assert!(worker.read().await.is_empty(), "it has no credit left");
    assert_eq!(held(&stage).await, 2);

    worker.place.set_credit(3);
    replica.leaser.look(&turns).await;
    let third = worker.read().await;
    assert_eq!(third.len(), 1);
    worker.place.set_credit(0);
    worker.complete(&replica, &third[0]).await;
    replica.leaser.look(&turns).await;
    assert!(worker.read().await.is_empty(), "nothing is taken with 0");

    // Time passes for this process; the database still has the leases, which does not matter here.
    worker.place.set_credit(2);
    replica.dispatch.board().pass(Duration::from_secs(31));
    replica.leaser.look(&turns).await;
    assert_eq!(worker.read().await.len(), 2, "what ended counts no more");
}

#[tokio::test]
async fn nobody_goes_past_those_who_wait() {
    let stage = Stage::new().await;
    let busy = stage.publish(1, &[("a", "pack", json!({}))]).await;
    let calm = stage.publish(2, &[("a", "pack", json!({}))]).await;
    let replica = stage.replica();
    let turns = Turns::default();
    let mut worker = Worker::come(&replica.dispatch, "w", 1);
    replica.leaser.look(&turns).await;
    for _ in 0..4 {
        replica.start(busy, json!({})).await;
    }
    let waits = replica.start(calm, json!({})).await;
    let [job] = <[_; 1]>::try_from(worker.read().await).unwrap();
    worker.complete(&replica, &job).await;
    // There is credit again, but it is for those in the queue.
    let late = replica.start(busy, json!({})).await;
    assert!(worker.read().await.is_empty());
    let mut order = Vec::new();
    for _ in 0..5 {
        replica.leaser.look(&turns).await;
        let [job] = <[_; 1]>::try_from(worker.read().await).unwrap();
        worker.complete(&replica, &job).await;
        order.push(job.execution_id.parse::<Uuid>().unwrap());
    }
    let place = order.iter().position(|id| *id == waits).unwrap();
    assert!(place <= 1, "clients take turns: {order:?} {waits}");
    assert_eq!(order[4], late);
    // The last look found no more than that: the next one needs none.
    replica.leaser.look(&turns).await;
    replica.start(busy, json!({})).await;
    assert_eq!(worker.read().await.len(), 1);
}

#[tokio::test]
async fn look_that_is_old_lets_nobody_past() {
    let stage = Stage::new().await;
    let workflow = stage.publish(1, &[("a", "pack", json!({}))]).await;
    let replica = stage.replica();
    let turns = Turns::default();
    let mut worker = Worker::come(&replica.dispatch, "w", 10);
    replica.leaser.look(&turns).await;
    replica.dispatch.board().pass(Duration::from_secs(1));
    replica.start(workflow, json!({})).await;
    assert!(worker.read().await.is_empty(), "others may have queued");
    replica.leaser.look(&turns).await;
    assert_eq!(worker.read().await.len(), 1);
}

#[tokio::test]
async fn what_was_not_sent_is_queued_again_as_the_same_attempt() {
    let stage = Stage::new().await;
    let config = json!({ "queueTimeout": "1h" });
    let workflow = stage.publish(1, &[("a", "pack", config)]).await;
    let replica = stage.replica();
    let turns = Turns::default();
    let mut sent = Worker::come(&replica.dispatch, "sent", 1);
    replica.leaser.look(&turns).await;
    replica.start(workflow, json!({})).await;
    assert_eq!(sent.read().await.len(), 1);
    let unsent = Worker::come(&replica.dispatch, "unsent", 5);
    replica.leaser.look(&turns).await;
    for _ in 0..2 {
        replica.start(workflow, json!({})).await;
    }
    assert_eq!(held(&stage).await, 3);
    let before = "select l.id from execution.execution_logs l join execution.waits w using (id)
                   where w.held_by like '%/unsent' order by id";
    let before = stage.world.rows(before).await;
    drop((sent, unsent));
    replica.leaser.give_back().await;
    assert_eq!(held(&stage).await, 1, "what was sent stays leased");
    let queued = "select l.id from execution.execution_logs l join execution.waits w using (id)
                   where w.held_by is null and w.lease_until is null and l.status = 'PENDING'
                     and l.assigned_at is null and l.started_at = l.queued_at and l.attempt = 1
                     and w.wake_at = w.available_at + interval '1 hour' order by id";
    assert_eq!(stage.world.rows(queued).await, before);

    let mut other = Worker::come(&replica.dispatch, "other", 5);
    replica.leaser.look(&turns).await;
    let jobs = other.read().await;
    assert_eq!(jobs.len(), 2);
    for job in &jobs {
        other.complete(&replica, job).await;
    }
}

#[tokio::test]
async fn worker_that_reads_slowly_gets_no_more_until_it_reads() {
    let stage = Stage::new().await;
    let workflow = stage.publish(1, &[("a", "pack", json!({}))]).await;
    let replica = stage.replica();
    let turns = Turns::default();
    let mut worker = Worker::come(&replica.dispatch, "w", 1000);
    for _ in 0..40 {
        replica
            .start(workflow, json!({ "x": "x".repeat(250_000) }))
            .await;
    }
    for _ in 0..10 {
        replica.leaser.look(&turns).await;
    }
    let leased = held(&stage).await;
    assert!(leased < 40, "{leased} of 40 jobs wait in memory");
    let mut read = 0;
    while read < 40 {
        let jobs = worker.read().await;
        assert!(!jobs.is_empty(), "{read} were sent");
        read += jobs.len();
        for _ in 0..10 {
            replica.leaser.look(&turns).await;
        }
    }
}

#[tokio::test]
async fn two_replicas_share_the_queue_and_nothing_is_given_twice() {
    let stage = Stage::new().await;
    let steps = [("a", "pack", json!({})), ("b", "pack", json!({}))];
    let workflow = stage.publish(1, &steps).await;
    let replicas = [stage.replica(), stage.replica()];
    let turns = Turns::default();
    let mut workers: Vec<Worker> = replicas
        .iter()
        .map(|replica| Worker::come(&replica.dispatch, "w", 7))
        .collect();
    for n in 0..40 {
        replicas[n % 2].start(workflow, json!({})).await;
    }
    let mut seen = HashSet::new();
    while seen.len() < 80 {
        let before = seen.len();
        for (worker, replica) in workers.iter_mut().zip(&replicas) {
            replica.leaser.look(&turns).await;
            for job in worker.read().await {
                assert!(seen.insert(job.id.clone()), "{job:?} was given twice");
                worker.complete(replica, &job).await;
            }
        }
        assert!(seen.len() > before, "nothing moves any more");
    }
    let open = "select id from execution.workflow_executions where status <> 'COMPLETED'";
    assert!(stage.world.rows(open).await.is_empty());
}

#[tokio::test]
async fn credit_of_a_commit_that_fails_comes_back() {
    let dispatch = Dispatch::default();
    let worker = Worker::come(&dispatch, "w", 1);
    let look = dispatch.board().look().unwrap();
    assert!(dispatch.reserve("pack").is_none(), "a look is under way");
    dispatch.board().looked(&look, Vec::new(), true);
    let reserved = dispatch.reserve("pack").unwrap();
    assert!(
        dispatch.reserve("pack").is_none(),
        "there is credit for one"
    );
    assert!(dispatch.reserve("other").is_none(), "nobody wants it");
    drop(reserved);
    assert!(dispatch.reserve("pack").is_some());
    assert!(worker.outgoing.has_room());
}
