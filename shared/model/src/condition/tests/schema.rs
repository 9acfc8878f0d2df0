//! The schema of conditions against what parses.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use crate::condition::operator::OPERATORS;
use crate::condition::{Condition, schema};

fn some(values: &[Value]) -> impl Strategy<Value = Value> + use<> {
    proptest::sample::select(values.to_vec())
}

/// One comparison, now and then with a key too many or too few.
fn comparison() -> impl Strategy<Value = Value> {
    let words: Vec<&str> = OPERATORS.iter().map(|operator| operator.word).collect();
    let field = || prop::option::weighted(0.97, some(&[json!("a"), json!("b.c[0]"), json!(1)]));
    let operator = prop_oneof![
        20 => proptest::sample::select(words).prop_map(Value::from),
        1 => some(&[json!("like"), json!(1)]),
    ];
    let value = some(&[
        json!(1),
        json!("x"),
        json!("2030-01-31T09:00:00Z"),
        json!(null),
        json!(true),
        json!([]),
        json!([1, "a"]),
        json!({}),
    ]);
    let right = prop_oneof![
        6 => value.prop_map(|value| Some(("value", value))),
        2 => Just(Some(("valueField", json!("d")))),
        2 => Just(None),
    ];
    let other = prop::option::weighted(0.05, Just(("colour", json!("red"))));
    (field(), operator, right, other).prop_map(|(field, operator, right, other)| {
        let given = [
            field.map(|field| ("field", field)),
            Some(("operator", operator)),
            right,
            other,
        ];
        let fields = given.into_iter().flatten();
        Value::Object(fields.map(|(key, value)| (key.to_owned(), value)).collect())
    })
}

fn condition() -> impl Strategy<Value = Value> {
    let cel = some(&[
        json!({ "cel": "data.a > 1" }),
        json!({ "cel": 1 }),
        json!({}),
        json!(true),
    ]);
    let leaf = prop_oneof![8 => comparison(), 1 => cel];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..3);
        let word = proptest::sample::select(vec!["all", "any"]);
        prop_oneof![
            (word, list).prop_map(|(word, list)| json!({ word: list })),
            inner.clone().prop_map(|inner| json!({ "not": inner })),
            inner
                .clone()
                .prop_map(|inner| json!({ "not": inner, "all": [] })),
            inner,
        ]
    })
}

#[test]
fn a_schema_accepts_what_parses() {
    let mut root = Map::from_iter([("$ref".to_owned(), json!("#/$defs/condition"))]);
    root.insert(
        "$defs".to_owned(),
        json!({ "condition": schema("#/$defs/condition") }),
    );
    let root = Value::Object(root);
    jsonschema::meta::validate(&root).expect("a schema");
    let options = jsonschema::options();
    let validator = options
        .should_validate_formats(true)
        .build(&root)
        .expect("a schema");
    let mut seen = [0, 0];
    let mut runner = TestRunner::default();
    let strategy = condition();
    for _ in 0..512 {
        let condition = strategy.new_tree(&mut runner).expect("generated").current();
        let parsed = Condition::parse(&condition, "c");
        assert_eq!(
            validator.is_valid(&condition),
            parsed.is_ok(),
            "{condition}: {parsed:?}"
        );
        seen[usize::from(parsed.is_ok())] += 1;
    }
    assert!(seen[0] > 10 && seen[1] > 10, "{seen:?}");
}
