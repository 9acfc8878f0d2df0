//! The reading calls, on rows of the test's making.

use std::time::Duration;

use chassis::Shutdown;
use chassis::auth::{Caller, User};
use chassis::idempotency::RequestKey;
use chassis::server::CallerGone;
use model::status::Role;
use model::wire;
use prost::Message;
use proto::execution::v1::execution_service_server::ExecutionService;
use proto::execution::v1::history_service_server::HistoryService;
use proto::execution::v1::job_service_server::JobService;
use proto::execution::v1::task_service_server::TaskService;
use proto::execution::v1::watch_execution_response::Change as Changed;
use proto::execution::v1::{self as pb, step_event};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tonic::{Code, Request};
use tonic_types::StatusExt;
use uuid::Uuid;

use super::executions::Executions;
use super::history::History;
use super::jobs::Jobs;
use super::tasks::Tasks;
use crate::committer::{Committer, Hints};
use crate::fixtures::World;
use crate::state::Service;

fn service(world: &World) -> Service {
    let shutdown = Shutdown::new();
    let definitions = world.definitions();
    let (handed, _) = mpsc::channel(1);
    let hints = Hints::default();
    let (changes, jobs) = (hints.changes.subscribe(), hints.jobs.subscribe());
    let pool = world.pool.clone();
    let committer = Committer::start(pool.clone(), definitions.clone(), handed, hints, &shutdown);
    Service {
        pool,
        committer,
        definitions,
        changes,
        jobs,
        shutdown,
    }
}

fn call<T>(body: T) -> Request<T> {
    let mut request = Request::new(body);
    request.extensions_mut().insert(Caller::User(User {
        id: Uuid::from_u128(5),
        email: "ann@x.org".to_owned(),
        name: "Ann".to_owned(),
        role: Role::User,
        groups: vec!["chefs".to_owned()],
    }));
    request
}

async fn only_execution(service: &Service) -> pb::Execution {
    let executions = Executions::new(service.clone());
    let list = executions
        .list_executions(call(pb::ListExecutionsRequest::default()))
        .await;
    let [execution] = <[_; 1]>::try_from(list.unwrap().into_inner().executions).unwrap();
    execution
}

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

#[tokio::test]
async fn worker_that_waits_gets_a_job_that_comes_later() {
    let world = World::new().await;
    let line = world.line(1).await;
    let jobs = Jobs::new(service(&world));
    let request = pb::ActivateJobsRequest {
        worker: "w".to_owned(),
        job_types: vec!["pack".to_owned()],
        wait_timeout: Some(prost_types::Duration {
            seconds: 30,
            nanos: 0,
        }),
        ..pb::ActivateJobsRequest::default()
    };
    let (answer, ()) = tokio::join!(
        jobs.activate_jobs(call(request)),
        world.jobs(line, "pack", 1)
    );
    assert_eq!(answer.unwrap().into_inner().jobs.len(), 1);
}

#[tokio::test]
async fn nothing_waits_on_for_a_worker_that_left() {
    let world = World::new().await;
    let jobs = Jobs::new(service(&world));
    let mut request = call(pb::ActivateJobsRequest {
        worker: "w".to_owned(),
        job_types: vec!["pack".to_owned()],
        wait_timeout: Some(prost_types::Duration {
            seconds: 30,
            nanos: 0,
        }),
        ..pb::ActivateJobsRequest::default()
    });
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
