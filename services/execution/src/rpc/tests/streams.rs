//! What is sent as it happens.

use super::*;

#[tokio::test]
async fn watch_sends_what_changes_and_ends_with_the_final_status() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 1).await;
    let service = service(&world);
    let id = only_execution(&service).await.id;
    let executions = Executions::new(service);
    let request = pb::WatchExecutionRequest { id };
    let mut stream = executions
        .watch_execution(call(request))
        .await
        .unwrap()
        .into_inner();
    let mut next = async || Some(stream.next().await?.unwrap().change.unwrap());
    let Some(Changed::Execution(execution)) = next().await else {
        panic!("the execution comes first");
    };
    assert_eq!(execution.waits.len(), 1);
    let Some(Changed::Log(log)) = next().await else {
        panic!("then its logs");
    };
    assert_eq!(
        (log.status(), log.step_name.as_str()),
        (pb::StepStatus::Pending, "pack")
    );
    world
        .run("update execution.execution_logs set status = 'RUNNING', assigned_at = now()")
        .await;
    let Some(Changed::Log(log)) = next().await else {
        panic!("a lease changes the log alone");
    };
    assert_eq!(log.status(), pb::StepStatus::Running);
    world
        .run(
            "begin;
             delete from execution.waits;
             update execution.execution_logs set status = 'COMPLETED', completed_at = now(), event_seq = 2;
             update execution.workflow_executions
                set status = 'COMPLETED', completed_at = now(), revision = revision + 1;
             commit",
        )
        .await;
    let Some(Changed::Log(log)) = next().await else {
        panic!("logs come before the end");
    };
    assert_eq!(log.status(), pb::StepStatus::Completed);
    let Some(Changed::Execution(execution)) = next().await else {
        panic!("the end comes last");
    };
    assert_eq!(execution.status(), pb::ExecutionStatus::Completed);
    assert!(next().await.is_none());
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
    };
    let stream = history
        .stream_history(call(request))
        .await
        .unwrap()
        .into_inner();
    let told: Vec<pb::ExecutionEvents> = stream
        .map(|item| item.unwrap().events.unwrap())
        .collect()
        .await;
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

/// An object that is `depth` levels deep.
fn nested(depth: usize) -> Map<String, Value> {
    let innermost = Map::from_iter([("a".to_owned(), json!(1))]);
    (1..depth).fold(innermost, |inner, _| {
        Map::from_iter([("a".to_owned(), Value::Object(inner))])
    })
}

#[tokio::test]
async fn deepest_values_can_be_decoded_by_every_client() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 1).await;
    let deep = Value::Object(nested(32));
    let route = json!({"candidates": [{"to": "check", "holds": true, "seen": {"data": deep}}]});
    world
        .run(&format!(
            "update execution.execution_logs set data = '{deep}', route = '{route}';
             update execution.workflow_executions set metadata = '{deep}'"
        ))
        .await;
    let service = service(&world);
    let execution = only_execution(&service).await;
    let list = pb::ListExecutionsResponse {
        executions: vec![execution.clone()],
        ..pb::ListExecutionsResponse::default()
    };
    pb::ListExecutionsResponse::decode(list.encode_to_vec().as_slice()).unwrap();
    let executions = Executions::new(service);
    let request = pb::ListExecutionLogsRequest {
        execution_id: execution.id,
        ..pb::ListExecutionLogsRequest::default()
    };
    let logs = executions
        .list_execution_logs(call(request))
        .await
        .unwrap()
        .into_inner();
    let logs = pb::ListExecutionLogsResponse::decode(logs.encode_to_vec().as_slice()).unwrap();
    let route = wire::json_from_struct(logs.logs[0].route.as_ref().unwrap()).unwrap();
    assert_eq!(
        json!(route),
        json!({"candidates": [{"to": "check", "holds": true}]})
    );
}
