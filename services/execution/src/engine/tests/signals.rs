//! Messages from outside: early, awaited, late, and in a race with time.

use serde_json::json;

use super::super::*;
use super::*;

fn paid() -> Graph {
    let steps = [
        ("Prepare", "work", json!({})),
        (
            "Paid",
            "signal",
            json!({ "name": "payment", "correlation": "order", "timeout": "2h" }),
        ),
        ("Ship", "work", json!({})),
        ("Remind", "notification", json!({})),
    ];
    let ways = [
        ("Prepare", "Paid", Value::Null),
        ("Paid", "Ship", Value::Null),
        (
            "Paid",
            "Remind",
            equals("step.error.code", json!("TIMEOUT")),
        ),
        ("Remind", "Paid", Value::Null),
    ];
    graph(&steps, &ways)
}

fn payment(amount: i32, expires_at: Option<DateTime<Utc>>) -> Command {
    Command::Signal(Signal {
        name: "payment".to_owned(),
        data: object(json!({ "amount": amount })),
        expires_at,
    })
}

#[test]
fn wcp24_persistent_trigger_is_kept_until_somebody_waits_for_it() {
    let mut run = Run::start(paid(), json!({ "order": 7 }));
    run.tell(payment(1, Some(run.now + TimeDelta::minutes(1))))
        .expect("kept");
    run.tell(payment(2, None)).expect("kept");
    run.tell(payment(3, None)).expect("kept");
    run.now += TimeDelta::minutes(1);
    run.work(json!({})).expect("done");
    // The first one has expired, the third one is left over.
    assert_eq!(run.execution.context.data["amount"], json!(2));
    let left: Vec<_> = run
        .execution
        .memory
        .signals
        .iter()
        .map(|s| &s.data["amount"])
        .collect();
    assert_eq!(left, [&json!(3)]);
    run.work(json!({})).expect("done");
    run.check(
        ExecutionStatus::Completed,
        &["Prepare COMPLETED", "Paid COMPLETED", "Ship COMPLETED"],
    );
    let refusal = run.tell(payment(4, None)).expect_err("it is over");
    assert_eq!(
        refusal,
        Refusal::ExecutionFinished(ExecutionStatus::Completed)
    );
}

#[test]
fn wcp23_transient_trigger_reaches_only_who_waits() {
    let mut run = Run::start(paid(), json!({ "order": "A-7" }));
    let data = object(json!({ "amount": 5 }));
    let deliver = |run: &mut Run| {
        let seq = run.execution.branches[0].seq;
        run.tell(Command::Deliver {
            seq,
            data: data.clone(),
        })
    };
    assert_eq!(deliver(&mut run), Err(Refusal::BranchGone));
    run.work(json!({})).expect("done");
    let Hold::Signal {
        name, correlation, ..
    } = &run.execution.branches[0].hold
    else {
        panic!("not waiting: {:?}", run.execution.branches);
    };
    assert_eq!(
        (name.as_str(), correlation.as_deref()),
        ("payment", Some("A-7"))
    );
    deliver(&mut run).expect("it waits");
    assert_eq!(run.execution.context.data["amount"], json!(5));
}

#[test]
fn a_race_of_signal_and_timer_takes_the_way_of_the_first() {
    let mut run = Run::start(paid(), json!({ "order": 1 }));
    run.work(json!({})).expect("done");
    run.now += TimeDelta::hours(2);
    let seq = run.execution.branches[0].seq;
    run.tell(Command::Wake { seq }).expect("due");
    // Reminded, and waiting again.
    run.tell(payment(9, None)).expect("it waits");
    run.check(
        ExecutionStatus::Running,
        &[
            "Prepare COMPLETED",
            "Paid FAILED",
            "Remind COMPLETED",
            "Paid COMPLETED",
            "Ship PENDING",
        ],
    );
}

#[test]
fn signals_that_nobody_takes_are_limited() {
    let mut run = Run::start(paid(), json!({ "order": 1 }));
    for n in 0..MOST_SIGNALS {
        run.tell(payment(n as i32, None)).expect("kept");
    }
    assert_eq!(run.tell(payment(0, None)), Err(Refusal::TooManySignals));
    run.now += TimeDelta::hours(1);
    let large = Signal {
        name: "other".to_owned(),
        data: object(json!({ "x": "x".repeat(200_000) })),
        expires_at: None,
    };
    let mut run = Run::start(paid(), json!({ "order": 1 }));
    run.tell(Command::Signal(large.clone())).expect("kept");
    assert_eq!(
        run.tell(Command::Signal(large)),
        Err(Refusal::TooManySignals)
    );
}

#[test]
fn a_correlation_that_is_missing_fails_the_step() {
    let mut run = Run::start(paid(), json!({ "order": [1] }));
    run.work(json!({})).expect("done");
    assert_eq!(run.execution.status, ExecutionStatus::Failed);
    let failure = run
        .execution
        .failure
        .as_ref()
        .map(|failure| failure.code.as_str());
    assert_eq!(failure, Some("CORRELATION_UNDEFINED"));
}
