//! What history is told: of executions by id, and of ranges.

use super::*;

pub(super) async fn told(
    history: &History,
    request: pb::StreamHistoryRequest,
) -> Vec<pb::ExecutionEvents> {
    let stream = history
        .stream_history(call(request))
        .await
        .unwrap()
        .into_inner();
    stream
        .map(|item| item.unwrap().events.unwrap())
        .collect()
        .await
}

fn ids(told: &[pb::ExecutionEvents]) -> Vec<&str> {
    told.iter()
        .map(|events| events.execution_id.as_str())
        .collect()
}

fn of_range(range: pb::HistoryRange) -> pb::StreamHistoryRequest {
    pb::StreamHistoryRequest {
        execution_ids: Vec::new(),
        range: Some(range),
    }
}

#[tokio::test]
async fn history_tells_known_executions_and_leaves_out_the_others() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 2).await;
    world
        .run(
            "update execution.execution_logs set status = 'COMPLETED', completed_at = now(), event_seq = 2;
             update execution.workflow_executions
                set status = 'COMPLETED', completed_at = now(), event_count = 3;
             update execution.workflow_executions set simulation = true
              where id = (select max(id::text)::uuid from execution.workflow_executions)",
        )
        .await;
    let rows = world
        .rows("select id from execution.workflow_executions order by id")
        .await;
    let mut execution_ids: Vec<String> = rows
        .iter()
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect();
    execution_ids.push(Uuid::now_v7().to_string());
    let history = History::new(service(&world));
    let request = pb::StreamHistoryRequest {
        execution_ids: execution_ids.clone(),
        range: None,
    };
    let told = told(&history, request).await;
    let [events] = told.as_slice() else {
        panic!("simulated and unknown ones are left out: {told:?}");
    };
    assert_eq!(
        (&events.execution_id, events.first_seq),
        (&execution_ids[0], 1)
    );
    let kinds: Vec<_> = events
        .events
        .iter()
        .map(|event| event.event.as_ref().unwrap())
        .collect();
    assert!(matches!(
        kinds.as_slice(),
        [
            step_event::Event::ExecutionStarted(_),
            step_event::Event::StepFinished(_),
            step_event::Event::ExecutionFinished(_)
        ]
    ));
}

/// Executions of two workflows, some of which began together: what the service should tell, as `(id, start)`.
async fn filled(world: &World) -> (Uuid, Vec<(String, String)>) {
    let line = world.line(1).await;
    // More than are read at once.
    world.jobs(line, "pack", 450).await;
    world
        .run(
            "update execution.execution_logs set status = 'COMPLETED', completed_at = now(), event_seq = 2;
             update execution.workflow_executions
                set status = 'COMPLETED', completed_at = now(), event_count = 3,
                    started_at = '2024-03-01Z'::timestamptz
                        + (metadata #>> '{inputData,n}')::int / 7 * interval '1 minute';
             update execution.workflow_executions set simulation = true
              where (metadata #>> '{inputData,n}')::int % 50 = 0",
        )
        .await;
    let other = world.line(2).await;
    world.jobs(other, "pack", 3).await;
    let sql = format!(
        "select id, to_char(started_at at time zone 'UTC', 'HH24:MI') as start
           from execution.workflow_executions
          where workflow_id = '{}' and not simulation order by started_at, id",
        line.workflow
    );
    let rows = world.rows(&sql).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rows = rows
        .iter()
        .map(|row| (text(&row["id"]), text(&row["start"])));
    (line.workflow, rows.collect())
}

#[tokio::test]
async fn range_is_told_in_order_whole_and_without_simulations() {
    let world = World::new().await;
    let (workflow, rows) = filled(&world).await;
    assert_eq!(rows.len(), 441);
    let history = History::new(service(&world));
    let of_workflow = pb::HistoryRange {
        workflow_id: workflow.to_string(),
        ..pb::HistoryRange::default()
    };
    let all = told(&history, of_range(of_workflow.clone())).await;
    let want: Vec<&str> = rows.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids(&all), want);
    assert!(
        all.iter()
            .all(|it| it.first_seq == 1 && it.events.len() == 3)
    );
    let everybody = told(&history, of_range(pb::HistoryRange::default())).await;
    assert_eq!(everybody.len(), 444, "of all workflows");
    assert_eq!(ids(&everybody)[..441], want);

    // From one minute on, before another one.
    let minute = |minute: i64| prost_types::Timestamp {
        seconds: 1_709_251_200 + minute * 60,
        nanos: 0,
    };
    let part = pb::HistoryRange {
        started_from: Some(minute(10)),
        started_before: Some(minute(12)),
        ..of_workflow.clone()
    };
    let part = told(&history, of_range(part)).await;
    let want: Vec<&str> = rows
        .iter()
        .filter(|(_, start)| ["00:10", "00:11"].contains(&start.as_str()))
        .map(|(id, _)| id.as_str())
        .collect();
    assert_eq!((ids(&part), part.len()), (want, 14));

    // Among executions that began together, and far enough from the end for two more readings.
    let last = &all[24];
    let rest = pb::HistoryRange {
        after_started_at: last.started_at,
        after_execution_id: last.execution_id.clone(),
        ..of_workflow
    };
    let rest = told(&history, of_range(rest)).await;
    assert_eq!(last.started_at, rest[0].started_at);
    assert_eq!(ids(&rest), ids(&all[25..]));
}

#[tokio::test]
async fn history_is_asked_for_in_one_way() {
    let world = World::new().await;
    let history = History::new(service(&world));
    let check = async |request: pb::StreamHistoryRequest, want: &str| {
        let refused = history.stream_history(call(request)).await.err().unwrap();
        assert_eq!(refused.code(), Code::InvalidArgument, "{want}");
        let violations = refused.get_details_bad_request().unwrap().field_violations;
        let [violation] = violations.as_slice() else {
            panic!("{violations:?}");
        };
        assert_eq!(violation.field, want);
    };
    check(pb::StreamHistoryRequest::default(), "execution_ids").await;
    let id = Uuid::now_v7().to_string();
    let both = pb::StreamHistoryRequest {
        execution_ids: vec![id.clone()],
        range: Some(pb::HistoryRange::default()),
    };
    check(both, "execution_ids").await;
    let range = pb::HistoryRange {
        workflow_id: "W".to_owned(),
        ..pb::HistoryRange::default()
    };
    check(of_range(range), "range.workflow_id").await;
    let range = pb::HistoryRange {
        after_execution_id: id,
        ..pb::HistoryRange::default()
    };
    check(of_range(range), "range.after_started_at").await;
    let range = pb::HistoryRange {
        after_started_at: Some(prost_types::Timestamp::default()),
        ..pb::HistoryRange::default()
    };
    check(of_range(range), "range.after_execution_id").await;
    let range = pb::HistoryRange {
        started_from: Some(prost_types::Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        }),
        ..pb::HistoryRange::default()
    };
    check(of_range(range), "range.started_from").await;
}
