//! Free-form JSON <-> `google.protobuf.Struct`. Invariant: numbers keep their value; depth stays within
//! what every client can decode.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct};
use serde_json::{Map, Number, Value};

use crate::json::{INPUT, MAX_EXACT_INTEGER};

/// Reads a Struct; whole numbers up to 2^53 become integers.
pub fn json_from_struct(object: &Struct) -> Result<Map<String, Value>, String> {
    object_from(object, 0)
}

/// Reads a list, as [`json_from_struct`] does.
pub fn json_from_list(list: &ListValue) -> Result<Vec<Value>, String> {
    list_from(list, 0)
}

/// Writes a Struct. Integers beyond 2^53 lose digits here: [`json::check`](crate::json::check) refuses
/// them on the way in.
pub fn struct_from_json(object: &Map<String, Value>) -> Struct {
    let fields = object
        .iter()
        .map(|(key, value)| (key.clone(), value_from_json(value)))
        .collect();
    Struct { fields }
}

fn object_from(object: &Struct, depth: usize) -> Result<Map<String, Value>, String> {
    let depth = deeper(depth)?;
    object
        .fields
        .iter()
        .map(|(key, value)| Ok((key.clone(), value_from(value, depth)?)))
        .collect()
}

fn list_from(list: &ListValue, depth: usize) -> Result<Vec<Value>, String> {
    let depth = deeper(depth)?;
    list.values
        .iter()
        .map(|value| value_from(value, depth))
        .collect()
}

fn value_from(value: &prost_types::Value, depth: usize) -> Result<Value, String> {
    Ok(match &value.kind {
        // An absent kind is what a client sends that forgot to set one.
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(*flag),
        Some(Kind::NumberValue(number)) => Value::Number(number_from(*number)?),
        Some(Kind::StringValue(text)) => Value::String(text.clone()),
        Some(Kind::ListValue(list)) => Value::Array(list_from(list, depth)?),
        Some(Kind::StructValue(object)) => Value::Object(object_from(object, depth)?),
    })
}

fn deeper(depth: usize) -> Result<usize, String> {
    if depth == INPUT.depth {
        return Err(format!(
            "must not be nested more than {} levels deep",
            INPUT.depth
        ));
    }
    Ok(depth + 1)
}

fn number_from(number: f64) -> Result<Number, String> {
    if number.fract() == 0.0 && number.abs() <= MAX_EXACT_INTEGER as f64 {
        return Ok(Number::from(number as i64));
    }
    Number::from_f64(number).ok_or_else(|| "must contain finite numbers only".to_owned())
}

/// Any JSON as a protobuf value.
pub fn value_from_json(value: &Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::Number(number) => Kind::NumberValue(
            number
                .as_f64()
                .expect("without arbitrary precision every JSON number has a double"),
        ),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => Kind::ListValue(ListValue {
            values: items.iter().map(value_from_json).collect(),
        }),
        Value::Object(fields) => Kind::StructValue(struct_from_json(fields)),
    };
    prost_types::Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;
    use proto::execution::v1 as pb;
    use serde_json::json;

    use super::*;

    fn nested(depth: usize) -> Map<String, Value> {
        let leaf = Map::from_iter([("a".to_owned(), json!(1))]);
        (1..depth).fold(leaf, |inner, _| {
            Map::from_iter([("a".to_owned(), Value::Object(inner))])
        })
    }

    fn number(number: f64) -> Struct {
        let value = prost_types::Value {
            kind: Some(Kind::NumberValue(number)),
        };
        Struct {
            fields: [("n".to_owned(), value)].into(),
        }
    }

    #[test]
    fn numbers_keep_their_value() {
        let check = |double: f64, want: Value| {
            let read = json_from_struct(&number(double)).unwrap();
            assert_eq!(read["n"], want, "{double}");
            assert_eq!(struct_from_json(&read), number(double), "{double}");
        };
        check(5.0, json!(5));
        check(-5.0, json!(-5));
        check(0.1 + 0.2, json!(0.300_000_000_000_000_04));
        check(9_007_199_254_740_992.0, json!(9_007_199_254_740_992_i64));
        check(9_007_199_254_740_994.0, json!(9_007_199_254_740_994.0));
        check(1e308, json!(1e308));
        check(5e-324, json!(5e-324));
        check(-0.0, json!(0));
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        for double in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let error = json_from_struct(&number(double)).unwrap_err();
            assert!(error.contains("finite"), "{error}");
        }
    }

    #[test]
    fn the_deepest_document_passes_every_decoder() {
        let deepest = nested(32);
        let answer = pb::ListExecutionsResponse {
            executions: vec![pb::Execution {
                metadata: Some(struct_from_json(&deepest)),
                ..Default::default()
            }],
            ..Default::default()
        };
        let read = pb::ListExecutionsResponse::decode(&answer.encode_to_vec()[..]).unwrap();
        let metadata = read.executions[0].metadata.as_ref().unwrap();
        assert_eq!(json_from_struct(metadata).unwrap(), deepest);
        assert!(json_from_struct(&struct_from_json(&nested(33))).is_err());
    }

    #[test]
    fn a_missing_kind_is_null() {
        let object = Struct {
            fields: [("n".to_owned(), prost_types::Value { kind: None })].into(),
        };
        assert_eq!(json_from_struct(&object).unwrap()["n"], Value::Null);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-9_007_199_254_740_992_i64..=9_007_199_254_740_992).prop_map(Value::from),
            any::<f64>()
                .prop_filter("the rest are integers", |f| f.is_finite()
                    && f.fract() != 0.0)
                .prop_map(Value::from),
            "\\PC{0,10}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 50, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("\\PC{0,5}", inner, 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn documents_come_back(value in any_json()) {
            let object = Map::from_iter([("a".to_owned(), value)]);
            let encoded = struct_from_json(&object).encode_to_vec();
            let decoded = Struct::decode(&encoded[..]).unwrap();
            prop_assert_eq!(json_from_struct(&decoded).unwrap(), object.clone());
            // And through the text that the database keeps.
            let text = serde_json::to_string(&object).unwrap();
            prop_assert_eq!(serde_json::from_str::<Map<String, Value>>(&text).unwrap(), object);
        }
    }
}
