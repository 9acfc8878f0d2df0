//! Simulations of small definitions, told in a line.

use std::collections::BTreeMap;

use model::status::ExecutionStatus;
use serde_json::json;

use super::*;

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// Steps as `(name, type, config)`, transitions as `(from, to, condition)`, where null is a default.
pub fn graph(steps: &[(&str, &str, Value)], ways: &[(&str, &str, Value)]) -> Graph {
    let at = |name: &str| {
        let at = steps.iter().position(|step| step.0 == name);
        id(100 + at.expect("the step is listed") as u128)
    };
    let step = |(order, step): (usize, &(&str, &str, Value))| {
        json!({
            "id": id(100 + order as u128), "key": step.0.to_lowercase(), "name": step.0, "order": order,
            "stepType": step.1, "config": step.2, "isRequired": true,
        })
    };
    let way = |(n, way): (usize, &(&str, &str, Value))| {
        json!({
            "id": id(1000 + n as u128), "fromStepId": at(way.0), "toStepId": at(way.1),
            "condition": way.2, "isDefault": way.2.is_null(),
        })
    };
    let definition = json!({
        "workflowId": id(1), "version": 1, "clientId": id(2), "name": "Simulated",
        "steps": steps.iter().enumerate().map(step).collect::<Vec<_>>(),
        "transitions": ways.iter().enumerate().map(way).collect::<Vec<_>>(),
    });
    let (graph, _) = Graph::parse(serde_json::from_value(definition).unwrap()).unwrap();
    graph
}

fn bind(graph: &Graph, mocks: Value) -> Result<Mocks, Vec<(String, String)>> {
    let lists = mocks.as_object().unwrap().iter();
    let parse = |list: &Value| -> Result<Vec<Mock>, String> {
        list.as_array().unwrap().iter().map(Mock::parse).collect()
    };
    let given: Result<BTreeMap<_, _>, String> = lists
        .map(|(word, list)| Ok((word.clone(), parse(list)?)))
        .collect();
    Mocks::bind(given.unwrap(), graph)
}

fn simulate(graph: &Graph, mocks: Value) -> Result<Simulated, TooLarge> {
    let now = "2026-01-01T12:00:00Z".parse().unwrap();
    run(graph, Map::new(), &bind(graph, mocks).unwrap(), now)
}

/// Name, status and error code of each log.
fn path(graph: &Graph, simulated: &Simulated) -> Vec<String> {
    let logs = simulated.change.logs.values();
    logs.map(|log| {
        let at = graph.node_of(log.step_id).unwrap();
        let name = &graph.definition.steps[at].name;
        match &log.failure {
            Some(failure) => format!("{name} {} {}", log.status, failure.code),
            None => format!("{name} {}", log.status),
        }
    })
    .collect()
}

fn minutes(simulated: &Simulated) -> i64 {
    let execution = &simulated.execution;
    (execution.completed_at.unwrap() - execution.started_at).num_minutes()
}

fn says(field: &str, value: Value) -> Value {
    json!({ "field": field, "operator": "equals", "value": value })
}

/// A worker's step that is gone through again and again.
fn treadmill(mock: Value) -> Option<TooLarge> {
    let steps = [("Run", "run", json!({ "retry": { "maxAttempts": 1000 } }))];
    let caught = says("step.status", json!("FAILED"));
    let ways = [("Run", "Run", Value::Null), ("Run", "Run", caught)];
    simulate(&graph(&steps, &ways), json!({ "Run": [mock] })).err()
}

#[test]
fn simulation_that_would_fill_the_memory_is_given_up() {
    let large = "x".repeat(200_000);
    let output = json!({ "output": { "x": large } });
    assert_eq!(treadmill(output), Some(TooLarge));
    let error = json!({ "error": { "code": "DOWN" } });
    assert_eq!(treadmill(error), Some(TooLarge));
    assert_eq!(treadmill(json!({ "output": { "x": 1 } })), None);
}

/// An offer that is accepted by a message or runs out, while somebody decides.
fn race() -> Graph {
    let any = json!({ "mode": "ANY", "onSatisfied": "CANCEL_REST" });
    let steps = [
        ("Begin", "parallel", json!({})),
        (
            "Message",
            "signal",
            json!({ "name": "accepted", "timeout": "5h" }),
        ),
        ("Decide", "approval", json!({ "timeout": "2h" })),
        ("Timer", "wait", json!({ "duration": "1h" })),
        ("First", "join", any),
        ("Late", "notification", json!({})),
    ];
    let always = || json!({ "cel": "true" });
    let timeout = || says("step.error.code", json!("TIMEOUT"));
    let ways = [
        ("Begin", "Message", always()),
        ("Begin", "Decide", always()),
        ("Begin", "Timer", always()),
        ("Message", "First", Value::Null),
        ("Message", "Late", timeout()),
        ("Decide", "First", Value::Null),
        ("Decide", "Late", timeout()),
        ("Timer", "First", Value::Null),
    ];
    graph(&steps, &ways)
}

#[test]
fn races_end_as_their_times_say() {
    let graph = race();
    let race = |message: &str, decision: &str| {
        let mocks = json!({
            "accepted": [{ "output": { "by": "mail" }, "delay": message }],
            "Decide": [{ "output": { "approved": false }, "delay": decision }],
        });
        let simulated = simulate(&graph, mocks).unwrap();
        let path = path(&graph, &simulated);
        let winner = ["Message", "Decide", "Timer"].iter();
        let done = |name: &&&str| path.contains(&format!("{name} COMPLETED"));
        let winners: Vec<&str> = winner.filter(done).copied().collect();
        (winners.join(" "), minutes(&simulated))
    };
    assert_eq!(race("10m", "20m"), ("Message".to_owned(), 10));
    assert_eq!(race("30m", "20m"), ("Decide".to_owned(), 20));
    assert_eq!(race("2h", "90m"), ("Timer".to_owned(), 60));
    // At the same instant the clock comes first.
    assert_eq!(race("1h", "1h"), ("Timer".to_owned(), 60));
}

#[test]
fn whoever_is_to_time_out_does() {
    let steps = [
        ("Ask", "approval", json!({ "timeout": "2h" })),
        (
            "Work",
            "work",
            json!({ "timeout": "10m", "queueTimeout": "1h", "retry": { "maxAttempts": 3, "initialInterval": "1m", "jitter": 0 } }),
        ),
        (
            "Remind",
            "signal",
            json!({ "name": "paid", "timeout": "1d" }),
        ),
    ];
    let ways = [
        ("Ask", "Work", says("step.error.code", json!("TIMEOUT"))),
        ("Work", "Remind", Value::Null),
        ("Remind", "Ask", Value::Null),
    ];
    let graph = graph(&steps, &ways);
    let mocks = json!({
        "ask": [{ "timeout": true }],
        "Work": [{ "timeout": true }, { "queueTimeout": true }, { "output": {}, "delay": "10m" }],
    });
    let simulated = simulate(&graph, mocks).unwrap();
    assert_eq!(
        path(&graph, &simulated),
        [
            "Ask FAILED TIMEOUT",
            "Work FAILED TIMEOUT",
            "Work FAILED QUEUE_TIMEOUT",
            // It takes as long as the step allows: too long.
            "Work FAILED TIMEOUT",
        ]
    );
    assert_eq!(simulated.execution.status, ExecutionStatus::Failed);
    // Two hours, ten minutes, a minute's pause, an hour in the queue, a minute's pause, ten minutes.
    assert_eq!(minutes(&simulated), 120 + 10 + 1 + 60 + 1 + 10);
}

#[test]
fn decisions_hold_what_real_ones_hold() {
    let graph = graph(&[("Ask", "approval", json!({}))], &[]);
    let mocks =
        json!({ "Ask": [{ "output": { "approved": false, "comment": "no" }, "delay": "1h" }] });
    let simulated = simulate(&graph, mocks).unwrap();
    assert_eq!(
        simulated.change.logs[&1].data,
        json!({
            "approved": false, "approver": "simulation", "comment": "no",
            "timestamp": "2026-01-01T13:00:00Z",
        })
        .as_object()
        .cloned()
    );
}

#[test]
fn what_was_never_tried_is_told() {
    let graph = race();
    let coverage = |mocks: Value| simulate(&graph, mocks).unwrap().coverage;
    let told = coverage(
        json!({ "accepted": [{ "output": {}, "delay": "1m" }], "Decide": [{ "timeout": true }] }),
    );
    assert_eq!(told.unvisited_steps, [id(105)]);
    let [message, decide, timer, first] = [101, 102, 103, 104].map(id);
    assert_eq!(
        told.unexercised,
        [
            (message, Exercise::TimedOut),
            (decide, Exercise::Approved),
            (decide, Exercise::Rejected),
            (decide, Exercise::TimedOut),
            (timer, Exercise::Completed),
            (first, Exercise::Failed),
        ]
    );
    let told = coverage(
        json!({ "Decide": [{ "output": { "approved": false } }], "accepted": [{ "timeout": true }] }),
    );
    assert!(!told.unexercised.contains(&(decide, Exercise::Rejected)));
    assert!(told.unexercised.contains(&(decide, Exercise::Approved)));
    assert_eq!(
        told.untaken_transitions.len(),
        graph.definition.transitions.len() - 4
    );
}

#[test]
fn mocks_for_nobody_are_refused() {
    let graph = race();
    let refused = |mocks: Value| bind(&graph, mocks).map(drop).unwrap_err();
    let answer = || json!([{ "output": {} }]);
    let check = |mocks: Value, place: &str, part: &str| {
        let wrong = refused(mocks);
        let [(at, why)] = &wrong[..] else {
            panic!("one problem was expected: {wrong:?}");
        };
        assert_eq!(at, place);
        assert!(why.contains(part), "{why}");
    };
    check(
        json!({ "Decid": answer() }),
        r#"mocks["Decid"]"#,
        "Did you mean `Decide`?",
    );
    check(
        json!({ "zzz": answer() }),
        r#"mocks["zzz"]"#,
        "no such step or signal",
    );
    check(
        json!({ "Late": answer() }),
        r#"mocks["Late"]"#,
        "nobody is asked",
    );
    check(
        json!({ "Timer": answer() }),
        r#"mocks["Timer"]"#,
        "time jumps",
    );
    check(
        json!({ "First": answer() }),
        r#"mocks["First"]"#,
        "nobody answers for a join",
    );
    check(
        json!({ "Decide": answer(), "decide": answer() }),
        r#"mocks["decide"]"#,
        "other name",
    );
    check(
        json!({ "Message": answer(), "accepted": answer() }),
        r#"mocks["accepted"]"#,
        "of their own",
    );
    let late = json!([{ "output": {} }, { "queueTimeout": true }]);
    check(
        json!({ "Decide": late }),
        r#"mocks["Decide"][1]"#,
        "has no queueTimeout",
    );
}

#[test]
fn malformed_answers_are_refused() {
    for (answer, part) in [
        (json!(1), "an answer is"),
        (json!({}), "an answer is"),
        (
            json!({ "output": {}, "error": { "code": "X" } }),
            "an answer is",
        ),
        (json!({ "timeout": false }), "an answer is"),
        (
            json!({ "timeout": true, "delay": "1h" }),
            "no meaning with a timeout",
        ),
        (json!({ "output": {}, "delay": 5 }), "delay is no text"),
        (json!({ "output": {}, "delay": "5" }), "delay: "),
        (json!({ "error": {} }), "error.code is required"),
        (
            json!({ "businessError": { "code": 1 } }),
            "businessError.code is not a text",
        ),
        (json!({ "delay": "1h" }), "an answer is"),
    ] {
        let why = Mock::parse(&answer).unwrap_err();
        assert!(why.contains(part), "{answer}: {why}");
    }
}

/// A review of each page, two at once, while the book is bound by one at a time.
fn pages() -> Graph {
    let steps = [
        ("Begin", "parallel", json!({})),
        (
            "Pages",
            "foreach",
            json!({ "items": "pages", "step": "Read", "concurrency": 2, "timeout": "1d" }),
        ),
        (
            "Bind",
            "bind",
            json!({ "lock": { "name": "press", "timeout": "3h" } }),
        ),
        (
            "Glue",
            "glue",
            json!({ "lock": { "name": "press", "timeout": "3h" } }),
        ),
        ("Read", "read", json!({ "retry": { "maxAttempts": 1 } })),
    ];
    let always = || json!({ "cel": "true" });
    let ways = [
        ("Begin", "Pages", always()),
        ("Begin", "Bind", always()),
        ("Begin", "Glue", always()),
    ];
    graph(&steps, &ways)
}

#[test]
fn items_take_the_answers_in_turn_and_locks_are_held_by_one() {
    let graph = pages();
    let simulate = |bind: &str| {
        let mocks = json!({
            "Read": [{ "output": { "page": 1 }, "delay": "1h" }, { "output": { "page": 2 } }],
            "Bind": [{ "output": {}, "delay": bind }],
            "Glue": [{ "output": {}, "delay": "1h" }],
        });
        let input = object(json!({ "pages": ["a", "b", "c"] }));
        let now = "2026-01-01T12:00:00Z".parse().unwrap();
        run(&graph, input, &self::bind(&graph, mocks).unwrap(), now).unwrap()
    };
    let simulated = simulate("2h");
    let logs = || simulated.change.logs.values();
    let pages = logs().find_map(|log| log.data.as_ref()?.get("results").cloned());
    assert_eq!(
        pages,
        Some(json!([{ "page": 1 }, { "page": 2 }, { "page": 2 }]))
    );
    // One after the other.
    assert_eq!(minutes(&simulated), 3 * 60);
    assert_eq!(simulated.execution.status, ExecutionStatus::Completed);
    // Whoever holds it too long lets the other one wait in vain.
    let path = path(&graph, &simulate("4h"));
    assert!(
        path.contains(&"Glue FAILED LOCK_TIMEOUT".to_owned()),
        "{path:?}"
    );
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn nothing_is_started_for_a_subworkflow() {
    let config = json!({ "workflowId": id(9), "timeout": "2h" });
    let failed = says("step.error.code", json!("TIMEOUT"));
    let graph = graph(
        &[
            ("Call", "subworkflow", config),
            (
                "Sum",
                "transform",
                json!({ "output": { "sum": "data.result.n + 1" } }),
            ),
            ("Late", "notification", json!({})),
        ],
        &[("Call", "Sum", Value::Null), ("Call", "Late", failed)],
    );
    let mocks = json!({ "Call": [{ "output": { "result": { "n": 1 } }, "delay": "1h" }] });
    let simulated = simulate(&graph, mocks).unwrap();
    assert_eq!(minutes(&simulated), 60);
    assert_eq!(path(&graph, &simulated).len(), 2);
    assert!(simulated.change.messages.is_empty());
    let simulated = simulate(&graph, json!({ "Call": [{ "timeout": true }] })).unwrap();
    assert_eq!(minutes(&simulated), 120);
    // Without an answer there is the output that it always has.
    let simulated = simulate(&graph, json!({})).unwrap();
    let output = simulated.change.logs[&1].data.clone().unwrap();
    assert_eq!(output["result"], json!({}));
}
