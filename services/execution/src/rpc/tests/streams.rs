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

/// An object that is `depth` levels deep.
pub(super) fn nested(depth: usize) -> Map<String, Value> {
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
