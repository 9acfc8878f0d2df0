//! Conditions as JSON Schema. Invariant: what it refuses, parsing refuses too; the syntax of paths, of CEL
//! and of regular expressions, and how deep a condition may be nested, a schema cannot say.

use serde_json::{Value, json};

use super::operator::{OPERATORS, Test};

/// The schema of a condition, which refers to itself at `here` (`#/$defs/condition`).
pub fn schema(here: &str) -> Value {
    let inner = json!({ "$ref": here });
    let list = json!({ "type": "array", "minItems": 1, "items": inner });
    let path = json!({
        "type": "string", "minLength": 1, "maxLength": 1000,
        "description": "A field of the data, or a path: `items[0].price`, `steps[\"Check\"].output.ok`, \
                        `step.status`.",
    });
    let words = |belongs: &dyn Fn(Test) -> bool| -> Vec<&str> {
        let chosen = OPERATORS.iter().filter(|operator| belongs(operator.test));
        chosen.map(|operator| operator.word).collect()
    };
    let form = |properties: Value, required: &[&str]| {
        json!({
            "type": "object", "properties": properties, "required": required,
            "additionalProperties": false,
        })
    };
    let comparison = |belongs: &dyn Fn(Test) -> bool, value: Value| {
        let properties =
            json!({ "field": path, "operator": { "enum": words(belongs) }, "value": value });
        form(properties, &["field", "operator", "value"])
    };
    let alone = |test| matches!(test, Test::Exists | Test::IsNull | Test::IsEmpty);
    let ordering = |test| {
        matches!(
            test,
            Test::GreaterThan | Test::GreaterThanOrEqual | Test::LessThan | Test::LessThanOrEqual
        )
    };
    let of_texts = |test| matches!(test, Test::StartsWith | Test::EndsWith | Test::Matches);
    let of_time = |test| matches!(test, Test::Before | Test::After);
    json!({
        "description": "When a transition is taken; absent: always.",
        "anyOf": [
            comparison(&|test| matches!(test, Test::Equals | Test::Contains), json!({})),
            comparison(&|test| test == Test::In, json!({ "type": "array" })),
            comparison(&ordering, json!({ "type": ["number", "string"] })),
            comparison(&of_texts, json!({ "type": "string" })),
            comparison(&of_time, json!({ "type": "string", "format": "date-time" })),
            form(json!({ "field": path, "operator": { "enum": words(&alone) } }), &["field", "operator"]),
            form(
                json!({
                    "field": path,
                    "operator": { "enum": words(&|test| !alone(test) && test != Test::Matches) },
                    "valueField": path,
                }),
                &["field", "operator", "valueField"],
            ),
            form(json!({ "all": list }), &["all"]),
            form(json!({ "any": list }), &["any"]),
            form(json!({ "not": inner }), &["not"]),
            form(
                json!({ "cel": { "type": "string", "minLength": 1, "maxLength": 2048 } }),
                &["cel"],
            ),
        ],
    })
}
