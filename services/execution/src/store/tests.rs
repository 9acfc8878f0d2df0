//! The reading statements, on a real database.

use chassis::order::{Order, Run};
use serde_json::json;
use tokio_stream::StreamExt;
use uuid::Uuid;

use super::executions::{self, Filter, Range};
use super::tasks::TaskOrder;
use super::{logs, outbox, tasks};
use crate::fixtures::{Line, World};

/// Start and id of an execution.
type Place = (chrono::DateTime<chrono::Utc>, Uuid);

async fn listed(world: &World, filter: &Filter, after: Option<Place>, limit: i64) -> Vec<Place> {
    let mut conn = world.pool.acquire().await.unwrap();
    let rows = executions::list(&mut conn, filter, Run::Down(after), limit);
    let rows = rows
        .map(|row| row.unwrap())
        .map(|row| (row.started_at, row.id));
    rows.collect().await
}

#[tokio::test]
async fn pages_show_every_execution_once_newest_first() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 25).await;
    // Starts at the same instant are told apart by id.
    world.run("update execution.workflow_executions set started_at = date_trunc('minute', started_at)").await;
    let mut seen: Vec<Place> = Vec::new();
    loop {
        let page = listed(&world, &Filter::default(), seen.last().copied(), 10).await;
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    assert_eq!(seen.len(), 25);
    assert!(seen.is_sorted_by(|a, b| a > b));
}

#[tokio::test]
async fn executions_run_either_way() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 5).await;
    world.run("update execution.workflow_executions set started_at = date_trunc('minute', started_at)").await;
    let mut down = listed(&world, &Filter::default(), None, 10).await;
    let mut up: Vec<Place> = Vec::new();
    let mut conn = world.pool.acquire().await.unwrap();
    for _ in 0..3 {
        let run = Run::Up(up.last().copied());
        let page = executions::list(&mut conn, &Filter::default(), run, 2);
        let page = page.map(|row| row.map(|row| (row.started_at, row.id)).unwrap());
        up.extend(page.collect::<Vec<_>>().await);
    }
    down.reverse();
    assert_eq!(up, down);
}

#[tokio::test]
async fn tasks_run_by_age_and_by_due_time() {
    let world = World::new().await;
    let line = world.line(1).await;
    let mut ids = Vec::new();
    for due in ["null", "now() + '2 h'", "now() + '1 h'", "null"] {
        ids.push(make_task(&world, line, &format!("wake_at = {due}")).await);
    }
    let by_due = [ids[2], ids[1], ids[0].min(ids[3]), ids[0].max(ids[3])];
    let mut conn = world.pool.acquire().await.unwrap();
    let filter = tasks::TaskFilter::default();
    type Key = fn(&tasks::Task) -> chrono::DateTime<chrono::Utc>;
    type By = fn(Run<chrono::DateTime<chrono::Utc>>) -> TaskOrder;
    let orders: [(By, Key, &[Uuid]); 2] = [
        (TaskOrder::Created, |task| task.created_at, &ids),
        (TaskOrder::Due, tasks::Task::due_key, &by_due),
    ];
    for (by, key, wanted) in orders {
        for descending in [false, true] {
            let (mut seen, mut last) = (Vec::new(), None);
            loop {
                let run = if descending {
                    Run::Down(last)
                } else {
                    Run::Up(last)
                };
                let page = tasks::list(&mut conn, &filter, by(run), 1).await.unwrap();
                let Some(task) = page.first() else { break };
                seen.push(task.id);
                last = Some((key(task), task.id));
            }
            if descending {
                seen.reverse();
            }
            assert_eq!(seen, wanted, "descending: {descending}");
        }
    }
}

#[tokio::test]
async fn each_restriction_restricts() {
    let world = World::new().await;
    let (one, two) = (world.line(1).await, world.line(2).await);
    world.jobs(one, "pack", 3).await;
    world.jobs(two, "pack", 2).await;
    world
        .run(&format!(
            "update execution.workflow_executions
                set status = 'FAILED', completed_at = now(), started_at = '2020-01-01T00:00:00Z',
                    metadata = metadata || '{{\"region\": {{\"code\": \"eu\", \"n\": 7}}, \"who\": \"x\"}}',
                    simulation = true
              where id in (select id from execution.workflow_executions
                            where client_id = '{}' order by id limit 1)",
            one.client
        ))
        .await;
    let count = async |filter: Filter| listed(&world, &filter, None, 100).await.len();
    let year = |year: i32| Some(format!("{year}-01-01T00:00:00Z").parse().unwrap());
    let none = Filter::default;
    assert_eq!(count(none()).await, 5);
    assert_eq!(
        count(Filter {
            client_id: Some(one.client),
            ..none()
        })
        .await,
        3
    );
    assert_eq!(
        count(Filter {
            workflow_id: Some(two.workflow),
            ..none()
        })
        .await,
        2
    );
    assert_eq!(
        count(Filter {
            statuses: Some(vec!["FAILED".to_owned()]),
            ..none()
        })
        .await,
        1
    );
    for (from, before, wanted) in [
        (year(2020), None, 5),
        (None, year(2020), 0),
        (None, year(2021), 1),
    ] {
        let started = Range { from, before };
        assert_eq!(count(Filter { started, ..none() }).await, wanted);
    }
    assert_eq!(
        count(Filter {
            simulation: Some(false),
            ..none()
        })
        .await,
        4
    );
    let with = |metadata| Filter {
        metadata: Some(metadata),
        ..none()
    };
    assert_eq!(count(with(json!({"region": {"code": "eu"}}))).await, 1);
    assert_eq!(
        count(with(json!({"region": {"n": 7}, "who": "x"}))).await,
        1
    );
    assert_eq!(
        count(with(json!({"who": "input"}))).await,
        0,
        "input is not searched"
    );
    let both = Filter {
        client_id: Some(two.client),
        statuses: Some(vec!["FAILED".to_owned()]),
        ..none()
    };
    assert_eq!(count(both).await, 0);
}

#[tokio::test]
async fn execution_shows_what_it_waits_for_and_the_check_finds_one_that_waits_for_nothing() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 3).await;
    let mut conn = world.pool.acquire().await.unwrap();
    assert!(
        executions::without_reason(&mut conn, 10)
            .await
            .unwrap()
            .is_empty()
    );
    let (_, id) = listed(&world, &Filter::default(), None, 1).await[0];
    let execution = executions::get(&mut conn, id).await.unwrap().unwrap();
    let waits = execution.waits.unwrap().0;
    assert_eq!((waits.len(), waits[0].kind.as_str()), (1, "job"));
    assert_eq!(waits[0].job_type.as_deref(), Some("pack"));

    world
        .run(&format!(
            "delete from execution.waits where execution_id = '{id}'"
        ))
        .await;
    assert_eq!(
        executions::without_reason(&mut conn, 10).await.unwrap(),
        [id]
    );
    assert_eq!(executions::count_open(&mut conn).await.unwrap(), 3);
    let (_, over) = listed(&world, &Filter::default(), None, 3).await[2];
    let end = "update execution.workflow_executions set status = 'COMPLETED'";
    world
        .run(&format!("{end} where id in ('{id}', '{over}')"))
        .await;
    assert!(
        executions::without_reason(&mut conn, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(executions::count_open(&mut conn).await.unwrap(), 1);
}

/// Turns a job of the fixtures into a task.
async fn make_task(world: &World, line: Line, who: &str) -> Uuid {
    world.jobs(line, "task", 1).await;
    let row = world
        .rows("select id from execution.waits where job_type = 'task'")
        .await;
    let id: Uuid = serde_json::from_value(row[0]["id"].clone()).unwrap();
    let step = line.task_step;
    world
        .run(&format!(
            "update execution.waits set kind = 'person', job_type = null, step_id = '{step}', {who}
              where id = '{id}';
             update execution.execution_logs set step_id = '{step}' where id = '{id}'"
        ))
        .await;
    id
}

#[tokio::test]
async fn mine_is_what_i_may_decide_now() {
    let world = World::new().await;
    let line = world.line(1).await;
    let open = make_task(&world, line, "task_group = null").await;
    let group = make_task(&world, line, "task_group = 'chefs'").await;
    let named = make_task(&world, line, "assignees = '{ann@x.org}'").await;
    let either = make_task(
        &world,
        line,
        "task_group = 'chefs', assignees = '{bob@x.org}'",
    )
    .await;
    let claimed = make_task(&world, line, "held_by = 'ann@x.org'").await;
    let all = [open, group, named, either, claimed];
    let mut conn = world.pool.acquire().await.unwrap();
    let mut check = async |email: &str, groups: &[&str], want: &[Uuid]| {
        let filter = tasks::TaskFilter {
            mine: Some(tasks::Mine {
                email: email.to_owned(),
                groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            }),
            ..tasks::TaskFilter::default()
        };
        let oldest_first = TaskOrder::Created(Run::Up(None));
        let listed = tasks::list(&mut conn, &filter, oldest_first, 10)
            .await
            .unwrap();
        let mut ids: Vec<Uuid> = listed.iter().map(|task| task.id).collect();
        ids.sort_by_key(|id| all.iter().position(|known| known == id));
        assert_eq!(ids, want, "{email} {groups:?}");
    };
    check("ann@x.org", &[], &[open, named, claimed]).await;
    check("bob@x.org", &[], &[open, either]).await;
    check("eve@x.org", &["chefs", "cooks"], &[open, group, either]).await;
    check("eve@x.org", &[], &[open]).await;
}

#[tokio::test]
async fn task_can_be_read_when_it_is_over() {
    let world = World::new().await;
    let line = world.line(1).await;
    let id = make_task(&world, line, "held_by = 'ann@x.org'").await;
    let mut conn = world.pool.acquire().await.unwrap();
    let task = tasks::get(&mut conn, id).await.unwrap().unwrap();
    assert_eq!(task.claimed_by.as_deref(), Some("ann@x.org"));
    world
        .run(
            "delete from execution.waits;
             update execution.execution_logs
                set status = 'COMPLETED', completed_at = now(), data = '{\"approved\": true}', event_seq = 2",
        )
        .await;
    let task = tasks::get(&mut conn, id).await.unwrap().unwrap();
    assert_eq!((task.status.as_str(), task.claimed_by), ("COMPLETED", None));
    assert_eq!(task.output.unwrap().0["approved"], json!(true));
    assert!(
        tasks::get(&mut conn, Uuid::now_v7())
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn logs_come_in_the_order_asked_for() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 1).await;
    let (_, id) = listed(&world, &Filter::default(), None, 1).await[0];
    for (seq, event) in [(2, "4"), (3, "3"), (4, "null"), (5, "5")] {
        world
            .run(&format!(
                "insert into execution.execution_logs (id, execution_id, step_id, seq, event_seq)
                 values (gen_random_uuid(), '{id}', '{}', {seq}, {event})",
                line.job_step
            ))
            .await;
    }
    let mut conn = world.pool.acquire().await.unwrap();
    let place = logs::Place {
        order: Order::up("seq"),
        after: Some(1),
    };
    let all = logs::Filter::default();
    let rows = logs::list(&mut conn, id, &all, place, 3).map(|row| row.unwrap().seq);
    assert_eq!(rows.collect::<Vec<_>>().await, [2, 3, 4]);
    let mut check = async |place: logs::Place, filter: logs::Filter, want: &[i32]| {
        let rows = logs::list(&mut conn, id, &filter, place, 9).map(|row| row.unwrap().seq);
        assert_eq!(rows.collect::<Vec<_>>().await, want, "{place:?} {filter:?}");
    };
    let order = Order::down("seq");
    let after = Some(4);
    check(
        logs::Place { order, after },
        logs::Filter::default(),
        &[3, 2, 1],
    )
    .await;
    let place = logs::Place { order, after: None };
    let other = logs::Filter {
        step_id: Some(Uuid::nil()),
        ..logs::Filter::default()
    };
    check(place, other, &[]).await;
    let failed = logs::Filter {
        statuses: Some(vec!["FAILED".to_owned()]),
        ..logs::Filter::default()
    };
    check(place, failed, &[]).await;
    let pending = logs::Filter {
        step_id: Some(line.job_step),
        statuses: Some(vec!["PENDING".to_owned()]),
    };
    check(place, pending, &[5, 4, 3, 2, 1]).await;
    let ended = logs::ended_after(&mut conn, id, 3, 9).await.unwrap();
    assert_eq!(ended.iter().map(|log| log.seq).collect::<Vec<_>>(), [2, 5]);
    let open = logs::without_event(&mut conn, id).await.unwrap();
    assert_eq!(open.iter().map(|log| log.seq).collect::<Vec<_>>(), [1, 4]);
}

#[tokio::test]
async fn open_transaction_of_ours_holds_the_horizon_back() {
    let world = World::new().await;
    // Has not written yet, but may have read the clock.
    let mut writer = world.pool.begin().await.unwrap();
    let begun = chassis::db::now(&mut writer).await.unwrap();
    let mut tx = world.pool.begin().await.unwrap();
    let (now, horizon) = outbox::oldest_writer(&mut tx).await.unwrap();
    assert!(horizon <= begun && begun <= now);
    writer.commit().await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = world.pool.begin().await.unwrap();
    let (now, horizon) = outbox::oldest_writer(&mut tx).await.unwrap();
    assert_eq!(now, horizon);
}
