//! Whole runs, each with the path that it must take.

use chrono::TimeDelta;
use model::status::{ExecutionStatus, StepStatus};
use serde_json::{Map, Value, json};

use super::super::*;
use super::*;

#[test]
fn onboarding_goes_all_the_way() {
    let manager = person("m@example.com", &["manager"]);
    let mut run = Run::start(onboarding(), json!({}));
    run.answer(&manager, submit(json!({ "complete": true })))
        .unwrap();
    run.answer(&manager, approve()).unwrap();
    run.work(json!({ "account": 5 })).unwrap();
    run.check(
        ExecutionStatus::Completed,
        &[
            "Contact COMPLETED",
            "Documents COMPLETED",
            "Approval COMPLETED",
            "Setup COMPLETED",
            "Welcome COMPLETED",
        ],
    );
    let decision = run.change.logs[&3].data.as_ref().unwrap();
    assert_eq!(decision["approved"], json!(true));
    assert_eq!(decision["approver"], json!("m@example.com"));
    assert_eq!(decision["timestamp"], json!("2026-01-01T12:00:00Z"));
    assert_eq!(run.execution.context.data["account"], json!(5));
    assert_eq!(run.execution.event_count, 7);
}

#[test]
fn a_rejection_ends_the_branch_normally() {
    let manager = person("m@example.com", &["manager"]);
    let mut run = Run::start(onboarding(), json!({}));
    run.answer(&manager, submit(json!({ "complete": true })))
        .unwrap();
    run.answer(&manager, reject()).unwrap();
    assert_eq!(run.execution.status, ExecutionStatus::Completed);
    let log = &run.change.logs[&3];
    assert!(log.message.as_ref().unwrap().contains("no transition held"));
    let route = log.route.as_ref().unwrap();
    assert_eq!(route["candidates"][0]["seen"]["approved"], json!(false));
    assert_eq!(route["taken"], json!([]));
}

#[test]
fn only_the_group_decides_and_only_the_holder_of_a_claim() {
    let mut run = Run::start(onboarding(), json!({}));
    let clerk = person("c@example.com", &[]);
    run.answer(&clerk, submit(json!({ "complete": true })))
        .unwrap();
    let before = (run.execution.clone(), run.change.clone());
    let refused = run.answer(&clerk, approve());
    assert!(matches!(refused, Err(Refusal::NotYourTask(_))));
    assert!(matches!(
        run.answer(&clerk, Answer::Claim),
        Err(Refusal::NotYourTask(_))
    ));
    let (first, second) = (
        person("a@x.com", &["manager"]),
        person("b@x.com", &["manager"]),
    );
    assert_eq!(
        (&run.execution.branches, &run.change),
        (&before.0.branches, &before.1)
    );

    run.answer(&first, Answer::Claim).unwrap();
    assert_eq!(run.change.logs[&3].status, StepStatus::Running);
    let taken = Refusal::TaskClaimed("a@x.com".to_owned());
    assert_eq!(run.answer(&second, approve()), Err(taken));
    run.answer(&first, Answer::Release).unwrap();
    assert_eq!(
        run.answer(&first, Answer::Release),
        Err(Refusal::NotClaimed)
    );
    run.answer(&second, approve()).unwrap();
    assert_eq!(run.change.logs[&3].times.assigned_at, Some(run.now));
    assert!(matches!(
        run.answer(&second, approve()),
        Err(Refusal::NotATask)
    ));
}

#[test]
fn an_approval_that_nobody_decides_in_time_fails_with_timeout() {
    let mut run = Run::start(onboarding(), json!({}));
    run.answer(
        &person("c@example.com", &[]),
        submit(json!({ "complete": true })),
    )
    .unwrap();
    let seq = run.execution.branches[0].seq;
    assert_eq!(run.tell(Command::Wake { seq }), Err(Refusal::NotDue));
    run.now += TimeDelta::hours(48);
    run.tell(Command::Wake { seq }).unwrap();
    assert_eq!(run.execution.status, ExecutionStatus::Failed);
    assert_eq!(run.execution.failure.as_ref().unwrap().code, "TIMEOUT");
}

fn job(config: Value, name: &'static str, catch: Option<Value>) -> Graph {
    let steps = [
        (name, "custom", config),
        ("After", "notification", json!({})),
        ("Caught", "notification", json!({})),
    ];
    let plain = [(name.trim_end_matches('?'), "After", Value::Null)];
    match catch {
        Some(condition) => {
            let to = (name.trim_end_matches('?'), "Caught", condition);
            graph(&steps, &[plain[0].clone(), to])
        }
        None => graph(&steps[..2], &plain),
    }
}

#[test]
fn a_failed_job_is_retried_as_an_attempt_of_its_own_and_backs_off() {
    let policy = json!({ "retry": { "maxAttempts": 3, "initialInterval": "10s", "jitter": 0 } });
    let mut run = Run::start(job(policy, "Work", None), json!({}));
    run.break_down("DOWN").unwrap();
    assert!(run.change.logs[&1].will_retry);
    let second = &run.execution.branches[0];
    assert_eq!((second.attempt, second.activation), (2, 1));
    assert_eq!(second.times.available_at, noon() + TimeDelta::seconds(10));
    run.now += TimeDelta::seconds(10);
    run.break_down("DOWN").unwrap();
    run.work(json!({})).unwrap();
    run.check(
        ExecutionStatus::Completed,
        &[
            "Work FAILED",
            "Work FAILED",
            "Work COMPLETED",
            "After COMPLETED",
        ],
    );
}

#[test]
fn the_last_failure_fails_the_execution() {
    let policy = json!({ "retry": { "maxAttempts": 1 } });
    let mut run = Run::start(job(policy, "Work", None), json!({}));
    run.break_down("DOWN").unwrap();
    run.check(ExecutionStatus::Failed, &["Work FAILED"]);
    assert_eq!(run.execution.failure.as_ref().unwrap().code, "DOWN");
}

#[test]
fn an_optional_step_that_fails_is_skipped_and_routing_goes_on() {
    let policy = json!({ "retry": { "maxAttempts": 1 } });
    let mut run = Run::start(job(policy, "Work?", None), json!({}));
    run.break_down("DOWN").unwrap();
    run.check(
        ExecutionStatus::Completed,
        &["Work SKIPPED", "After COMPLETED"],
    );
}

#[test]
fn a_catch_is_judged_after_failure_only_and_before_optional() {
    let catch = || Some(equals("step.error.code", json!("NO_FUNDS")));
    let thrown = Answer::Throw {
        worker: "w".to_owned(),
        failure: Failure::new("NO_FUNDS", "empty"),
    };
    let mut run = Run::start(job(json!({}), "Work?", catch()), json!({}));
    run.lease();
    run.answer(&worker(), thrown).unwrap();
    run.check(
        ExecutionStatus::Completed,
        &["Work FAILED", "Caught COMPLETED"],
    );

    let mut run = Run::start(job(json!({}), "Work", catch()), json!({}));
    run.work(json!({})).unwrap();
    run.check(
        ExecutionStatus::Completed,
        &["Work COMPLETED", "After COMPLETED"],
    );
}

#[test]
fn a_job_is_answered_only_by_its_holder_within_its_lease() {
    let mut run = Run::start(job(json!({}), "Work", None), json!({}));
    let done = || Answer::Complete {
        worker: "w".to_owned(),
        output: Map::new(),
    };
    assert_eq!(run.answer(&worker(), done()), Err(Refusal::JobNotHeld));
    run.lease();
    assert_eq!(
        run.answer(&person("x", &[]), done()),
        Err(Refusal::JobNotHeld)
    );
    run.now += TimeDelta::seconds(30);
    assert_eq!(run.answer(&worker(), done()), Err(Refusal::JobNotHeld));
    let seq = run.execution.branches[0].seq;
    run.tell(Command::Wake { seq }).unwrap();
    let failure = run.change.logs[&1].failure.as_ref().unwrap();
    assert_eq!(failure.code, "LEASE_EXPIRED");
    assert_eq!(run.execution.branches[0].attempt, 2);
}

#[test]
fn loops_run_until_their_condition_and_count_activations() {
    let review = graph(
        &[
            ("Write", "data_entry", json!({})),
            ("Review", "approval", json!({})),
            ("Publish", "notification", json!({})),
        ],
        &[
            ("Write", "Review", Value::Null),
            ("Review", "Publish", equals("approved", json!(true))),
            ("Review", "Write", equals("approved", json!(false))),
        ],
    );
    let someone = person("p@example.com", &[]);
    let mut run = Run::start(review, json!({}));
    for round in 0..3 {
        run.answer(&someone, submit(json!({ "text": round })))
            .unwrap();
        run.answer(&someone, if round < 2 { reject() } else { approve() })
            .unwrap();
    }
    assert_eq!(run.execution.status, ExecutionStatus::Completed);
    assert_eq!(run.change.logs[&5].activation, 3);
    assert_eq!(run.execution.context.data["text"], json!(2));
    // An output that the next round hides is forgotten: one of each step is left.
    assert_eq!(run.execution.memory.outputs.len(), 2);
}

#[test]
fn transforms_and_decisions_compute_and_choose() {
    let order = graph(
        &[
            (
                "Sum",
                "transform",
                json!({ "output": { "total": "data.price * data.count" } }),
            ),
            ("Size", "decision", json!({})),
            ("Big", "notification", json!({})),
            ("Small", "notification", json!({})),
        ],
        &[
            ("Sum", "Size", Value::Null),
            (
                "Size",
                "Big",
                json!({ "field": "total", "operator": "greaterThan", "value": 100 }),
            ),
            ("Size", "Small", Value::Null),
        ],
    );
    let run = Run::start(order, json!({ "price": 60, "count": 2 }));
    run.check(
        ExecutionStatus::Completed,
        &["Sum COMPLETED", "Size COMPLETED", "Big COMPLETED"],
    );
}

#[test]
fn a_wait_ends_with_its_instant() {
    let nap = graph(
        &[
            ("Nap", "wait", json!({ "duration": "5m" })),
            ("Up", "notification", json!({})),
        ],
        &[("Nap", "Up", Value::Null)],
    );
    let mut run = Run::start(nap, json!({}));
    assert_eq!(run.path(), ["Nap RUNNING"]);
    run.now += TimeDelta::minutes(5);
    run.tell(Command::Wake { seq: 1 }).unwrap();
    run.check(
        ExecutionStatus::Completed,
        &["Nap COMPLETED", "Up COMPLETED"],
    );
}

#[test]
fn long_chains_are_cut_into_slices() {
    let names: Vec<String> = (0..450).map(|n| format!("s{n}")).collect();
    let steps: Vec<_> = names
        .iter()
        .map(|n| (n.as_str(), "decision", json!({})))
        .collect();
    let mut run = Run::start(graph(&steps, &[]), json!({}));
    assert_eq!(run.execution.branches[0].hold, Hold::Runnable);
    assert_eq!(run.change.logs[&201].status, StepStatus::Pending);
    run.tell(Command::Resume).unwrap();
    assert_eq!(run.execution.status, ExecutionStatus::Running);
    run.tell(Command::Resume).unwrap();
    assert_eq!(run.execution.status, ExecutionStatus::Completed);
    assert_eq!(run.change.logs.len(), 450);
}

#[test]
fn cancelling_withdraws_what_is_open_and_is_final() {
    let mut run = Run::start(onboarding(), json!({}));
    let reason = "changed our mind".to_owned();
    run.tell(Command::Cancel {
        reason,
        compensate: false,
    })
    .unwrap();
    run.check(
        ExecutionStatus::Cancelled,
        &["Contact COMPLETED", "Documents SKIPPED"],
    );
    let finished = Refusal::ExecutionFinished(ExecutionStatus::Cancelled);
    assert_eq!(run.tell(Command::Resume), Err(finished));
}

#[test]
fn time_never_runs_backwards() {
    let mut run = Run::start(onboarding(), json!({}));
    run.now -= TimeDelta::hours(1);
    run.answer(&person("c@example.com", &[]), submit(json!({})))
        .unwrap();
    let log = &run.change.logs[&2];
    assert!(log.completed_at.unwrap() >= log.times.started_at);
}

#[test]
fn an_output_that_does_not_fit_fails_the_execution() {
    let mut run = Run::start(job(json!({}), "Work", None), json!({}));
    run.work(json!({ "blob": "x".repeat(300_000) })).unwrap();
    assert_eq!(run.execution.status, ExecutionStatus::Failed);
    assert_eq!(
        run.execution.failure.as_ref().unwrap().code,
        "LIMIT_EXCEEDED"
    );
}

#[test]
fn a_step_whose_conditions_cost_too_much_fails_the_execution() {
    let costly = json!({ "cel": "data.l.all(a, data.l.all(b, a + b >= 0)) && false" });
    let choice = graph(
        &[
            ("Choose", "decision", json!({})),
            ("A", "notification", json!({})),
            ("B", "notification", json!({})),
        ],
        &[("Choose", "A", costly), ("Choose", "B", Value::Null)],
    );
    let run = Run::start(choice, json!({ "l": vec![1; 1000] }));
    assert_eq!(run.execution.status, ExecutionStatus::Failed);
    assert_eq!(
        run.execution.failure.as_ref().unwrap().code,
        "LIMIT_EXCEEDED"
    );
}

#[test]
fn expensive_steps_make_short_slices() {
    let look = json!({ "cel": "data.l.all(a, data.l.all(b, a + b >= 0))" });
    let names: Vec<String> = (0..6).map(|n| format!("s{n}")).collect();
    let steps: Vec<_> = names
        .iter()
        .map(|n| (n.as_str(), "decision", json!({})))
        .collect();
    let pairs = names.windows(2);
    let ways: Vec<_> = pairs
        .map(|w| (w[0].as_str(), w[1].as_str(), look.clone()))
        .collect();
    let mut run = Run::start(graph(&steps, &ways), json!({ "l": vec![1; 300] }));
    assert_eq!(run.execution.branches[0].hold, Hold::Runnable);
    while !run.execution.status.is_final() {
        run.tell(Command::Resume).unwrap();
    }
    assert_eq!(run.execution.status, ExecutionStatus::Completed);
}
