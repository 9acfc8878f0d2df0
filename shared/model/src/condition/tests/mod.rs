//! One table per operator, and what a verdict tells.

mod problems;
mod properties;
mod schema;

use serde_json::{Map, Value, json};

use super::{Condition, Verdict};
use crate::effort::Effort;
use crate::scope::Scope;

fn in_scope<T>(data: Map<String, Value>, judge: impl FnOnce(&Scope<'_>) -> T) -> T {
    let Value::Object(steps) = json!({ "Manager Approval": { "output": { "approved": true } } })
    else {
        panic!("an object");
    };
    judge(&Scope {
        data: &data,
        item: None,
        steps: &steps,
        step: &json!({ "name": "Pay", "status": "FAILED", "error": { "code": "TIMEOUT" } }),
        execution: &json!({ "id": "e1" }),
        client: &json!({ "name": "Acme" }),
        effort: &Effort::new(10_000_000),
    })
}

fn judge(condition: Value) -> Verdict {
    let Value::Object(data) = json!({
        "approved": true, "amount": 5, "rate": 1.5, "five": 5.0, "text": "hello", "digits": "5",
        "none": null, "empty": "", "list": [1, "a", { "b": 2.0 }], "nothing": [], "object": {},
        "at": "2026-03-01T10:00:00Z", "later": "2026-03-01T12:00:00+01:00", "nested": { "a": [{ "b": 7 }] },
        "items": [5, 6], "large": "x".repeat(300), "many": vec![0; 200],
    }) else {
        panic!("an object");
    };
    let parsed = Condition::parse(&condition, "c").unwrap_or_else(|p| panic!("{condition}: {p:?}"));
    in_scope(data, |scope| parsed.evaluate(scope))
}

/// Each row: field, operator, value, whether it holds.
fn check(rows: &[(&str, &str, Value, bool)]) {
    for (field, operator, value, want) in rows {
        let condition = json!({ "field": field, "operator": operator, "value": value });
        assert_eq!(judge(condition.clone()).holds, *want, "{condition}");
    }
}

fn check_unary(rows: &[(&str, &str, bool)]) {
    for (field, operator, want) in rows {
        let condition = json!({ "field": field, "operator": operator });
        assert_eq!(judge(condition.clone()).holds, *want, "{condition}");
    }
}

#[test]
fn equality_is_deep_and_never_coerces() {
    let rows = [
        ("approved", json!(true), true),
        ("approved", json!("true"), false),
        ("approved", json!(1), false),
        ("amount", json!(5), true),
        ("amount", json!(5.0), true),
        ("five", json!(5), true),
        ("amount", json!("5"), false),
        ("digits", json!(5), false),
        ("none", json!(null), true),
        ("empty", json!(null), false),
        ("list", json!([1.0, "a", { "b": 2 }]), true),
        ("list", json!([1, "a"]), false),
        ("object", json!({}), true),
        ("object", json!([]), false),
        ("nested.a[0].b", json!(7), true),
        ("data.amount", json!(5), true),
        (
            r#"steps["Manager Approval"].output.approved"#,
            json!(true),
            true,
        ),
        ("step.error.code", json!("TIMEOUT"), true),
        ("client.name", json!("Acme"), true),
        ("execution.id", json!("e1"), true),
    ];
    for (field, value, want) in rows {
        check(&[
            (field, "equals", value.clone(), want),
            (field, "notEquals", value, !want),
        ]);
    }
}

#[test]
fn order_is_of_two_numbers_or_two_texts() {
    for (field, value, less, equal) in [
        ("amount", json!(6), true, false),
        ("amount", json!(5.0), false, true),
        ("amount", json!(4.9), false, false),
        ("rate", json!(2), true, false),
        ("text", json!("world"), true, false),
        ("text", json!("hello"), false, true),
        ("text", json!("Hello"), false, false),
    ] {
        check(&[
            (field, "lessThan", value.clone(), less),
            (field, "lessThanOrEqual", value.clone(), less || equal),
            (field, "greaterThan", value.clone(), !less && !equal),
            (field, "greaterThanOrEqual", value, !less),
        ]);
    }
    for operator in [
        "lessThan",
        "lessThanOrEqual",
        "greaterThan",
        "greaterThanOrEqual",
    ] {
        check(&[
            ("digits", operator, json!(5), false),
            ("amount", operator, json!("5"), false),
            ("none", operator, json!(0), false),
            ("approved", operator, json!(0), false),
            ("list", operator, json!(0), false),
        ]);
    }
}

#[test]
fn texts_and_lists_contain() {
    for (field, value, want) in [
        ("text", json!("ell"), true),
        ("text", json!(""), true),
        ("text", json!("ELL"), false),
        ("digits", json!(5), false),
        ("list", json!("a"), true),
        ("list", json!(1.0), true),
        ("list", json!({ "b": 2 }), true),
        ("list", json!("1"), false),
        ("amount", json!(5), false),
        ("object", json!("a"), false),
    ] {
        check(&[
            (field, "contains", value.clone(), want),
            (field, "notContains", value, !want),
        ]);
    }
    check(&[
        ("text", "startsWith", json!("he"), true),
        ("text", "startsWith", json!("lo"), false),
        ("text", "endsWith", json!("lo"), true),
        ("text", "endsWith", json!("he"), false),
        ("amount", "startsWith", json!("5"), false),
        ("list", "endsWith", json!("a"), false),
    ]);
}

#[test]
fn membership_looks_into_a_list() {
    for (field, value, want) in [
        ("amount", json!([1, 5.0]), true),
        ("amount", json!(["5"]), false),
        ("none", json!([null]), true),
        ("text", json!([]), false),
    ] {
        check(&[
            (field, "in", value.clone(), want),
            (field, "notIn", value, !want),
        ]);
    }
}

#[test]
fn presence_and_emptiness() {
    check_unary(&[
        ("amount", "exists", true),
        ("none", "exists", true),
        ("missing", "exists", false),
        ("amount", "notExists", false),
        ("missing", "notExists", true),
        ("none", "isNull", true),
        ("empty", "isNull", false),
        ("none", "isEmpty", true),
        ("empty", "isEmpty", true),
        ("nothing", "isEmpty", true),
        ("object", "isEmpty", true),
        ("text", "isEmpty", false),
        ("list", "isEmpty", false),
        ("amount", "isEmpty", false),
    ]);
}

#[test]
fn expressions_match_texts() {
    check(&[
        ("text", "matches", json!("^h.*o$"), true),
        ("text", "matches", json!("ell"), true),
        ("text", "matches", json!("^ell"), false),
        ("amount", "matches", json!("5"), false),
        ("large", "matches", json!("(x+x+)+y"), false),
    ]);
}

#[test]
fn instants_compare_whatever_their_offset() {
    check(&[
        ("at", "before", json!("2026-03-01T10:00:01Z"), true),
        ("at", "before", json!("2026-03-01T10:00:00Z"), false),
        ("at", "after", json!("2026-03-01T10:59:59+01:00"), true),
        ("at", "after", json!("2026-03-01T11:00:00+01:00"), false),
        ("text", "before", json!("2026-03-01T10:00:00Z"), false),
        ("amount", "after", json!("2026-03-01T10:00:00Z"), false),
    ]);
}

#[test]
fn a_missing_field_satisfies_only_negations() {
    for operator in super::operator::OPERATORS {
        let word = operator.word;
        let mut condition = json!({ "field": "missing", "operator": word });
        match word {
            "exists" | "notExists" | "isNull" | "isEmpty" => {}
            "in" | "notIn" => condition["value"] = json!([null]),
            "before" | "after" => condition["value"] = json!("2026-03-01T10:00:00Z"),
            _ => condition["value"] = json!("x"),
        }
        let verdict = judge(condition);
        let want = matches!(word, "notExists" | "notEquals" | "notIn" | "notContains");
        assert_eq!(verdict.holds, want, "{word}");
        assert_eq!(verdict.missing, ["missing"]);
    }
}

#[test]
fn fields_compare_with_fields() {
    let check = |field: &str, operator: &str, other: &str, want: bool| {
        let condition = json!({ "field": field, "operator": operator, "valueField": other });
        assert_eq!(judge(condition.clone()).holds, want, "{condition}");
    };
    check("amount", "equals", "five", true);
    check("amount", "greaterThan", "rate", true);
    check("amount", "in", "items", true);
    check("amount", "notIn", "text", true);
    check("at", "before", "later", true);
    check("later", "after", "text", false);
    check("text", "startsWith", "empty", true);
    check("amount", "equals", "missing", false);
    check("amount", "notEquals", "missing", true);
    check("missing", "equals", "missing", false);
}

#[test]
fn combinators_combine() {
    let (yes, no) = (
        json!({ "field": "approved", "operator": "equals", "value": true }),
        json!({ "field": "missing", "operator": "exists" }),
    );
    let check = |condition: Value, want: bool| {
        assert_eq!(judge(condition.clone()).holds, want, "{condition}");
    };
    check(json!({ "all": [yes, yes] }), true);
    check(json!({ "all": [yes, no] }), false);
    check(json!({ "any": [no, yes] }), true);
    check(json!({ "any": [no, no] }), false);
    check(json!({ "not": no }), true);
    check(
        json!({ "not": { "all": [yes, { "any": [no, yes] }] } }),
        false,
    );
    check(json!({ "cel": "amount > 4 && text.startsWith('h')" }), true);
    check(json!({ "all": [yes, { "cel": "amount > 5" }] }), false);
}

#[test]
fn an_expression_that_fails_never_holds() {
    for condition in [
        json!({ "cel": "missing > 1" }),
        json!({ "not": { "cel": "missing > 1" } }),
        json!({ "any": [{ "cel": "text + 1 == 2" }, { "field": "approved", "operator": "exists" }] }),
        json!({ "cel": "amount" }),
    ] {
        let verdict = judge(condition.clone());
        assert!(!verdict.holds, "{condition}");
        assert!(verdict.error.is_some(), "{condition}");
    }
}

#[test]
fn the_explanation_names_what_was_seen() {
    let verdict = judge(json!({ "all": [
        { "field": "amount", "operator": "greaterThan", "valueField": "rate" },
        { "field": "amount", "operator": "notEquals", "value": 1 },
        { "field": "missing", "operator": "notExists" },
        { "cel": "data.text == 'hello' && !has(data.gone)" },
        { "field": "large", "operator": "exists" },
        { "field": "many", "operator": "exists" },
        { "field": "none", "operator": "exists" },
    ] }));
    assert!(verdict.holds);
    let seen: Vec<(&str, Value)> = verdict
        .seen
        .iter()
        .map(|(p, v)| (p.as_str(), v.clone()))
        .collect();
    assert_eq!(
        seen,
        [
            ("amount", json!(5)),
            ("rate", json!(1.5)),
            ("data.text", json!("hello")),
            ("large", json!("(a text of 300 bytes)")),
            ("many", json!("(a list of 200 items)")),
            ("none", json!(null)),
        ]
    );
    assert_eq!(verdict.missing, ["missing", "data.gone"]);
}

#[test]
fn catches_are_recognised() {
    let check = |condition: Value, want: bool| {
        let parsed = Condition::parse(&condition, "c").unwrap();
        assert_eq!(parsed.names_failure(), want, "{condition}");
    };
    check(
        json!({ "field": "step.status", "operator": "equals", "value": "FAILED" }),
        true,
    );
    check(
        json!({ "field": "step.error.code", "operator": "exists" }),
        true,
    );
    check(
        json!({ "field": "step[\"error\"]", "operator": "exists" }),
        true,
    );
    check(
        json!({ "field": "x", "operator": "equals", "valueField": "step.error.code" }),
        true,
    );
    check(
        json!({ "not": { "all": [{ "field": "step.error", "operator": "exists" }] } }),
        true,
    );
    check(json!({ "cel": "step.error.code == 'X'" }), true);
    check(json!({ "cel": "has(step.error)" }), true);
    check(
        json!({ "cel": "items.exists(step, step.status == 'X')" }),
        false,
    );
    check(
        json!({ "field": "step.output.status", "operator": "exists" }),
        false,
    );
    check(
        json!({ "field": "data.step.status", "operator": "exists" }),
        false,
    );
    check(
        json!({ "field": "status", "operator": "equals", "value": "FAILED" }),
        false,
    );
}
