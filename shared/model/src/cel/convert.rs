//! JSON <-> CEL values. Invariant: only what an expression reads is converted, and texts are borrowed,
//! never copied.

use std::collections::HashMap;

use ::cel::ExecutionError;
use ::cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString,
};
use ::cel::common::value::Val;
use ::cel::objects::{Key, Value as Outcome};
use chrono::{SecondsFormat, Utc};
use serde_json::{Map, Value};

use super::analyse::{Shape, Use};
use crate::json::MAX_EXACT_INTEGER;
use crate::scope::{Root, Scope};

type Boxed<'v> = Box<dyn Val + 'v>;

/// The value of a variable, as far as the expression reads it; None if the data has no such field.
pub(super) fn used<'v>(used: &Use, scope: &Scope<'v>) -> Option<Boxed<'v>> {
    Some(match Root::parse(&used.name) {
        Some(Root::Data) => data(scope, &used.shape),
        Some(Root::Steps) => object(scope.steps, &used.shape),
        Some(Root::Step) => value(scope.step, &used.shape),
        Some(Root::Execution) => value(scope.execution, &used.shape),
        Some(Root::Client) => value(scope.client, &used.shape),
        None => value(scope.field(&used.name)?, &used.shape),
    })
}

fn data<'v>(scope: &Scope<'v>, shape: &Shape) -> Boxed<'v> {
    let Some(item) = scope.item else {
        return object(scope.data, shape);
    };
    let mut fields: HashMap<CelMapKey<'v>, Boxed<'v>> = HashMap::new();
    for (key, field) in scope.data.iter().chain(item) {
        let shape = match shape {
            Shape::Whole => Some(shape),
            Shape::Parts(parts) => parts.get(key),
        };
        if let Some(shape) = shape {
            fields.insert(CelMapKey::from(key.as_str()), value(field, shape));
        }
    }
    Box::new(CelMap::from(fields))
}

fn value<'v>(json: &'v Value, shape: &Shape) -> Boxed<'v> {
    match json {
        Value::Null => Box::new(CelNull),
        Value::Bool(flag) => Box::new(CelBool::from(*flag)),
        // Integers are ints even where they are not negative: int and uint do not add up in CEL.
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Box::new(CelInt::from(integer)),
            None => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Array(items) => {
            let items: Vec<Boxed<'v>> = items
                .iter()
                .map(|item| value(item, &Shape::Whole))
                .collect();
            Box::new(CelList::from(items))
        }
        Value::Object(fields) => object(fields, shape),
    }
}

fn object<'v>(fields: &'v Map<String, Value>, shape: &Shape) -> Boxed<'v> {
    let fields: HashMap<CelMapKey<'v>, Boxed<'v>> = match shape {
        Shape::Whole => fields
            .iter()
            .map(|(key, field)| (CelMapKey::from(key.as_str()), value(field, shape)))
            .collect(),
        Shape::Parts(parts) => parts
            .iter()
            .filter_map(|(name, part)| {
                let (key, field) = fields.get_key_value(name)?;
                Some((CelMapKey::from(key.as_str()), value(field, part)))
            })
            .collect(),
    };
    Box::new(CelMap::from(fields))
}

/// An expression's result as JSON, or why it is none.
pub(super) fn to_json(value: &Outcome) -> Result<Value, String> {
    match value {
        Outcome::Null => Ok(Value::Null),
        Outcome::Bool(flag) => Ok(Value::Bool(*flag)),
        Outcome::Int(integer) => exact(*integer, integer.unsigned_abs()),
        Outcome::UInt(integer) => exact(*integer, *integer),
        Outcome::Float(double) => serde_json::Number::from_f64(*double)
            .map(Value::Number)
            .ok_or_else(|| format!("the result {double} is no finite number")),
        Outcome::String(text) => Ok(Value::String(text.to_string())),
        Outcome::List(items) => items.iter().map(to_json).collect(),
        Outcome::Map(fields) => {
            // In order, so that of several unfit fields always the same one is named.
            let mut fields: Vec<(&Key, &Outcome)> = fields.map.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            fields.into_iter().map(field_to_json).collect()
        }
        Outcome::Timestamp(instant) => {
            let instant = instant.with_timezone(&Utc);
            Ok(Value::String(
                instant.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            ))
        }
        other => Err(format!(
            "the result must be plain JSON, not a {}: turn it into text with `string(…)`",
            other.type_of()
        )),
    }
}

fn field_to_json((key, value): (&Key, &Outcome)) -> Result<(String, Value), String> {
    match key {
        Key::String(name) => Ok((name.to_string(), to_json(value)?)),
        _ => Err("the result must have texts as keys".to_owned()),
    }
}

/// Beyond 2^53 the number would change on its way to clients.
fn exact(integer: impl Into<Value> + std::fmt::Display, magnitude: u64) -> Result<Value, String> {
    if magnitude > MAX_EXACT_INTEGER {
        return Err(format!(
            "the result {integer} is beyond 2^53: turn it into text with `string(…)`"
        ));
    }
    Ok(integer.into())
}

/// An evaluation error in words that name types, not values: those can be large, are printed in random
/// order, and may be nobody's business.
pub(super) fn explain(error: &ExecutionError) -> String {
    let text = match error {
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
            format!(
                "`{operator}` does not apply to {} and {}",
                left.type_of(),
                right.type_of()
            )
        }
        ExecutionError::ValuesNotComparable(left, right) => {
            format!(
                "{} and {} cannot be compared",
                left.type_of(),
                right.type_of()
            )
        }
        ExecutionError::UnsupportedIndex(index, value) => {
            format!(
                "a {} has no index of type {}",
                value.type_of(),
                index.type_of()
            )
        }
        ExecutionError::UnsupportedKeyType(key) => format!("a {} cannot be a key", key.type_of()),
        ExecutionError::UnsupportedTargetType { target } => {
            format!("not applicable to a {}", target.type_of())
        }
        ExecutionError::NotSupportedAsMethod { method, target } => {
            format!("a {} has no method `{method}`", target.type_of())
        }
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "remainder by zero".to_owned(),
        ExecutionError::Overflow(operator, ..) => format!("`{operator}` overflows"),
        other => other.to_string(),
    };
    crate::text::clean(&text, 300)
}
