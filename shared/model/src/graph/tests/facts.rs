//! Conditions and expressions against what the definition tells of the values they read.

use serde_json::{Value, json};

use super::definition;
use super::problems::problems;
use crate::definition::Definition;
use crate::problem::Severity;

/// Ask (approval) -> Sum (transform) -> Work (job) -> End, with one more transition from `from` to End.
fn with(from: &str, condition: Value) -> Definition {
    let steps = json!([
        { "name": "Ask", "stepType": "approval" },
        { "name": "Sum", "stepType": "transform", "config": { "output": {
            "total": "int(data.net) + 1", "text": "'x' + data.y", "big": "data.net > 5", "list": "[1]",
            "size": "size(data.list)", "label": "data.a ? 'a' : 'b'" } } },
        { "name": "Work" },
        { "name": "End", "stepType": "notification" },
    ]);
    let ways = json!([
        { "from": "Ask", "to": "Sum", "isDefault": true },
        { "from": "Sum", "to": "Work", "isDefault": true },
        { "from": "Work", "to": "End", "isDefault": true },
        { "from": from, "to": "End", "condition": condition },
    ]);
    definition(steps, ways)
}

/// The codes, at which end of the condition's path, and the messages.
fn found(from: &str, condition: Value) -> Vec<(&'static str, String, String)> {
    let problems = problems(with(from, condition));
    let all = problems.into_iter().map(|problem| {
        assert_eq!(problem.severity, Severity::Warning, "{problem:?}");
        let (_, path) = problem
            .path
            .split_once("].condition")
            .expect("of the condition");
        (problem.code, path.to_owned(), problem.message)
    });
    all.collect()
}

#[track_caller]
fn check(from: &str, condition: Value, code: &str, path: &str, message: &str) {
    let found = found(from, condition);
    let [(is, at, said)] = &found[..] else {
        panic!("one {code} expected: {found:#?}");
    };
    assert_eq!((*is, at.as_str()), (code, path), "{said}");
    assert!(said.contains(message), "{said}");
}

fn compare(field: &str, operator: &str, value: Value) -> Value {
    json!({ "field": field, "operator": operator, "value": value })
}

#[test]
fn a_type_that_cannot_match_is_told() {
    let never = |from: &str, field: &str, operator: &str, value: Value, message: &str| {
        let condition = compare(field, operator, value);
        check(from, condition, "CONDITION_NEVER_HOLDS", "", message);
    };
    let after = |field: &str, operator: &str, value: Value, message: &str| {
        never("Ask", field, operator, value, message);
    };
    let approved = "`approved` is true or false, compared with a text; write true without quotes";
    after("approved", "equals", json!("true"), approved);
    after(
        "data.approved",
        "equals",
        json!(1),
        "compared with a number",
    );
    after(
        "step.output.approved",
        "in",
        json!(["yes", "no"]),
        "compared with a text",
    );
    after(
        "steps.Ask.output.approved",
        "greaterThan",
        json!(1),
        "compared with a number",
    );
    after(
        "approved",
        "startsWith",
        json!("t"),
        "`startsWith` needs a text",
    );
    after("approved", "matches", json!("t"), "needs a text");
    after(
        "approved",
        "contains",
        json!(true),
        "needs a text or a list",
    );
    after(
        "comment",
        "contains",
        json!(true),
        "is a text, compared with true or false",
    );
    let instant = json!("2030-01-01T00:00:00Z");
    after("approved", "before", instant, "`before` needs a text");
}

#[test]
fn what_may_match_is_not_complained_of() {
    let check = |from: &str, condition: Value| assert_eq!(found(from, condition), []);
    for (field, operator, value) in [
        ("approved", "equals", json!(true)),
        ("approved", "in", json!(["yes", false])),
        ("comment", "contains", json!("fine")),
        ("timestamp", "after", json!("2030-01-01T00:00:00Z")),
        ("steps.Ask.output.approver", "notEquals", json!("a@b")),
        ("amount", "greaterThan", json!("abc")),
        ("step.name", "equals", json!("Ask")),
        ("execution.version", "greaterThan", json!(1)),
    ] {
        check("Ask", compare(field, operator, value));
    }
    // What a worker answers is not known, and an approval's output may be overlaid by it.
    check("Work", compare("approved", "equals", json!("true")));
    check("Work", compare("step.output.anything", "equals", json!(1)));
    check("Sum", compare("text", "equals", json!(1)));
    check("Sum", compare("label", "equals", json!("a")));
    check(
        "Work",
        compare("step.error.code", "equals", json!("TIMEOUT")),
    );
    check("Work", compare("step.status", "equals", json!("FAILED")));
    check(
        "Ask",
        json!({ "cel": "has(steps.Ask.output.comment) && data.approved" }),
    );
    // One that may be skipped sets nothing for sure.
    let mut optional = with("Ask", compare("approved", "equals", json!("true")));
    optional.steps[0].is_required = false;
    assert_eq!(problems(optional), []);
}

#[test]
fn results_of_expressions_have_types() {
    let never = |field: &str, value: Value| {
        let condition = compare(field, "equals", value);
        check(
            "Sum",
            condition,
            "CONDITION_NEVER_HOLDS",
            "",
            "compared with",
        );
    };
    never("big", json!("true"));
    never("list", json!("1"));
    never("size", json!("1"));
    never("label", json!(true));
    never("steps.Sum.output.big", json!(0));
    let empty = json!({ "field": "size", "operator": "isEmpty" });
    check("Sum", empty, "CONDITION_NEVER_HOLDS", "", "never empty");
    let null = json!({ "field": "size", "operator": "isNull" });
    check("Sum", null, "CONDITION_NEVER_HOLDS", "", "never null");
    let among = json!({ "field": "x", "operator": "in", "valueField": "size" });
    check("Sum", among, "CONDITION_NEVER_HOLDS", "", "not a list");
    let sides = json!({ "field": "size", "operator": "lessThan", "valueField": "label" });
    check(
        "Sum",
        sides,
        "CONDITION_NEVER_HOLDS",
        "",
        "is a number, compared with a text",
    );
}

#[test]
fn what_is_never_there_is_told() {
    let missing = |from: &str, field: &str, message: &str| {
        let condition = compare(field, "equals", json!(1));
        check(from, condition, "ALWAYS_MISSING", ".field", message);
    };
    missing(
        "Ask",
        "steps.Ask.output.aproved",
        "Did you mean `approved`?",
    );
    missing("Ask", "steps.Ask.status", "is its `output`");
    missing(
        "Ask",
        "steps.End.output.x",
        "\"End\" is a notification, which has no output",
    );
    missing("Sum", "step.output.totl", "Did you mean `total`?");
    missing("Sum", "size.x", "`size` is a number, with nothing in it");
    missing("Ask", "step.result", "name, status, output and error");
    missing(
        "Ask",
        "execution.state",
        "id, workflowId, version, startedAt",
    );
    missing("Ask", "client.name", "client has id");
    let right = json!({ "field": "a", "operator": "equals", "valueField": "steps.Ask.output.x" });
    check(
        "Ask",
        right,
        "ALWAYS_MISSING",
        ".valueField",
        "approved, approver",
    );
    let cel =
        json!({ "any": [{ "cel": "steps.Ask.output.x == 1" }, compare("a", "equals", json!(1))] });
    check(
        "Ask",
        cel,
        "ALWAYS_MISSING",
        ".any[0].cel",
        "approved, approver",
    );
    // Naming the status makes it a catch, and a failed step has no output.
    let catch = json!({ "all": [
        compare("step.status", "equals", json!("FAILED")),
        compare("step.output.approved", "equals", json!(true)),
    ] });
    check(
        "Ask",
        catch,
        "ALWAYS_MISSING",
        ".all[1].field",
        "judged after a failure",
    );
}

#[test]
fn values_that_nothing_satisfies_are_told_wherever_they_stand() {
    let never = "CONDITION_NEVER_HOLDS";
    check(
        "Work",
        compare("a", "in", json!([])),
        never,
        "",
        "the list is empty",
    );
    let nothing = compare("a", "notIn", json!([]));
    check(
        "Work",
        nothing,
        "CONDITION_ALWAYS_HOLDS",
        "",
        "whatever the value is",
    );
    let words = compare("step.status", "equals", json!("COMPLETED"));
    check("Work", words, never, "", "`step.status` is FAILED there");
    let not = json!({ "not": compare("step.status", "in", json!(["DONE"])) });
    check("Work", not, never, ".not", "FAILED");
    let text = json!({ "all": [compare("amount", "greaterThan", json!("100"))] });
    check(
        "Work",
        text,
        "NUMBER_AS_TEXT",
        ".all[0].value",
        "write 100 without quotes",
    );
}

#[test]
fn configs_know_no_finished_step() {
    let steps = json!([{ "name": "A", "stepType": "transform", "config": { "output": {
        "x": "step.output.y" } } }]);
    let [problem] = &problems(definition(steps, json!([])))[..] else {
        panic!("one");
    };
    assert_eq!(problem.code, "ALWAYS_MISSING");
    assert_eq!(problem.path, r#"steps["A"].config.output.x"#);
}
