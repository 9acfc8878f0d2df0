//! Many executions, as they change.

use pb::watch_executions_response::Change as Seen;

use super::*;

type Stream = <Executions as ExecutionService>::WatchExecutionsStream;

async fn watch(executions: &Executions, request: pb::WatchExecutionsRequest) -> Stream {
    let stream = executions.watch_executions(call(request)).await;
    stream.unwrap().into_inner()
}

/// The next execution's id and status; nothing once the stream has caught up.
async fn next(stream: &mut Stream) -> Option<(String, pb::ExecutionStatus)> {
    match stream.next().await.unwrap().unwrap().change.unwrap() {
        Seen::Execution(execution) => Some((execution.id.clone(), execution.status())),
        Seen::CaughtUpAt(_) => None,
    }
}

async fn ids(world: &World) -> Vec<String> {
    let rows = world
        .rows("select id from execution.workflow_executions order by started_at")
        .await;
    rows.iter()
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect()
}

async fn end(world: &World, id: &str) {
    world
        .run(&format!(
            "begin;
             delete from execution.waits where execution_id = '{id}';
             update execution.workflow_executions
                set status = 'FAILED', completed_at = now(), revision = revision + 1 where id = '{id}';
             commit"
        ))
        .await;
}

#[tokio::test]
async fn watch_of_a_workflow_tells_the_open_ones_and_then_what_moves_and_what_starts() {
    let world = World::new().await;
    let (line, other) = (world.line(1).await, world.line(2).await);
    world.jobs(line, "pack", 3).await;
    world.jobs(other, "pack", 1).await;
    let known = ids(&world).await;
    let over = &known[0];
    end(&world, over).await;
    let own = world
        .rows(&format!(
            "select id from execution.workflow_executions where workflow_id = '{}' and status = 'RUNNING'",
            line.workflow
        ))
        .await;
    let executions = Executions::new(service(&world));
    let request = pb::WatchExecutionsRequest {
        workflow_id: line.workflow.to_string(),
        ..Default::default()
    };
    let mut stream = watch(&executions, request).await;
    let mut told = Vec::new();
    while let Some((id, status)) = next(&mut stream).await {
        assert_eq!(status, pb::ExecutionStatus::Running);
        told.push(id);
    }
    assert_eq!(told.len(), own.len());
    assert!(!told.contains(over));
    end(&world, &told[0]).await;
    let failed = pb::ExecutionStatus::Failed;
    assert_eq!(next(&mut stream).await, Some((told[0].clone(), failed)));
    // One that begins, and was not there before; committed late, as its start says.
    world.jobs(line, "pack", 1).await;
    world
        .run(
            "update execution.workflow_executions set started_at = now() - interval '20 s'
               where started_at = (select max(started_at) from execution.workflow_executions)",
        )
        .await;
    let (new, status) = next(&mut stream).await.unwrap();
    assert_eq!(status, pb::ExecutionStatus::Running);
    assert!(!known.contains(&new));
}

#[tokio::test]
async fn watch_of_named_executions_ends_when_they_are_over() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 2).await;
    let known = ids(&world).await;
    let executions = Executions::new(service(&world));
    let request = pb::WatchExecutionsRequest {
        ids: known.clone(),
        statuses: vec![pb::ExecutionStatus::Failed.into()],
        ..Default::default()
    };
    let mut stream = watch(&executions, request).await;
    assert_eq!(next(&mut stream).await, None, "none has failed yet");
    for id in &known {
        end(&world, id).await;
        let (told, _) = next(&mut stream).await.unwrap();
        assert_eq!(&told, id);
    }
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn watch_wants_one_scope_and_has_room_for_so_many() {
    let world = World::new().await;
    let line = world.line(1).await;
    let executions = Executions::new(service(&world));
    let id = Uuid::now_v7().to_string();
    let refused = async |request: pb::WatchExecutionsRequest| {
        let answer = executions.watch_executions(call(request)).await;
        answer.err().map(|status| status.code())
    };
    let scope = pb::WatchExecutionsRequest {
        client_id: line.client.to_string(),
        ..Default::default()
    };
    let both = pb::WatchExecutionsRequest {
        workflow_id: id.clone(),
        ..scope.clone()
    };
    let unknown = pb::WatchExecutionsRequest {
        ids: vec![id.clone()],
        ..Default::default()
    };
    let many = pb::WatchExecutionsRequest {
        ids: vec![id; 101],
        ..Default::default()
    };
    let strange = pb::WatchExecutionsRequest {
        statuses: vec![0],
        ..scope.clone()
    };
    for request in [pb::WatchExecutionsRequest::default(), both, many, strange] {
        assert_eq!(refused(request).await, Some(Code::InvalidArgument));
    }
    assert_eq!(refused(unknown).await, Some(Code::NotFound));
    let mut open = Vec::new();
    for _ in 0..50 {
        open.push(watch(&executions, scope.clone()).await);
    }
    let exhausted = Some(Code::ResourceExhausted);
    assert_eq!(refused(scope.clone()).await, exhausted);
}
