//! What was done is undone, the newest first, before the execution ends.

use serde_json::json;

use super::super::*;
use super::*;

/// A journey: what is booked can be taken back.
fn journey() -> Graph {
    let books = |undo: &str| json!({ "compensate": undo, "retry": { "maxAttempts": 1 } });
    let steps = [
        ("Flight", "work", books("Cancel flight")),
        ("Hotel", "work", books("cancel hotel")),
        ("Car", "work", json!({ "retry": { "maxAttempts": 1 } })),
        (
            "Cancel flight",
            "work",
            json!({ "retry": { "maxAttempts": 1 } }),
        ),
        ("Cancel hotel", "notification", json!({})),
    ];
    let ways = [
        ("Flight", "Hotel", Value::Null),
        ("Hotel", "Car", Value::Null),
    ];
    graph(&steps, &ways)
}

fn booked() -> Run {
    let mut run = Run::start(journey(), json!({}));
    run.work(json!({ "flight": 1 })).expect("held");
    run.work(json!({ "hotel": 2 })).expect("held");
    run
}

fn cancel(run: &mut Run, compensate: bool) -> Result<(), Refusal> {
    let reason = "no time".to_owned();
    run.tell(Command::Cancel { reason, compensate })
}

const UNDOING: [&str; 5] = [
    "Flight COMPLETED",
    "Hotel COMPLETED",
    "Car FAILED",
    "Cancel hotel COMPLETED",
    "Cancel flight PENDING",
];

#[test]
fn a_failure_undoes_what_was_done_newest_first() {
    let mut run = booked();
    run.break_down("SOLD_OUT").expect("held");
    run.check(ExecutionStatus::Running, &UNDOING);
    assert!(run.execution.completed_at.is_none());
    // Nothing changes any more what it will be; the rest may be left as it is.
    assert_eq!(
        cancel(&mut run, true),
        Err(Refusal::Closing(ExecutionStatus::Failed))
    );
    let mut given_up = booked();
    given_up.break_down("SOLD_OUT").expect("held");
    cancel(&mut given_up, false).expect("open");
    assert_eq!(given_up.execution.status, ExecutionStatus::Failed);
    assert_eq!(given_up.path()[4], "Cancel flight SKIPPED");
    run.work(json!({})).expect("held");
    assert_eq!(run.execution.status, ExecutionStatus::Failed);
    let failure = run.execution.failure.expect("it failed");
    assert_eq!(
        (failure.code.as_str(), failure.message.as_str()),
        ("SOLD_OUT", "step \"Car\" failed: broken")
    );
}

#[test]
fn a_cancellation_undoes_only_if_asked_to() {
    let mut run = booked();
    cancel(&mut run, true).expect("open");
    assert_eq!(
        run.path()[2..],
        [
            "Car SKIPPED",
            "Cancel hotel COMPLETED",
            "Cancel flight PENDING"
        ]
    );
    run.work(json!({})).expect("held");
    assert_eq!(run.execution.status, ExecutionStatus::Cancelled);

    let mut run = booked();
    cancel(&mut run, false).expect("open");
    let told = ["Flight COMPLETED", "Hotel COMPLETED", "Car SKIPPED"];
    run.check(ExecutionStatus::Cancelled, &told);

    let mut fresh = Run::start(journey(), json!({}));
    cancel(&mut fresh, true).expect("open");
    fresh.check(ExecutionStatus::Cancelled, &["Flight SKIPPED"]);
}

#[test]
fn what_cannot_be_undone_waits_for_an_operator() {
    for (resolution, last) in [
        (Resolution::GiveUp, "Cancel flight FAILED"),
        (
            Resolution::Complete { output: Map::new() },
            "Cancel flight COMPLETED",
        ),
    ] {
        let mut run = booked();
        run.break_down("SOLD_OUT").expect("held");
        run.break_down("AIRLINE_DOWN").expect("held");
        assert!(matches!(
            run.execution.branches[0].hold,
            Hold::Incident { .. }
        ));
        let (seq, actor) = (run.execution.branches[0].seq, worker());
        run.tell(Command::Resolve {
            seq,
            actor,
            resolution,
        })
        .expect("an incident");
        assert_eq!(run.path().last().map(String::as_str), Some(last));
        assert_eq!(run.execution.status, ExecutionStatus::Failed);
        let failure = run.execution.failure.expect("it failed");
        assert_eq!(failure.code, "SOLD_OUT");
    }
}

#[test]
fn each_activation_of_a_loop_is_undone() {
    let steps = [
        ("Reserve", "work", json!({ "compensate": "Release" })),
        ("More?", "decision", json!({})),
        ("Pay", "work", json!({ "retry": { "maxAttempts": 1 } })),
        ("Release", "notification", json!({})),
    ];
    let ways = [
        ("Reserve", "More", Value::Null),
        ("More", "Reserve", equals("more", json!(true))),
        ("More", "Pay", Value::Null),
    ];
    let mut run = Run::start(graph(&steps, &ways), json!({}));
    run.work(json!({ "more": true })).expect("held");
    run.work(json!({ "more": false })).expect("held");
    run.break_down("DECLINED").expect("held");
    let released = run
        .path()
        .iter()
        .filter(|line| *line == "Release COMPLETED")
        .count();
    assert_eq!(
        (released, run.execution.status),
        (2, ExecutionStatus::Failed)
    );
}
