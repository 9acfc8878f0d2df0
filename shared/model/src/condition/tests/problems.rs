//! What is no condition, and how that is said.

use serde_json::{Value, json};

use crate::condition::Condition;

#[test]
fn what_is_wrong_is_said_at_its_place() {
    let check = |condition: Value, path: &str, code: &str, message: &str| {
        let problems = Condition::parse(&condition, "c").expect_err(&condition.to_string());
        let found = problems
            .iter()
            .any(|p| p.path == path && p.code == code && p.message.contains(message));
        assert!(found, "{condition}: {problems:#?}");
    };
    let invalid = "CONDITION_INVALID";
    let field = |operator: &str, value: Value| json!({ "field": "a", "operator": operator, "value": value });
    check(json!(true), "c", invalid, "must be one of");
    check(json!({}), "c", invalid, "says nothing");
    check(
        json!({ "feild": "a", "operator": "exists" }),
        "c.feild",
        invalid,
        "`field`?",
    );
    check(
        json!({ "operator": "exists" }),
        "c.field",
        invalid,
        "missing",
    );
    check(
        json!({ "field": 1, "operator": "exists" }),
        "c.field",
        invalid,
        "a text",
    );
    check(
        json!({ "field": "a..b", "operator": "exists" }),
        "c.field",
        invalid,
        "no path",
    );
    check(json!({ "field": "a" }), "c.operator", invalid, "equals");
    check(
        field("equal", json!(1)),
        "c.operator",
        "UNKNOWN_OPERATOR",
        "Did you mean `equals`?",
    );
    check(
        field("==", json!(1)),
        "c.operator",
        "UNKNOWN_OPERATOR",
        "Did you mean `equals`?",
    );
    check(
        field("not_in", json!([])),
        "c.operator",
        "UNKNOWN_OPERATOR",
        "Did you mean `notIn`?",
    );
    check(
        field("xyz", json!(1)),
        "c.operator",
        "UNKNOWN_OPERATOR",
        "no operator `xyz`. Operators:",
    );
    check(
        json!({ "field": "a", "operator": "equals" }),
        "c.value",
        invalid,
        "needs a `value`",
    );
    check(
        field("exists", json!(true)),
        "c.value",
        invalid,
        "leave this out",
    );
    check(
        field("greaterThan", json!(true)),
        "c.value",
        invalid,
        "a number or a text",
    );
    check(field("in", json!("a")), "c.value", invalid, "list");
    check(field("startsWith", json!(1)), "c.value", invalid, "text");
    check(
        field("matches", json!("(")),
        "c.value",
        "REGEX_INVALID",
        "unclosed group",
    );
    check(
        field("matches", json!(1)),
        "c.value",
        invalid,
        "regular expression",
    );
    check(
        field("before", json!("soon")),
        "c.value",
        invalid,
        "RFC 3339",
    );
    check(
        json!({ "field": "a", "operator": "matches", "valueField": "b" }),
        "c.valueField",
        invalid,
        "checked now",
    );
    check(
        json!({ "field": "a", "operator": "isNull", "valueField": "b" }),
        "c.valueField",
        invalid,
        "leave this out",
    );
    check(
        json!({ "field": "a", "operator": "equals", "value": 1, "valueField": "b" }),
        "c.valueField",
        invalid,
        "only one",
    );
    check(json!({ "all": [] }), "c.all", invalid, "at least one");
    check(json!({ "any": {} }), "c.any", invalid, "at least one");
    check(json!({ "not": [] }), "c.not", invalid, "must be one of");
    check(
        json!({ "all": [1], "any": [1] }),
        "c",
        invalid,
        "side by side",
    );
    check(
        json!({ "not": { "field": "a" }, "field": "a" }),
        "c",
        invalid,
        "side by side",
    );
    check(json!({ "cel": 1 }), "c.cel", "CEL_INVALID", "the text");
    check(
        json!({ "cel": "a >" }),
        "c.cel",
        "CEL_INVALID",
        "Syntax error",
    );
    check(
        json!({ "all": [{ "any": [{ "field": "a" }] }] }),
        "c.all[0].any[0].operator",
        invalid,
        "equals",
    );
}

#[test]
fn every_problem_is_reported_at_once() {
    let condition = json!({ "all": [
        { "field": "", "operator": "equal" },
        { "any": [] },
        { "cel": "" },
        { "field": "a", "operator": "matches", "value": "[", "extra": 1 },
    ] });
    let problems = Condition::parse(&condition, "c").unwrap_err();
    let paths: Vec<&str> = problems
        .iter()
        .map(|problem| problem.path.as_str())
        .collect();
    assert_eq!(
        paths,
        [
            "c.all[0].field",
            "c.all[0].operator",
            "c.all[1].any",
            "c.all[2].cel",
            "c.all[3].extra",
            "c.all[3].value"
        ]
    );
}

#[test]
fn nesting_is_bounded() {
    let leaf = json!({ "field": "a", "operator": "exists" });
    let nested = |depth: usize| (0..depth).fold(leaf.clone(), |inner, _| json!({ "not": inner }));
    assert!(Condition::parse(&nested(15), "c").is_ok());
    let problems = Condition::parse(&nested(16), "c").unwrap_err();
    assert!(problems[0].message.contains("16 levels"), "{problems:?}");
    assert!(Condition::parse(&nested(100), "c").is_err());
}
