//! Steps that other steps name: what undoes them, what they do for items, what they cancel and lock.

use serde_json::{Value, json};

use super::definition;
use super::problems::{error, problems, warning};

#[test]
fn compensations() {
    let steps = |undo: &str, other: &str, config: Value| {
        json!([
            { "name": "Book", "config": { "compensate": undo } },
            { "name": "Pay" },
            { "name": "Undo", "stepType": other, "config": config },
        ])
    };
    let ways = json!([{ "from": "Book", "to": "Pay" }]);
    // With transitions or without any, it stands apart.
    for ways in [ways.clone(), json!([])] {
        for undo in ["Undo", "undo"] {
            let fine = definition(steps(undo, "undo", json!({})), ways.clone());
            assert_eq!(problems(fine), []);
        }
    }
    let path = r#"steps["Book"].config.compensate"#;
    error(
        definition(
            json!([{ "name": "Book", "config": { "compensate": "Undoo" } }, { "name": "Undo" }]),
            json!([]),
        ),
        path,
        "COMPENSATION_UNKNOWN",
        "Did you mean",
    );
    let two = json!([{ "name": "Book", "config": { "compensate": "Pay" } }, { "name": "Pay" }]);
    error(
        definition(two, ways.clone()),
        r#"steps["Pay"]"#,
        "COMPENSATION_INVALID",
        "stands apart",
    );
    let undo = r#"steps["Undo"]"#;
    let join = definition(steps("Undo", "parallel", json!({})), ways.clone());
    error(join, undo, "COMPENSATION_INVALID", "must do work");
    let itself = definition(
        json!([{ "name": "Book", "config": { "compensate": "Book" } }]),
        json!([]),
    );
    error(itself, path, "COMPENSATION_INVALID", "cannot undo itself");
}

#[test]
fn steps_for_items() {
    let steps = |config: Value, body: (&str, Value)| {
        json!([
            { "name": "Each", "stepType": "foreach", "config": config },
            { "name": "After" },
            { "name": "Do", "stepType": body.0, "config": body.1 },
        ])
    };
    let ways = json!([{ "from": "Each", "to": "After" }]);
    let work = || ("work", json!({}));
    let each = |config: Value| definition(steps(config, work()), ways.clone());
    for ways in [ways.clone(), json!([])] {
        for word in ["Do", "do"] {
            let config = json!({ "items": "orders", "step": word });
            assert_eq!(
                problems(definition(steps(config, work()), ways.clone())),
                []
            );
        }
    }
    let config = |key: &str| format!(r#"steps["Each"].config.{key}"#);
    let missing = "CONFIG_MISSING";
    let alone = |config: Value| {
        let each = json!({ "name": "Each", "stepType": "foreach", "config": config });
        definition(json!([each, { "name": "After" }]), ways.clone())
    };
    error(
        alone(json!({ "step": "Do" })),
        &config("items"),
        missing,
        "`count`",
    );
    error(
        alone(json!({ "count": 2 })),
        &config("step"),
        missing,
        "must name the step",
    );
    let unknown = alone(json!({ "count": 2, "step": "Afterr" }));
    error(
        unknown,
        &config("step"),
        "FOREACH_STEP_UNKNOWN",
        "Did you mean",
    );
    let both = each(json!({ "count": 2, "items": "x", "step": "Do" }));
    error(both, &config("count"), "CONFIG_INVALID", "only one");
    let until = each(json!({ "count": 2, "step": "Do", "until": "1 +" }));
    error(until, &config("until"), "CEL_INVALID", "");

    let invalid = "FOREACH_STEP_INVALID";
    let itself = alone(json!({ "count": 2, "step": "Each" }));
    error(itself, &config("step"), invalid, "each item of itself");
    let after = alone(json!({ "count": 2, "step": "After" }));
    error(after, r#"steps["After"]"#, invalid, "stands apart");
    let both = json!({ "count": 2, "step": "Do", "compensate": "Do" });
    error(each(both), r#"steps["Do"]"#, invalid, "neither undoes");
    let fork = ("parallel", json!({}));
    let fork = definition(
        steps(json!({ "count": 2, "step": "Do" }), fork),
        ways.clone(),
    );
    error(fork, r#"steps["Do"]"#, invalid, "must do work");
}

#[test]
fn loops_rest_while_items_do() {
    let round = |config: Value, body: &str, settings: Value| {
        let steps = json!([
            { "name": "Each", "stepType": "foreach", "config": config },
            { "name": "Do", "stepType": body, "config": settings },
        ]);
        let ways = json!([
            { "from": "Each", "to": "Each", "condition": { "field": "again", "operator": "exists" } },
        ]);
        definition(steps, ways)
    };
    let each = r#"steps["Each"]"#;
    let three = || json!({ "count": 3, "step": "Do" });
    assert_eq!(problems(round(three(), "work", json!({}))), []);
    let output = json!({ "output": { "x": "1" } });
    error(
        round(three(), "transform", output),
        each,
        "BUSY_LOOP",
        "never rest",
    );
    let listed = json!({ "items": "orders", "step": "Do" });
    warning(round(listed, "work", json!({})), each, "LOOP_MAY_SPIN", "");
}

#[test]
fn regions_and_locks() {
    let one = |config: Value| {
        let steps = json!([{ "name": "A", "config": config }, { "name": "B" }]);
        definition(steps, json!([{ "from": "A", "to": "B" }]))
    };
    assert_eq!(
        problems(one(
            json!({ "cancels": ["B", "b"], "lock": { "name": "x" } })
        )),
        []
    );
    let config = |key: &str| format!(r#"steps["A"].config.{key}"#);
    let unknown = one(json!({ "cancels": ["B", "Bee"] }));
    error(unknown, &config("cancels[1]"), "CANCELS_UNKNOWN", "no step");
    let itself = one(json!({ "cancels": ["A"] }));
    error(
        itself,
        &config("cancels[0]"),
        "CANCELS_INVALID",
        "left anyway",
    );
    error(
        one(json!({ "lock": {} })),
        &config("lock.name"),
        "CONFIG_MISSING",
        "name the lock",
    );
    let decision = definition(
        json!([{ "name": "A", "stepType": "decision", "config": { "lock": { "name": "x" } } }]),
        json!([]),
    );
    error(decision, &config("lock"), "LOCK_INVALID", "does work");
    let held = |lock: &str| {
        let each = json!({ "count": 2, "step": "Do", "lock": { "name": "x" } });
        let steps = json!([
            { "name": "Each", "stepType": "foreach", "config": each },
            { "name": "Do", "config": { "lock": { "name": lock } } },
        ]);
        definition(steps, json!([]))
    };
    assert_eq!(problems(held("y")), []);
    let path = r#"steps["Each"].config.lock"#;
    error(held("x"), path, "LOCK_INVALID", "this one holds");
}
