//! One broken definition for each code that concerns the graph.

use serde_json::{Value, json};
use uuid::Uuid;

use super::definition;
use crate::definition::Definition;
use crate::graph::Graph;
use crate::problem::{Problem, Severity};

pub(super) fn problems(definition: Definition) -> Vec<Problem> {
    match Graph::parse(definition) {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    }
}

/// Exactly one problem is expected.
#[track_caller]
fn check(definition: Definition, severity: Severity, path: &str, code: &str, message: &str) {
    let found = problems(definition);
    let [problem] = &found[..] else {
        panic!("one {code} expected: {found:#?}");
    };
    assert_eq!(
        (problem.path.as_str(), problem.code),
        (path, code),
        "{problem:?}"
    );
    assert_eq!(problem.severity, severity);
    assert!(problem.message.contains(message), "{problem:?}");
}

#[track_caller]
pub(super) fn error(definition: Definition, path: &str, code: &str, message: &str) {
    check(definition, Severity::Error, path, code, message);
}

#[track_caller]
pub(super) fn warning(definition: Definition, path: &str, code: &str, message: &str) {
    check(definition, Severity::Warning, path, code, message);
}

fn two(transitions: Value) -> Definition {
    definition(json!([{ "name": "A" }, { "name": "B" }]), transitions)
}

#[test]
fn counts() {
    error(
        definition(json!([]), json!([])),
        "steps",
        "NO_STEPS",
        "at least one",
    );
    let steps: Vec<Value> = (0..1001)
        .map(|at| json!({ "name": format!("S{at}") }))
        .collect();
    error(
        definition(json!(steps), json!([])),
        "steps",
        "TOO_MANY_STEPS",
        "at most 1000",
    );
    let ways = vec![json!({ "from": "A", "to": "B" }); 10_001];
    error(
        two(json!(ways)),
        "transitions",
        "TOO_MANY_TRANSITIONS",
        "at most 10000",
    );
}

#[test]
fn names_keys_and_ids() {
    let steps = |second: Value| definition(json!([{ "name": "A" }, second]), json!([]));
    error(
        steps(json!({ "name": "A", "key": "b" })),
        r#"steps["A"].name"#,
        "DUPLICATE_NAME",
        "tell them apart",
    );
    error(
        steps(json!({ "name": "B", "key": "a" })),
        r#"steps["B"].key"#,
        "DUPLICATE_KEY",
        r#""a""#,
    );
    error(
        steps(json!({ "name": " ", "key": "b" })),
        r#"steps["b"].name"#,
        "EMPTY_NAME",
        "empty",
    );
    error(
        steps(json!({ "name": "B", "key": "" })),
        r#"steps["B"].key"#,
        "EMPTY_KEY",
        "empty",
    );
    let long = "x".repeat(201);
    error(
        steps(json!({ "name": long, "key": "b" })),
        &format!("steps[\"{}…\"].name", "x".repeat(199)),
        "NAME_TOO_LONG",
        "201",
    );
    let mut twins = steps(json!({ "name": "B" }));
    twins.steps[1].id = twins.steps[0].id;
    let found = problems(twins);
    assert!(
        found
            .iter()
            .any(|p| p.path == r#"steps["B"].id"# && p.code == "DUPLICATE_ID"),
        "{found:?}"
    );
    error(
        definition(json!([{ "name": "A", "order": -1 }]), json!([])),
        r#"steps["A"].order"#,
        "ORDER_NEGATIVE",
        "0 or more",
    );
    error(
        definition(json!([{ "name": "say \"hi\"\n", "order": -1 }]), json!([])),
        r#"steps["say \"hi\"\n"].order"#,
        "ORDER_NEGATIVE",
        "",
    );
}

#[test]
fn start_and_order() {
    let three = |orders: [i32; 3], transitions: Value| {
        let names = ["A", "B", "C"].into_iter().zip(orders);
        let steps: Vec<Value> = names
            .map(|(name, order)| json!({ "name": name, "order": order }))
            .collect();
        definition(json!(steps), transitions)
    };
    error(
        three(
            [1, 1, 2],
            json!([{ "from": "A", "to": "C" }, { "from": "B", "to": "C" }]),
        ),
        r#"steps["B"].order"#,
        "START_AMBIGUOUS",
        r#""A", "B""#,
    );
    error(
        three([1, 1, 2], json!([])),
        r#"steps["B"].order"#,
        "START_AMBIGUOUS",
        "order is 1",
    );
    error(
        three([1, 2, 2], json!([])),
        r#"steps["C"].order"#,
        "ORDER_AMBIGUOUS",
        "order is 2",
    );
    error(
        three([1, 2, 3], json!([{ "from": "A", "to": "B" }])),
        r#"steps["C"]"#,
        "UNREACHABLE_STEP",
        r#"from the start, "A""#,
    );
}

#[test]
fn transitions() {
    let ok = json!({ "from": "A", "to": "B" });
    let nobody = Uuid::from_u128(9);
    error(
        two(json!([ok, { "from": "A", "to": "nobody", "condition": { "cel": "true" } }])),
        &format!("transitions[\"A\" -> \"{nobody}\"].toStepId"),
        "DANGLING_TRANSITION",
        "no step of this workflow",
    );
    error(
        two(json!([ok, { "from": "nobody", "to": "B" }])),
        &format!("transitions[\"{nobody}\" -> \"B\"].fromStepId"),
        "DANGLING_TRANSITION",
        "no step of this workflow",
    );
    error(
        two(
            json!([{ "from": "A", "to": "B", "isDefault": true }, { "from": "A", "to": "B", "isDefault": true }]),
        ),
        r#"transitions["A" -> "B" #2].isDefault"#,
        "TWO_DEFAULTS",
        "there can be one",
    );
    error(
        two(json!([{ "from": "A", "to": "B", "isDefault": true, "condition": { "cel": "true" } }])),
        r#"transitions["A" -> "B"].condition"#,
        "DEFAULT_WITH_CONDITION",
        "remove its condition",
    );
    for second in [
        json!({ "isDefault": true }),
        json!({ "condition": { "cel": "true" } }),
        json!({}),
    ] {
        let mut transition = super::object(second);
        transition.extend(super::object(json!({ "from": "A", "to": "B" })));
        warning(
            two(json!([ok, transition])),
            r#"transitions["A" -> "B" #2]"#,
            "NEVER_JUDGED",
            r#"to "B""#,
        );
    }
    let catch = json!({ "from": "A", "to": "B", "condition": { "field": "step.error", "operator": "exists" } });
    assert_eq!(problems(two(json!([ok, catch]))), []);
    let nothing = json!({ "from": "A", "to": "B", "condition": null });
    assert_eq!(problems(two(json!([nothing]))), []);
}

#[test]
fn conditions() {
    let with = |condition: Value| two(json!([{ "from": "A", "to": "B", "condition": condition }]));
    let path = r#"transitions["A" -> "B"].condition"#;
    error(with(json!({})), path, "CONDITION_INVALID", "says nothing");
    error(
        with(json!({ "field": "a", "operator": "equals_", "value": 1 })),
        &format!("{path}.operator"),
        "UNKNOWN_OPERATOR",
        "Did you mean `equals`?",
    );
    error(
        with(json!({ "field": "a", "operator": "matches", "value": "[" })),
        &format!("{path}.value"),
        "REGEX_INVALID",
        "unclosed",
    );
    error(
        with(json!({ "cel": "1 +" })),
        &format!("{path}.cel"),
        "CEL_INVALID",
        "Syntax error",
    );
    warning(
        with(json!({ "field": "steps[\"a\"].output.x", "operator": "exists" })),
        path,
        "UNKNOWN_STEP_REFERENCE",
        r#"no step "a""#,
    );
    warning(
        with(json!({ "cel": "steps.Approve.output.x" })),
        path,
        "UNKNOWN_STEP_REFERENCE",
        r#"no step "Approve""#,
    );
}

#[test]
fn loops_without_rest() {
    let looped = |kind: &str, config: Value| {
        definition(
            json!([{ "name": "A" }, { "name": "B", "stepType": "decision" },
                   { "name": "C", "stepType": kind, "config": config }, { "name": "D", "stepType": "decision" }]),
            json!([{ "from": "A", "to": "B" }, { "from": "B", "to": "C" },
                   { "from": "C", "to": "B", "condition": { "cel": "true" } },
                   { "from": "C", "to": "D", "isDefault": true }]),
        )
    };
    error(
        looped("notification", json!({})),
        r#"steps["B"]"#,
        "BUSY_LOOP",
        r#""B" -> "C" -> "B""#,
    );
    assert_eq!(problems(looped("wait", json!({ "duration": "1s" }))), []);
    assert_eq!(problems(looped("approval", json!({}))), []);
    assert_eq!(problems(looped("data_entry", json!({}))), []);
    assert_eq!(problems(looped("custom", json!({}))), []);
    let again = json!({ "from": "B", "to": "B", "condition": { "cel": "true" } });
    let itself = definition(
        json!([{ "name": "A" }, { "name": "B", "stepType": "decision" }]),
        json!([{ "from": "A", "to": "B" }, again]),
    );
    error(itself, r#"steps["B"]"#, "BUSY_LOOP", r#""B" -> "B""#);
}

/// A, then a step F of this type with two ways on, which meet in J.
fn diamond(fork: &str, join: Value) -> Definition {
    let ways = json!([
        { "from": "F", "to": "A" },
        { "from": "F", "to": "B", "condition": { "cel": "true" } },
        { "from": "A", "to": "J" },
        { "from": "B", "to": "J" },
    ]);
    let steps = json!([
        { "name": "F", "stepType": fork },
        { "name": "B" },
        { "name": "A" },
        { "name": "J", "stepType": "join", "config": join },
    ]);
    definition(steps, ways)
}

#[test]
fn joins_and_ends() {
    // Every way of a parallel step is judged, so none stands in another's.
    assert!(problems(diamond("parallel", json!({ "mode": "N_OF", "n": 2 }))).is_empty());
    let path = r#"steps["J"]"#;
    warning(
        diamond("decision", json!({})),
        path,
        "JOIN_ALONE",
        "no effect",
    );
    let two = json!({ "mode": "N_OF", "n": 2 });
    let n = r#"steps["J"].config.n"#;
    error(diamond("decision", two), n, "JOIN_NEVER_FIRES", "for ever");
    for (config, key, code, message) in [
        (
            json!({ "mode": "SOME" }),
            "mode",
            "CONFIG_INVALID",
            "ALL, ANY, N_OF",
        ),
        (json!({ "mode": "N_OF" }), "n", "CONFIG_MISSING", "how many"),
        (
            json!({ "mode": "N_OF", "n": 0 }),
            "n",
            "CONFIG_INVALID",
            "from 1",
        ),
        (
            json!({ "mode": "ANY", "n": 1 }),
            "n",
            "CONFIG_INVALID",
            "a meaning only",
        ),
        (
            json!({ "onSatisfied": true }),
            "onSatisfied",
            "CONFIG_INVALID",
            "CANCEL_REST",
        ),
    ] {
        let path = format!("steps[\"J\"].config.{key}");
        error(diamond("parallel", config), &path, code, message);
    }
    let end = |config: Value| {
        definition(
            json!([{ "name": "A" }, { "name": "E", "stepType": "end", "config": config }]),
            json!([]),
        )
    };
    assert!(problems(end(json!({ "status": "FAILED", "errorCode": "X" }))).is_empty());
    let path = r#"steps["E"].config.errorCode"#;
    error(
        end(json!({ "errorCode": "X" })),
        path,
        "CONFIG_INVALID",
        "FAILED",
    );
    let steps = json!([{ "name": "A" }, { "name": "E", "stepType": "end" }, { "name": "B" }]);
    error(
        definition(steps, json!([])),
        r#"steps["E"]"#,
        "END_GOES_ON",
        "remove",
    );
}

#[test]
fn loops_that_only_an_instant_holds_up() {
    let round = |step_type: &str, config: Value| {
        let steps = json!([
            { "name": "A", "stepType": "decision" },
            { "name": "B", "stepType": step_type, "config": config },
        ]);
        let ways = json!([
            { "from": "A", "to": "B", "isDefault": true },
            { "from": "B", "to": "A", "isDefault": true },
        ]);
        definition(steps, ways)
    };
    for config in [
        json!({ "until": "2030-01-01T00:00:00Z" }),
        json!({ "untilField": "due" }),
    ] {
        let loop_of = r#"the loop "A" -> "B" -> "A" rests only until an instant"#;
        warning(
            round("wait", config),
            r#"steps["A"]"#,
            "LOOP_MAY_SPIN",
            loop_of,
        );
    }
    assert_eq!(problems(round("wait", json!({ "duration": "1h" }))), []);
    assert_eq!(problems(round("custom", json!({}))), []);
    error(
        round("decision", json!({})),
        r#"steps["A"]"#,
        "BUSY_LOOP",
        "never rest",
    );
}

#[test]
fn all_problems_come_at_once() {
    let broken = definition(
        json!([{ "name": "A", "stepType": "approval", "config": { "timeout": 5, "colour": 1 } },
               { "name": "A", "stepType": "http" }, { "name": "C", "stepType": "wait" }]),
        json!([{ "from": "A", "to": "nobody", "condition": { "field": "x", "operator": "is_" } },
               { "from": "A", "to": "A", "isDefault": true, "condition": { "cel": "(" } }]),
    );
    let mut codes: Vec<&str> = problems(broken)
        .iter()
        .map(|problem| problem.code)
        .collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(
        codes,
        [
            "CEL_INVALID",
            "CONFIG_MISSING",
            "DANGLING_TRANSITION",
            "DEFAULT_WITH_CONDITION",
            "DUPLICATE_KEY",
            "DUPLICATE_NAME",
            "DURATION_INVALID",
            "STEP_TYPE_NOT_SUPPORTED",
            "UNKNOWN_CONFIG_KEY",
            "UNKNOWN_OPERATOR",
            "UNREACHABLE_STEP",
        ]
    );
}
