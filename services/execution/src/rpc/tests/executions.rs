//! How executions are started, listed and shown.

use super::*;

#[tokio::test]
async fn execution_says_in_words_what_it_waits_for() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 1).await;
    let service = service(&world);
    let id = only_execution(&service).await.id;
    let executions = Executions::new(service.clone());
    let reason = async |change: String| {
        world
            .run(&format!("update execution.waits set {change}"))
            .await;
        let request = pb::GetExecutionRequest { id: id.clone() };
        let execution = executions
            .get_execution(call(request))
            .await
            .unwrap()
            .into_inner();
        let [wait] = <[_; 1]>::try_from(execution.waits).unwrap();
        (wait.step_name, wait.reason)
    };
    let check = async |change: &str, want: (&str, &str)| {
        let (step, words) = reason(change.to_owned()).await;
        assert_eq!((step.as_str(), words.as_str()), want, "{change}");
    };
    check("wake_at = null", ("pack", "a worker for \"pack\"")).await;
    check(
        "held_by = 'u/w 1'",
        ("pack", "worker \"w 1\" to finish \"pack\""),
    )
    .await;
    let person = format!(
        "kind = 'person', held_by = null, step_id = '{}'",
        line.task_step
    );
    check(&person, ("check", "anybody to decide")).await;
    check(
        "task_group = 'chefs', assignees = '{bob@x.org}'",
        ("check", "a member of \"chefs\" or bob@x.org to decide"),
    )
    .await;
    check("held_by = 'ann@x.org'", ("check", "ann@x.org to decide")).await;
    let timer = "kind = 'timer', wake_at = '2030-01-02T03:04:05Z'";
    check(timer, ("check", "2030-01-02T03:04:05Z to come")).await;
}

#[tokio::test]
async fn large_metadata_makes_short_pages_and_no_row_is_lost() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 30).await;
    world
        .run(
            "update execution.workflow_executions
                set metadata = jsonb_build_object('inputData', jsonb_build_object('x', repeat('x', 250000)))",
        )
        .await;
    let executions = Executions::new(service(&world));
    let mut request = pb::ListExecutionsRequest {
        filter: format!("client_id = \"{}\"", line.client),
        ..pb::ListExecutionsRequest::default()
    };
    let mut ids = Vec::new();
    loop {
        let page = executions
            .list_executions(call(request.clone()))
            .await
            .unwrap()
            .into_inner();
        assert!(page.encoded_len() < 4 << 20);
        ids.extend(page.executions.into_iter().map(|execution| execution.id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 30);
}

#[tokio::test]
async fn bad_filters_are_refused() {
    let world = World::new().await;
    let executions = Executions::new(service(&world));
    for filter in [
        "status = \"DONE\"",
        "metadata.inputData.a = 1",
        "nothing = 1",
        "started_at = 5",
    ] {
        let request = pb::ListExecutionsRequest {
            filter: filter.to_owned(),
            ..pb::ListExecutionsRequest::default()
        };
        let status = executions.list_executions(call(request)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{filter}");
    }
}

#[tokio::test]
async fn everything_wrong_with_a_request_is_told_at_once() {
    let world = World::new().await;
    let jobs = Jobs::new(service(&world));
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let request = pb::ActivateJobsRequest {
        worker: String::new(),
        job_types: vec!["a".to_owned(), "\0".to_owned()],
        max_jobs: 1001,
        lease_duration: seconds(0),
        wait_timeout: seconds(61),
    };
    let status = jobs.activate_jobs(call(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let violations = status.get_details_bad_request().unwrap().field_violations;
    let mut fields: Vec<&str> = violations.iter().map(|v| v.field.as_str()).collect();
    fields.sort_unstable();
    let want = [
        "job_types[1]",
        "lease_duration",
        "max_jobs",
        "wait_timeout",
        "worker",
    ];
    assert_eq!(fields, want);
}

#[tokio::test]
async fn repeated_simulation_finds_the_first_one_whatever_became_of_its_workflow() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 1).await;
    let service = service(&world);
    let id = only_execution(&service).await.id;
    let executions = Executions::new(service);
    let metadata = Map::from_iter([("simulation".to_owned(), Value::Bool(true))]);
    let mut request = pb::StartExecutionRequest {
        workflow_id: line.workflow.to_string(),
        metadata: Some(wire::struct_from_json(&metadata)),
        ..pb::StartExecutionRequest::default()
    };
    let caller = call(()).extensions().get::<Caller>().unwrap().clone();
    let request_id = Uuid::from_u128(77).to_string();
    let key = RequestKey::from(&caller, "StartExecution", &request_id, &request);
    let key = key.unwrap().unwrap();
    let hash: String = key.body_hash.iter().map(|b| format!("{b:02x}")).collect();
    world
        .run(&format!(
            "insert into execution.requests (caller, method, request_id, body_hash, resource_id)
             values ('{}', '{}', '{request_id}', '\\x{hash}', '{id}')",
            key.caller, key.method
        ))
        .await;
    request.request_id = request_id;
    let again = executions.start_execution(call(request)).await.unwrap();
    assert_eq!(again.into_inner().id, id);
}
