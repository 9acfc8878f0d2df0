//! What an import writes.

use prost::Message;
use proto::reporting::v1::StreamStepEventsRequest;

use super::*;
use crate::rpc::tests::history::told;

/// Twice around the loop, the second time with a failure that was tried again; sent in no order.
fn twice_around() -> ImportedExecution {
    let failed = ImportedStep {
        status: pb::StepStatus::Failed.into(),
        error: "no \u{20ac} left".to_owned(),
        ..done("a", 60)
    };
    let again = ImportedStep {
        attempt: 2,
        queued_at: second(60),
        available_at: second(65),
        assigned_at: second(70),
        output: Some(wire::struct_from_json(&Map::from_iter([(
            "n".to_owned(),
            json!(7),
        )]))),
        resource: "clerk-7; \"A.\"".to_owned(),
        message: "at last".to_owned(),
        ..done("a", 80)
    };
    ImportedExecution {
        started_at: second(-5),
        status: pb::ExecutionStatus::Failed.into(),
        error_code: "TOO_LATE".to_owned(),
        input_data: Some(wire::struct_from_json(&Map::from_iter([(
            "order".to_owned(),
            json!("x"),
        )]))),
        ..case(
            "case 1",
            vec![
                // Equal instants keep the order in which they were sent.
                done("The second", 80),
                done("c", 80),
                again,
                failed,
                done("a", 10),
                done("b", 20),
            ],
        )
    }
}

#[tokio::test]
async fn execution_is_written_as_if_it_had_run_here() {
    let world = World::new().await;
    let it = a_loop(&world, ["The first", "The second", "The third"]).await;
    let service = service(&world);
    let response = answer(&service, of(it.workflow, vec![twice_around()])).await;
    assert_eq!(counts(&response), (1, 0, 0), "{:?}", response.failures);
    assert_eq!((response.total_imported, response.workflow_version), (1, 1));

    let sql =
        "select status, business_key, workflow_version, event_count, error, error_code, metadata,
                      simulation, started_by, extract(epoch from started_at)::int as start,
                      extract(epoch from completed_at)::int as stop
                 from execution.workflow_executions";
    let [row] = <[_; 1]>::try_from(world.rows(sql).await).unwrap();
    let want = json!({
        "status": "FAILED", "business_key": "case 1", "workflow_version": 1, "event_count": 8, "error": "",
        "error_code": "TOO_LATE", "metadata": { "inputData": { "order": "x" } }, "simulation": false,
        "started_by": Uuid::from_u128(5), "start": 1_262_303_995, "stop": 1_262_304_080,
    });
    assert_eq!(json!(row), want);

    let sql = "select array[seq, event_seq, activation, attempt] as numbers, s.key, l.status, will_retry,
                      l.message, l.error, l.error_code, l.data, route #>> '{taken,0}' as taken,
                      (select array_agg((extract(epoch from t) - 1262304000)::int) from
                       unnest(array[queued_at, available_at, assigned_at, l.started_at, completed_at]) t) as times, from_seq
                 from execution.execution_logs l join catalog.workflow_steps s on s.id = l.step_id
                order by seq";
    let rows = world.rows(sql).await;
    let log = |at: usize| json!(rows[at]);
    let plain = |numbers: [i32; 4], key: &str, at: i64, taken: Option<Uuid>| {
        json!({
            "numbers": numbers, "key": key, "status": "COMPLETED", "will_retry": false, "message": null,
            "error": null, "error_code": null, "data": null, "taken": taken,
            "times": [at, at, null, at, at],
            "from_seq": 0,
        })
    };
    assert_eq!(rows.len(), 6);
    assert_eq!(log(0), plain([1, 2, 1, 1], "a", 10, Some(it.a_to_b)));
    assert_eq!(log(1), plain([2, 3, 1, 1], "b", 20, Some(it.b_to_a)));
    let failed = json!({
        "numbers": [3, 4, 2, 1], "key": "a", "status": "FAILED", "will_retry": true, "message": null,
        "error": "no \u{20ac} left", "error_code": "FAILED", "data": null, "taken": null,
        "times": [60, 60, null, 60, 60], "from_seq": 0,
    });
    assert_eq!(log(2), failed);
    assert_eq!(log(3), plain([4, 5, 2, 1], "b", 80, Some(it.b_to_c)));
    assert_eq!(log(4), plain([5, 6, 1, 1], "c", 80, None));
    let again = json!({
        "numbers": [6, 7, 2, 2], "key": "a", "status": "COMPLETED", "will_retry": false,
        "message": "completed by \"clerk-7; \\\"A.\\\"\"; at last", "error": null, "error_code": null,
        "data": { "n": 7 }, "taken": null, "times": [60, 65, 70, 70, 80], "from_seq": 3,
    });
    assert_eq!(log(5), again);
    assert_eq!(count(&world, "waits").await, 0);
    assert_eq!(count(&world, "execution_states").await, 0);
}

/// The events in the outbox, those of each execution put together.
async fn sent(world: &World) -> Vec<pb::ExecutionEvents> {
    let rows = sqlx::query_scalar!("select payload from execution.outbox order by created_at, id")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    let mut all: Vec<pb::ExecutionEvents> = Vec::new();
    for row in rows {
        let request = StreamStepEventsRequest::decode(row.as_slice()).unwrap();
        for told in request.executions {
            match all
                .iter_mut()
                .find(|it| it.execution_id == told.execution_id)
            {
                Some(before) => {
                    let next = before.first_seq + before.events.len() as i64;
                    assert_eq!(told.first_seq, next, "no event is missing");
                    before.events.extend(told.events);
                }
                None => all.push(told),
            }
        }
    }
    all.sort_by_key(|it| (it.started_at.unwrap().seconds, it.execution_id.clone()));
    all
}

#[tokio::test]
async fn history_equals_what_was_sent() {
    let world = World::new().await;
    let it = a_loop(&world, ["The first", "The second", "The third"]).await;
    let service = service(&world);
    // One with as many steps as there may be, so that its events do not fit into one row.
    let long = (0..10_000).map(|n| done(["a", "b"][n as usize % 2], n));
    let cases = vec![
        twice_around(),
        case("long", long.collect()),
        ImportedExecution {
            started_at: second(3),
            completed_at: second(3),
            status: pb::ExecutionStatus::Cancelled.into(),
            ..case("nothing was done", Vec::new())
        },
    ];
    let response = answer(&service, of(it.workflow, cases)).await;
    assert_eq!(counts(&response), (3, 0, 0), "{:?}", response.failures);
    let sent = sent(&world).await;
    let range = pb::HistoryRange::default();
    let request = pb::StreamHistoryRequest {
        execution_ids: Vec::new(),
        range: Some(range),
    };
    let mut told = told(&History::new(service), request).await;
    // Long histories come in parts here, too.
    while let Some(at) = (1..told.len()).find(|at| told[*at].first_seq > 1) {
        let part = told.remove(at);
        told[at - 1].events.extend(part.events);
    }
    let lengths: Vec<usize> = sent.iter().map(|it| it.events.len()).collect();
    assert_eq!(lengths, [8, 10_002, 2]);
    assert_eq!(sent, told);
    let last = sent[1].events.last().unwrap().event.clone();
    let Some(step_event::Event::ExecutionFinished(end)) = last else {
        panic!("{last:?}");
    };
    assert_eq!(end.completed_at, second(9_999));
}

#[tokio::test]
async fn logs_call_steps_by_their_names_first() {
    let world = World::new().await;
    // The first step's key is the second one's name, as if made from "A".
    let it = a_loop(&world, ["A", "a", "c"]).await;
    let service = service(&world);
    let steps = vec![done("a", 1), done("A", 2), done("b", 3)];
    let response = answer(&service, of(it.workflow, vec![case("1", steps)])).await;
    assert_eq!(counts(&response), (1, 0, 0), "{:?}", response.failures);
    let sql = "select s.key from execution.execution_logs l join catalog.workflow_steps s on s.id = l.step_id
                order by l.seq";
    let rows = world.rows(sql).await;
    let keys: Vec<_> = rows.iter().map(|row| row["key"].as_str()).collect();
    assert_eq!(keys, [Some("b"), Some("a"), Some("b")]);
}

#[tokio::test]
async fn case_that_the_database_refuses_fails_alone() {
    let world = World::new().await;
    let it = a_loop(&world, ["a", "b", "c"]).await;
    world
        .run(
            "alter table execution.workflow_executions
               add constraint nobody_likes_it check (business_key <> 'case 3')",
        )
        .await;
    let service = service(&world);
    let cases = (0..7).map(|n| case(&format!("case {n}"), vec![done("a", n)]));
    let response = answer(&service, of(it.workflow, cases.collect())).await;
    assert_eq!(counts(&response), (6, 0, 1));
    let [failure] = response.failures.as_slice() else {
        panic!("{:?}", response.failures);
    };
    assert_eq!((failure.position, failure.case_id.as_str()), (3, "case 3"));
    assert_eq!(failure.error.as_ref().unwrap().code, Code::Internal as i32);
    assert_eq!(count(&world, "workflow_executions").await, 6);
    assert_eq!(count(&world, "execution_logs").await, 6);
    assert_eq!(count(&world, "imports").await, 6);
    assert_eq!(sent(&world).await.len(), 6);
}

#[tokio::test]
async fn what_was_begun_is_finished_when_the_caller_has_left() {
    let world = World::new().await;
    let it = a_loop(&world, ["a", "b", "c"]).await;
    let service = service(&world);
    let mut holder = world.pool.acquire().await.unwrap();
    // Nobody may write a log meanwhile.
    sqlx::raw_sql("begin; lock table execution.imports in share mode")
        .execute(&mut *holder)
        .await
        .unwrap();
    let caller = call(()).extensions().get::<Caller>().unwrap().clone();
    let request = of(it.workflow, vec![case("case 1", vec![done("a", 1)])]);
    let stream = Imports::default().start(&service, &caller, tokio_stream::iter([Ok(request)]));
    until(async || {
        let waiting = "select 1 from pg_stat_activity
                        where wait_event_type = 'Lock' and query like '%execution.insert_imports%'
                          and datname = current_database()";
        !world.rows(waiting).await.is_empty()
    })
    .await;
    drop(stream);
    sqlx::raw_sql("rollback")
        .execute(&mut *holder)
        .await
        .unwrap();
    until(async || count(&world, "imports").await == 1).await;
    assert_eq!(sent(&world).await.len(), 1);
}

/// Waits for what will be so soon.
async fn until(is_so: impl AsyncFn() -> bool) {
    let looking = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    let looked = tokio::time::timeout(Duration::from_secs(20), looking);
    looked.await.expect("it comes about");
}
