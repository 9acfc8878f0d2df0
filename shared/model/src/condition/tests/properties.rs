//! What holds for every condition.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::in_scope;
use crate::condition::Condition;

fn any_json() -> impl Strategy<Value = Value> {
    let words =
        "field|operator|value|valueField|all|any|not|cel|equals|in|matches|exists|before|a|step";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,5}".prop_map(Value::from),
        words.prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(words, inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn any_condition() -> impl Strategy<Value = Value> {
    let field = "a|b|c|step\\.status";
    let value = prop_oneof![
        Just(json!(1)),
        Just(json!("1")),
        Just(json!(null)),
        Just(json!([1]))
    ];
    let leaf = prop_oneof![
        (field, "equals|notEquals|contains|notContains", value).prop_map(
            |(field, op, value)| json!({ "field": field, "operator": op, "value": value })
        ),
        (field, "exists|notExists|isNull|isEmpty")
            .prop_map(|(field, op)| json!({ "field": field, "operator": op })),
        "a == 1|b|has\\(data\\.c\\)".prop_map(|source| json!({ "cel": source })),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|all| json!({ "all": all })),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|any| json!({ "any": any })),
            inner.prop_map(|not| json!({ "not": not })),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn no_json_panics(source in any_json()) {
        let _ = Condition::parse(&source, "c");
    }

    #[test]
    fn negating_twice_changes_nothing(
        source in any_condition(),
        data in prop::collection::btree_map("a|b|c", any_json(), 0..4),
    ) {
        let data: Map<String, Value> = data.into_iter().collect();
        let twice = json!({ "not": { "not": source } });
        let (once, twice) = (
            Condition::parse(&source, "c").unwrap(),
            Condition::parse(&twice, "c").unwrap(),
        );
        in_scope(data, |scope| {
            let verdict = once.evaluate(scope);
            prop_assert_eq!(&verdict, &twice.evaluate(scope));
            prop_assert!(!verdict.holds || verdict.error.is_none());
            Ok(())
        })?;
        prop_assert_eq!(once.names_failure(), twice.names_failure());
    }
}
