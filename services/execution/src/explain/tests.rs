//! Stories of single attempts.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::types::Json;

use super::*;

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn noon() -> DateTime<Utc> {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn graph() -> Graph {
    let step = |n: u128, name: &str, step_type: &str, config: Value| {
        json!({
            "id": id(n), "key": format!("s{n}"), "name": name, "stepType": step_type, "order": n,
            "config": config, "isRequired": true,
        })
    };
    let both = json!({ "all": [
        { "field": "amount", "operator": "greaterThan", "value": 100 },
        { "not": { "field": "region", "operator": "in", "value": ["eu"] } },
    ] });
    let definition = json!({
        "workflowId": id(1), "version": 1, "clientId": id(2), "name": "Explained",
        "steps": [
            step(11, "Check", "check", json!({})),
            step(12, "Ask", "approval", json!({ "approverRole": "chefs", "timeout": "1h" })),
            step(13, "Pay", "pay", json!({})),
        ],
        "transitions": [
            { "id": id(21), "fromStepId": id(11), "toStepId": id(12), "condition": both, "isDefault": false },
            { "id": id(22), "fromStepId": id(11), "toStepId": id(13), "isDefault": true },
        ],
    });
    let (graph, _) = Graph::parse(serde_json::from_value(definition).unwrap()).unwrap();
    graph
}

fn log(step: u128, status: &str) -> Log {
    Log {
        id: id(31),
        execution_id: id(3),
        step_id: Some(id(step)),
        status: status.to_owned(),
        message: None,
        data: None,
        error: None,
        started_at: noon(),
        completed_at: None,
        seq: 1,
        activation: 1,
        attempt: 1,
        queued_at: noon(),
        available_at: noon(),
        assigned_at: None,
        route: None,
        error_code: None,
        event_seq: None,
        item_index: None,
        from_seq: None,
    }
}

fn wait(kind: &str, step: u128) -> Wait {
    Wait {
        id: id(31),
        step_id: id(step),
        kind: kind.to_owned(),
        created_at: noon(),
        wake_at: Some(noon()),
        available_at: noon(),
        job_type: None,
        held_by: None,
        task_group: None,
        assignees: Vec::new(),
        signal_name: Some("paid".to_owned()),
        correlation: None,
        error_code: None,
        error: None,
        lock_key: None,
    }
}

fn routed() -> Log {
    let route = json!({
        "candidates": [
            { "transitionId": id(21), "to": "Ask", "holds": false, "seen": { "amount": 50 }, "missing": ["region"] },
            { "transitionId": id(22), "to": "Pay", "holds": true, "default": true },
        ],
        "taken": [id(22)],
    });
    Log {
        route: route.as_object().cloned().map(Json),
        message: Some("completed by worker \"w\"".to_owned()),
        ..log(11, "COMPLETED")
    }
}

#[test]
fn ways_are_told_as_they_were_judged() {
    let log = routed();
    let choices = choices(&graph(), log.route.as_ref().map(|route| &route.0));
    let [ask, pay] = &choices[..] else {
        panic!("two ways were judged: {choices:?}");
    };
    assert_eq!(
        (ask.transition_id, pay.transition_id),
        (Some(id(21)), Some(id(22)))
    );
    assert_eq!(
        (ask.is_taken, ask.holds, ask.is_default),
        (false, false, false)
    );
    assert_eq!(
        (pay.is_taken, pay.holds, pay.is_default),
        (true, true, true)
    );
    assert_eq!(
        ask.condition,
        r#"(amount greaterThan 100 and not region in ["eu"])"#
    );
    assert_eq!(ask.seen["amount"], json!(50));
    assert_eq!(ask.missing, ["region"]);
}

#[test]
fn without_transitions_the_way_by_order_is_the_one_taken() {
    let route = json!({ "candidates": [{ "to": "Next", "holds": true }], "taken": [] });
    let choices = choices(&graph(), route.as_object());
    assert_eq!(choices.len(), 1);
    assert!(choices[0].is_taken);
    assert_eq!(
        (choices[0].to.as_str(), choices[0].transition_id),
        ("Next", None)
    );
}

#[test]
fn the_text_says_all_of_it() {
    let graph = graph();
    let told = |log: &Log, waits_for: Option<&str>| {
        let choices = choices(&graph, log.route.as_ref().map(|route| &route.0));
        text(&graph, log, &choices, waits_for)
    };
    assert_eq!(
        told(&routed(), None),
        "Check (check) was completed: completed by worker \"w\"; not to \"Ask\", as (amount greaterThan 100 \
         and not region in [\"eu\"]) does not hold (amount = 50, region missing); went on to \"Pay\" by default."
    );
    let failed = Log {
        attempt: 2,
        activation: 3,
        error_code: Some("DOWN".to_owned()),
        error: Some("no\u{7} line".to_owned()),
        message: Some("attempt 3 follows".to_owned()),
        ..log(13, "FAILED")
    };
    assert_eq!(
        told(&failed, None),
        "Pay (pay), arrival 3, attempt 2 failed with DOWN (no line): attempt 3 follows."
    );
    assert_eq!(
        told(&log(12, "PENDING"), Some("a member of \"chefs\" to decide")),
        "Ask (approval) waits for a member of \"chefs\" to decide."
    );
    assert_eq!(
        told(&log(13, "COMPLETED"), None),
        "Pay (pay) was completed; nothing follows it."
    );
}

#[test]
fn whatever_waits_says_what_would_end_it() {
    let graph = graph();
    let held = Wait {
        held_by: Some("a/b".to_owned()),
        ..wait("job", 11)
    };
    for (wait, part) in [
        (wait("job", 11), "ActivateJobs"),
        (held, "CompleteJob"),
        (wait("person", 12), "ApproveTask"),
        (wait("signal", 12), "\"paid\""),
        (wait("join", 12), "branches"),
        (wait("children", 12), "items"),
        (wait("lock", 12), "the lock"),
        (wait("incident", 12), "ResolveIncident"),
        (wait("timer", 12), "the clock, at 2026-01-01T12:00:00Z"),
        (wait("runnable", 12), "the engine"),
    ] {
        let ends = ends_by(&graph, &wait);
        assert!(ends[0].contains(part), "{}: {ends:?}", wait.kind);
        let has_instant = ends.iter().any(|end| end.contains("2026-01-01T12:00:00Z"));
        assert_eq!(
            has_instant,
            wait.kind != "runnable",
            "{}: {ends:?}",
            wait.kind
        );
    }
}
