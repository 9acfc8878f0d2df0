//! Executions that are played once, recorded, and played again by another definition.

use model::definition::Definition;
use serde_json::json;
use sqlx::types::Json;

use super::*;
use crate::engine::{Change, Execution};
use crate::simulate::{self, Mock, Mocks};

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// A workflow whose steps are `(name, type, config)` and whose transitions `(from, to, condition)`; a step's id
/// follows from its name.
fn graph(steps: &[(&str, &str, Value)], ways: &[(&str, &str, Value)]) -> Graph {
    let step_id = |name: &str| id(u128::from(name.as_bytes()[0]));
    let step = |(order, step): (usize, &(&str, &str, Value))| {
        json!({
            "id": step_id(step.0), "key": step.0.to_lowercase(), "name": step.0, "order": order,
            "stepType": step.1, "config": step.2, "isRequired": true,
        })
    };
    let way = |(n, way): (usize, &(&str, &str, Value))| {
        json!({
            "id": id(1000 + n as u128), "fromStepId": step_id(way.0), "toStepId": step_id(way.1),
            "condition": way.2, "isDefault": way.2.is_null(),
        })
    };
    let definition = json!({
        "workflowId": id(1), "version": 1, "clientId": id(2), "name": "Previewed",
        "steps": steps.iter().enumerate().map(step).collect::<Vec<_>>(),
        "transitions": ways.iter().enumerate().map(way).collect::<Vec<_>>(),
    });
    let definition: Definition = serde_json::from_value(definition).unwrap();
    Graph::parse(definition).unwrap().0
}

/// What the database keeps of an execution that ended like this.
fn record(execution: Execution, change: Change, input: Map<String, Value>) -> Past {
    let logs = change.finished.iter().map(|seq| &change.logs[seq]);
    let attempts = logs.map(|log| Attempt {
        step_id: log.step_id,
        activation: log.activation,
        attempt: log.attempt,
        status: log.status.to_string(),
        message: log.message.clone(),
        data: log.data.clone().map(Json),
        error: log.failure.as_ref().map(|failure| failure.message.clone()),
        error_code: log.failure.as_ref().map(|failure| failure.code.clone()),
        queued_at: log.times.queued_at,
        available_at: log.times.available_at,
        assigned_at: log.times.assigned_at,
        completed_at: log.completed_at.unwrap(),
        route: log
            .route
            .as_ref()
            .and_then(Value::as_object)
            .cloned()
            .map(Json),
        will_retry: log.will_retry,
        taken_over: log.taken_over,
        event_seq: log.event_seq.unwrap(),
    });
    Past {
        id: execution.id,
        started_at: execution.started_at,
        status: execution.status,
        error_code: execution.failure.map(|failure| failure.code),
        input,
        attempts: attempts.collect(),
    }
}

/// An execution with these answers, as it was recorded.
fn past(old: &Graph, input: Value, mocks: Value) -> Past {
    let input = input.as_object().unwrap().clone();
    let mocks = mocks.as_object().unwrap().iter().map(|(word, list)| {
        let list = list.as_array().unwrap().iter();
        (
            word.clone(),
            list.map(|it| Mock::parse(it).unwrap()).collect(),
        )
    });
    let mocks = Mocks::bind(mocks.collect(), old).unwrap();
    let now = "2026-01-01T12:00:00Z".parse().unwrap();
    let simulated = simulate::run(old, input.clone(), &mocks, now).unwrap();
    record(simulated.execution, simulated.change, input)
}

fn equals(field: &str, value: Value) -> Value {
    json!({ "field": field, "operator": "equals", "value": value })
}

fn above(amount: i32) -> Value {
    json!({ "field": "amount", "operator": "greaterThan", "value": amount })
}

/// An order above the limit is approved, in time or by a deputy; then it is paid and shipped.
fn order(limit: i32, deadline: &str, attempts: i32) -> Graph {
    let steps = [
        ("Check", "check", json!({})),
        ("Approve", "approval", json!({ "timeout": deadline })),
        ("Deputy", "approval", json!({})),
        (
            "Pay",
            "pay",
            json!({ "retry": { "maxAttempts": attempts, "initialInterval": "1m" } }),
        ),
        ("Ship", "ship", json!({})),
    ];
    let ways = [
        ("Check", "Approve", above(limit)),
        ("Check", "Pay", Value::Null),
        ("Approve", "Pay", equals("approved", json!(true))),
        (
            "Approve",
            "Deputy",
            equals("step.error.code", json!("TIMEOUT")),
        ),
        ("Deputy", "Pay", equals("approved", json!(true))),
        ("Pay", "Ship", Value::Null),
    ];
    graph(&steps, &ways)
}

fn today() -> Graph {
    order(100, "2h", 3)
}

/// One that is approved after an hour and paid at the third attempt.
fn approved(amount: i32) -> Past {
    let mocks = json!({
        "Check": [{ "output": {}, "delay": "10m" }],
        "Approve": [{ "output": { "approved": true }, "delay": "1h" }],
        "Pay": [
            { "error": { "code": "DOWN" } },
            { "error": { "code": "DOWN" }, "delay": "5s" },
            { "output": { "paid": true } },
        ],
    });
    past(&today(), json!({ "amount": amount }), mocks)
}

fn check(draft: &Graph, past: &Past, verdict: Verdict) -> Previewed {
    let previewed = preview(draft, &today(), past);
    assert_eq!(previewed.verdict, verdict, "{previewed:#?}");
    previewed
}

fn difference(previewed: Previewed) -> (Uuid, String, String) {
    let place = previewed.difference.expect("it differs");
    (place.step_id, place.was, place.becomes)
}

#[test]
fn an_unchanged_draft_is_the_same_whatever_happened() {
    check(&today(), &approved(200), Verdict::Same);
    check(&today(), &approved(50), Verdict::Same);
    let late = json!({ "Approve": [{ "timeout": true }] });
    check(
        &today(),
        &past(&today(), json!({ "amount": 200 }), late),
        Verdict::Same,
    );
    let broken = json!({ "Pay": [{ "error": { "code": "DOWN" } }] });
    check(
        &today(),
        &past(&today(), json!({ "amount": 1 }), broken),
        Verdict::Same,
    );
    let refused = json!({ "Pay": [{ "businessError": { "code": "NO_MONEY" } }] });
    check(
        &today(),
        &past(&today(), json!({ "amount": 1 }), refused),
        Verdict::Same,
    );
}

#[test]
fn clocks_that_were_noticed_late_change_nothing() {
    let mut past = past(
        &today(),
        json!({ "amount": 200 }),
        json!({ "Approve": [{ "timeout": true }] }),
    );
    // Half a second behind the instant; and somebody answered just before that was noticed.
    let late = chrono::TimeDelta::milliseconds(500);
    for attempt in &mut past.attempts[1..] {
        attempt.completed_at += late;
    }
    for attempt in &mut past.attempts[2..] {
        attempt.available_at += late;
    }
    check(&today(), &past, Verdict::Same);
}

#[test]
fn another_choice_is_a_divergence_that_names_its_place() {
    // What was approved then is not asked about.
    let previewed = check(&order(300, "2h", 3), &approved(200), Verdict::Diverged);
    let (step, was, becomes) = difference(previewed);
    assert_eq!(step, id(u128::from(b'C')));
    assert_eq!(
        (was.as_str(), becomes.as_str()),
        ("COMPLETED, to \"Approve\"", "COMPLETED, to \"Pay\"")
    );
}

#[test]
fn an_answer_that_nobody_gave_is_not_guessed() {
    let previewed = check(&order(10, "2h", 3), &approved(50), Verdict::Undetermined);
    let missing = previewed.missing.clone().unwrap();
    assert_eq!(missing.step_id, id(u128::from(b'A')));
    assert!(missing.why.contains("not reached then"), "{missing:?}");
    assert_eq!(difference(previewed).0, id(u128::from(b'C')));
    // A fourth attempt was never made.
    let broken = json!({ "Pay": [{ "error": { "code": "DOWN" } }] });
    let broken = past(&today(), json!({ "amount": 1 }), broken);
    let missing = check(&order(100, "2h", 5), &broken, Verdict::Undetermined)
        .missing
        .unwrap();
    assert_eq!(
        (missing.step_id, missing.attempt),
        (id(u128::from(b'P')), 4)
    );
    // Two hours had passed; what would have come after three is not known.
    let late = past(
        &today(),
        json!({ "amount": 200 }),
        json!({ "Approve": [{ "timeout": true }] }),
    );
    let missing = check(&order(100, "3h", 3), &late, Verdict::Undetermined)
        .missing
        .unwrap();
    assert!(missing.why.contains("has more time now"), "{missing:?}");
}

#[test]
fn a_shorter_deadline_ends_what_took_longer() {
    // The deputy was never asked.
    let previewed = check(&order(100, "30m", 3), &approved(200), Verdict::Undetermined);
    let (step, was, becomes) = difference(previewed);
    assert_eq!(step, id(u128::from(b'A')));
    assert!(
        was.starts_with("COMPLETED") && becomes.starts_with("FAILED TIMEOUT"),
        "{was} {becomes}"
    );
    // One that had more time than it needed is as it was.
    check(&order(100, "90m", 3), &approved(200), Verdict::Same);
}

#[test]
fn an_execution_that_fails_now_is_told_apart() {
    let previewed = check(&order(100, "2h", 2), &approved(200), Verdict::Failed);
    let (step, was, becomes) = difference(previewed);
    assert_eq!(step, id(u128::from(b'P')));
    // Two attempts fail as they did; there is no third one.
    assert_eq!(was, "COMPLETED, to \"Ship\"");
    assert_eq!(becomes, "not reached");
}

#[test]
fn whoever_asks_somebody_else_has_no_answer() {
    let mut steps = vec![
        ("Check", "check-twice", json!({})),
        ("Ship", "ship", json!({})),
    ];
    let draft = graph(&steps, &[]);
    let missing = check(&draft, &approved(50), Verdict::Undetermined)
        .missing
        .unwrap();
    assert!(missing.why.contains("somebody else"), "{missing:?}");
    // What the engine does by itself needs nobody.
    steps[0] = ("Check", "decision", json!({}));
    check(&graph(&steps, &[]), &approved(50), Verdict::Diverged);
}

#[test]
fn what_was_withdrawn_has_no_answer_either() {
    let any = |mode: &str| {
        let rest = if mode == "ANY" {
            json!({ "mode": "ANY", "onSatisfied": "CANCEL_REST" })
        } else {
            json!({})
        };
        let steps = [
            ("Fork", "parallel", json!({})),
            ("Slow", "slow", json!({})),
            ("Quick", "quick", json!({})),
            ("Join", "join", rest),
        ];
        let always = || json!({ "cel": "true" });
        let ways = [
            ("Fork", "Slow", always()),
            ("Fork", "Quick", always()),
            ("Slow", "Join", Value::Null),
            ("Quick", "Join", Value::Null),
        ];
        graph(&steps, &ways)
    };
    let old = any("ANY");
    let past = past(
        &old,
        json!({}),
        json!({ "Slow": [{ "output": {}, "delay": "1h" }] }),
    );
    assert_eq!(preview(&old, &old, &past).verdict, Verdict::Same);
    let all = preview(&any("ALL"), &old, &past);
    assert_eq!(all.verdict, Verdict::Undetermined);
    assert!(all.missing.unwrap().why.contains("withdrawn"));
}

#[test]
fn what_an_operator_did_is_done_again() {
    let parking = |park: bool| {
        let config = match park {
            true => json!({ "onFailure": "park", "retry": { "maxAttempts": 1 } }),
            false => json!({ "retry": { "maxAttempts": 1 } }),
        };
        graph(
            &[("Charge", "charge", config), ("Ship", "ship", json!({}))],
            &[],
        )
    };
    let old = parking(true);
    let broken = json!({ "Charge": [{ "error": { "code": "DOWN" } }] });
    let given_up = past(&old, json!({}), broken);
    assert_eq!(preview(&old, &old, &given_up).verdict, Verdict::Same);
    assert_eq!(
        preview(&parking(false), &old, &given_up).verdict,
        Verdict::Diverged
    );
    // Without the operator's word nobody knows.
    let mut open = given_up;
    open.attempts.truncate(1);
    assert_eq!(preview(&old, &old, &open).verdict, Verdict::Undetermined);
}

#[test]
fn items_and_locks_are_what_they_were() {
    let shop = |concurrency: u32| {
        let each = json!({ "items": "list", "step": "Read", "concurrency": concurrency });
        let steps = [
            ("Fork", "parallel", json!({})),
            ("Pages", "foreach", each),
            ("Bind", "bind", json!({ "lock": { "name": "press" } })),
            ("Glue", "glue", json!({ "lock": { "name": "press" } })),
            ("Read", "read", json!({})),
        ];
        let always = || json!({ "cel": "true" });
        let ways = [
            ("Fork", "Pages", always()),
            ("Fork", "Bind", always()),
            ("Fork", "Glue", always()),
        ];
        graph(&steps, &ways)
    };
    let old = shop(2);
    let mocks = json!({
        "Read": [{ "output": {}, "delay": "1h" }, { "output": {} }],
        "Bind": [{ "output": {}, "delay": "2h" }],
        "Glue": [{ "output": {}, "delay": "1h" }],
    });
    let past = past(&old, json!({ "list": [1, 2, 3] }), mocks);
    let same = preview(&old, &old, &past);
    assert_eq!(same.verdict, Verdict::Same, "{same:#?}");
    // Fewer at once: each item is the arrival that it was.
    let one = preview(&shop(1), &old, &past);
    assert_eq!(one.verdict, Verdict::Same, "{one:#?}");
}

#[test]
fn a_wait_that_was_taken_over_is_over_at_once() {
    let steps = [
        ("Sleep", "wait", json!({ "duration": "2d" })),
        ("Pay", "pay", json!({})),
    ];
    let old = graph(&steps, &[]);
    let mut past = past(&old, json!({}), json!({}));
    let note = format!("waited; taken over from execution {}", id(9));
    for attempt in &mut past.attempts {
        attempt.message = Some(note.clone());
        attempt.taken_over = true;
        attempt.queued_at = past.started_at;
        attempt.available_at = past.started_at;
        attempt.completed_at = past.started_at;
    }
    let by_key: HashMap<Key, &Attempt> = (past.attempts.iter())
        .map(|it| ((it.step_id, it.activation, it.attempt), it))
        .collect();
    let begun = engine::begin(&old, past.id, Map::new(), past.started_at);
    let mut records = Records::new(&old, &old, &by_key);
    let played = play(&old, begun, &mut records).unwrap();
    assert_eq!(played.execution.completed_at, Some(past.started_at));
    assert_eq!(preview(&old, &old, &past).verdict, Verdict::Same);
}

#[test]
fn what_an_operator_withdrew_is_withdrawn_again() {
    let old = today();
    let mut past = approved(200);
    // Instead of the approval an operator went on without it.
    let route = json!({ "candidates": [], "taken": [] });
    let asked = &mut past.attempts[1];
    asked.status = "SKIPPED".to_owned();
    asked.data = None;
    asked.message = Some("cancelled by ann@x.org: too late".to_owned());
    asked.route = route.as_object().cloned().map(Json);
    let previewed = preview(&old, &old, &past);
    // People decide an approval: nobody decides for them, and what comes of it is not known.
    assert_eq!(previewed.verdict, Verdict::Undetermined);
    // A branch that only ended there ends there again.
    past.attempts[1].route = None;
    past.attempts.truncate(2);
    assert_eq!(preview(&old, &old, &past).verdict, Verdict::Same);
}
