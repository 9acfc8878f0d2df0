//! What workers and people get.

use super::*;

/// From a worker that would wait for half a minute.
fn patient() -> Request<pb::ActivateJobsRequest> {
    call(pb::ActivateJobsRequest {
        worker: "w".to_owned(),
        job_types: vec!["pack".to_owned()],
        wait_timeout: Some(prost_types::Duration {
            seconds: 30,
            nanos: 0,
        }),
        ..pb::ActivateJobsRequest::default()
    })
}

#[tokio::test]
async fn worker_that_waits_gets_a_job_that_comes_later() {
    let world = World::new().await;
    let line = world.line(1).await;
    let jobs = Jobs::new(service(&world));
    let (answer, ()) = tokio::join!(jobs.activate_jobs(patient()), world.jobs(line, "pack", 1));
    assert_eq!(answer.unwrap().into_inner().jobs.len(), 1);
}

#[tokio::test]
async fn nothing_waits_on_for_a_worker_that_left() {
    let world = World::new().await;
    let jobs = Jobs::new(service(&world));
    let mut request = patient();
    let gone = CallerGone::default();
    request.extensions_mut().insert(gone.clone());
    let waiting = tokio::time::timeout(Duration::from_secs(20), jobs.activate_jobs(request));
    let (answer, ()) = tokio::join!(waiting, async { gone.0.cancel() });
    let answer = answer.expect("it does not wait on for nobody");
    assert!(answer.unwrap().into_inner().jobs.is_empty());
}

#[tokio::test]
async fn task_shows_what_its_execution_knows_and_a_job_is_no_task() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 1).await;
    let service = service(&world);
    let tasks = Tasks::new(service.clone());
    let job = world.rows("select id from execution.waits").await;
    let id = job[0]["id"].as_str().unwrap().to_owned();
    let request = pb::GetTaskRequest { id };
    let status = tasks.get_task(call(request.clone())).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    world
        .run(&format!(
            "update execution.waits set kind = 'person', task_group = 'chefs', step_id = '{0}';
             update execution.execution_logs set step_id = '{0}'",
            line.task_step
        ))
        .await;
    let task = tasks.get_task(call(request)).await.unwrap().into_inner();
    assert_eq!(
        (task.step_type.as_str(), task.group.as_str()),
        ("approval", "chefs")
    );
    let data = wire::json_from_struct(task.data.as_ref().unwrap()).unwrap();
    assert_eq!(json!(data), json!({"n": 1, "who": "input"}));
    let request = pb::ListTasksRequest {
        filter: "mine = true AND group = \"chefs\"".to_owned(),
        ..pb::ListTasksRequest::default()
    };
    let listed = tasks
        .list_tasks(call(request))
        .await
        .unwrap()
        .into_inner()
        .tasks;
    assert_eq!((listed.len(), &listed[0].data), (1, &None));
}
