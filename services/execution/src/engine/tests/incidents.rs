//! Steps that park: what failed waits for an operator, everything else goes on.

use serde_json::json;

use super::super::*;
use super::*;

fn parking() -> Run {
    let config = json!({ "onFailure": "park", "retry": { "maxAttempts": 2 } });
    let steps = [("Charge", "work", config), ("Ship", "work", json!({}))];
    let ways = [("Charge", "Ship", Value::Null)];
    let mut run = Run::start(graph(&steps, &ways), json!({ "card": "old" }));
    run.break_down("DECLINED").expect("held");
    run.break_down("DECLINED").expect("held");
    run
}

fn resolve(run: &mut Run, resolution: Resolution) -> Result<(), Refusal> {
    let seq = run.execution.branches[0].seq;
    let actor = person("ops@example.com", &[]);
    run.tell(Command::Resolve {
        seq,
        actor,
        resolution,
    })
}

#[test]
fn a_parked_step_is_tried_again_with_corrected_data() {
    let mut run = parking();
    let told = ["Charge FAILED", "Charge FAILED", "Charge PENDING"];
    run.check(ExecutionStatus::Running, &told);
    let failure = Failure::new("DECLINED", "broken");
    assert_eq!(run.execution.branches[0].hold, Hold::Incident { failure });
    let answer = Answer::Complete {
        worker: "w".to_owned(),
        output: Map::new(),
    };
    assert_eq!(run.answer(&worker(), answer), Err(Refusal::NotAJob));

    let data = object(json!({ "card": "new" }));
    resolve(&mut run, Resolution::Retry { data }).expect("an incident");
    assert_eq!(run.execution.context.data["card"], json!("new"));
    run.work(json!({})).expect("held");
    let told = [
        "Charge FAILED",
        "Charge FAILED",
        "Charge SKIPPED",
        "Charge COMPLETED",
        "Ship PENDING",
    ];
    run.check(ExecutionStatus::Running, &told);
    let attempts: Vec<_> = run
        .change
        .logs
        .values()
        .map(|log| (log.activation, log.attempt))
        .collect();
    assert_eq!(attempts, [(1, 1), (1, 2), (1, 3), (1, 4), (1, 1)]);
    let again = Resolution::GiveUp;
    assert_eq!(resolve(&mut run, again), Err(Refusal::NotAnIncident));
}

#[test]
fn a_parked_step_that_fails_again_parks_again() {
    let mut run = parking();
    let data = Map::new();
    resolve(&mut run, Resolution::Retry { data }).expect("an incident");
    run.break_down("DECLINED").expect("held");
    assert!(matches!(
        run.execution.branches[0].hold,
        Hold::Incident { .. }
    ));
}

#[test]
fn an_operator_may_complete_a_parked_step_or_give_up() {
    let mut run = parking();
    let output = object(json!({ "receipt": 7 }));
    resolve(&mut run, Resolution::Complete { output }).expect("an incident");
    assert_eq!(run.execution.context.data["receipt"], json!(7));
    run.work(json!({})).expect("held");
    assert_eq!(run.execution.status, ExecutionStatus::Completed);

    let mut run = parking();
    resolve(&mut run, Resolution::GiveUp).expect("an incident");
    let told = ["Charge FAILED", "Charge FAILED", "Charge FAILED"];
    run.check(ExecutionStatus::Failed, &told);
    assert_eq!(
        run.execution.failure.map(|failure| failure.code).as_deref(),
        Some("DECLINED")
    );
}

#[test]
fn what_people_decide_is_not_decided_by_resolving() {
    let config = json!({ "approverRole": "boss", "timeout": "1h", "onFailure": "park" });
    let steps = [("Approve", "approval", config)];
    let mut run = Run::start(graph(&steps, &[]), json!({}));
    run.now += TimeDelta::hours(1);
    let seq = run.execution.branches[0].seq;
    run.tell(Command::Wake { seq }).expect("due");
    let output = object(json!({ "approved": true, "approver": "boss@example.com" }));
    let completed = resolve(&mut run, Resolution::Complete { output });
    assert_eq!(completed, Err(Refusal::PeopleDecide));
    // A retry reopens the task, with its whole time.
    resolve(&mut run, Resolution::Retry { data: Map::new() }).expect("an incident");
    let due_at = Some(run.now + TimeDelta::hours(1));
    let open = Hold::Person {
        claimed_by: None,
        due_at,
    };
    assert_eq!(run.execution.branches[0].hold, open);
    run.answer(&person("b@example.com", &["boss"]), approve())
        .expect("theirs");
    assert_eq!(run.execution.status, ExecutionStatus::Completed);
}

#[test]
fn a_retry_after_a_queue_timeout_waits_as_long_again() {
    let config =
        json!({ "onFailure": "park", "queueTimeout": "1h", "retry": { "maxAttempts": 1 } });
    let mut run = Run::start(graph(&[("Pack", "work", config)], &[]), json!({}));
    run.now += TimeDelta::hours(1);
    let seq = run.execution.branches[0].seq;
    run.tell(Command::Wake { seq }).expect("due");
    run.now += TimeDelta::hours(3);
    resolve(&mut run, Resolution::Retry { data: Map::new() }).expect("an incident");
    let branch = &run.execution.branches[0];
    let wake_at = branch.hold.wake_at(branch.times.queued_at);
    assert_eq!(wake_at, Some(run.now + TimeDelta::hours(1)));
}

#[test]
fn data_that_does_not_fit_is_refused_and_changes_nothing() {
    let steps = [
        ("Fill", "work", json!({})),
        ("Fill more", "work", json!({})),
        ("Fill up", "work", json!({})),
        (
            "Charge",
            "work",
            json!({ "onFailure": "park", "retry": { "maxAttempts": 1 } }),
        ),
    ];
    let mut run = Run::start(graph(&steps, &[]), json!({ "a": "x".repeat(250_000) }));
    for key in ["b", "c", "d"] {
        run.work(json!({ key: "x".repeat(250_000) })).expect("held");
    }
    run.break_down("DECLINED").expect("held");
    let large = || object(json!({ "e": "x".repeat(100_000) }));
    let before = run.execution.clone();
    for resolution in [
        Resolution::Complete { output: large() },
        Resolution::Retry { data: large() },
    ] {
        assert_eq!(resolve(&mut run, resolution), Err(Refusal::ContextFull));
    }
    assert_eq!(run.execution, before);
}
