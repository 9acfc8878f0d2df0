//! Judges conditions. Invariant: documents are borrowed; only small values are copied, for the
//! explanation.

use std::cmp::Ordering;

use serde_json::Value;

use super::operator::Test;
use super::{Comparison, Node, Operand, Verdict, compare};
use crate::scope::{Path, Scope};

/// Operands that an explanation keeps; more would hide what matters.
const MOST_SEEN: usize = 50;
/// Bytes of JSON up to which a value is kept as it is.
const LARGEST_SEEN: usize = 256;

/// Err carries why an expression could not be evaluated, which decides the whole condition: `not` must
/// not turn an error into a yes.
pub(super) fn node(node: &Node, scope: &Scope<'_>, verdict: &mut Verdict) -> Result<bool, String> {
    match node {
        Node::Compare(comparison) => Ok(holds(comparison, scope, verdict)),
        Node::All(nodes) => {
            for inner in nodes {
                if !self::node(inner, scope, verdict)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Node::Any(nodes) => {
            for inner in nodes {
                if self::node(inner, scope, verdict)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Node::Not(inner) => self::node(inner, scope, verdict).map(|holds| !holds),
        Node::Cel(expression) => {
            for path in expression.paths() {
                look_up(path, scope, verdict);
            }
            match expression.evaluate(scope)? {
                Value::Bool(holds) => Ok(holds),
                other => Err(format!(
                    "the expression must be true or false, but is {}",
                    excerpt(&other)
                )),
            }
        }
    }
}

fn holds(comparison: &Comparison, scope: &Scope<'_>, verdict: &mut Verdict) -> bool {
    let left = look_up(&comparison.field, scope, verdict);
    let passed = match &comparison.operand {
        Operand::Nothing => left.is_some_and(|left| passes_alone(comparison.test, left)),
        Operand::Value(right) => left.is_some_and(|left| passes(comparison.test, left, right)),
        Operand::Field(path) => {
            let right = look_up(path, scope, verdict);
            left.zip(right)
                .is_some_and(|(left, right)| passes(comparison.test, left, right))
        }
        Operand::Pattern(regex) => left
            .and_then(Value::as_str)
            .is_some_and(|text| regex.is_match(text)),
        Operand::Instant(right) => left
            .and_then(instant)
            .is_some_and(|left| in_order(comparison.test, left.cmp(right))),
    };
    passed != comparison.negated
}

fn passes_alone(test: Test, value: &Value) -> bool {
    match test {
        Test::IsNull => value.is_null(),
        Test::IsEmpty => match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        },
        // `exists`: there it is.
        _ => true,
    }
}

fn passes(test: Test, left: &Value, right: &Value) -> bool {
    match test {
        Test::Equals => compare::equal(left, right),
        Test::Contains => contains(left, right),
        Test::In => right
            .as_array()
            .is_some_and(|items| items.iter().any(|item| compare::equal(left, item))),
        Test::StartsWith | Test::EndsWith => match (left, right) {
            (Value::String(left), Value::String(right)) if test == Test::StartsWith => {
                left.starts_with(right.as_str())
            }
            (Value::String(left), Value::String(right)) => left.ends_with(right.as_str()),
            _ => false,
        },
        Test::Before | Test::After => instant(left)
            .zip(instant(right))
            .is_some_and(|(left, right)| in_order(test, left.cmp(&right))),
        _ => compare::order(left, right).is_some_and(|order| in_order(test, order)),
    }
}

fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::String(whole), Value::String(part)) => whole.contains(part.as_str()),
        (Value::Array(items), part) => items.iter().any(|item| compare::equal(item, part)),
        _ => false,
    }
}

fn in_order(test: Test, order: Ordering) -> bool {
    match test {
        Test::GreaterThan | Test::After => order.is_gt(),
        Test::GreaterThanOrEqual => order.is_ge(),
        Test::LessThan | Test::Before => order.is_lt(),
        Test::LessThanOrEqual => order.is_le(),
        _ => false,
    }
}

fn instant(value: &Value) -> Option<chrono::DateTime<chrono::Utc>> {
    crate::instant::parse(value.as_str()?).ok()
}

fn look_up<'s>(path: &Path, scope: &Scope<'s>, verdict: &mut Verdict) -> Option<&'s Value> {
    let value = path.resolve(scope);
    let name = path.as_str();
    match value {
        Some(value) => {
            let is_new = verdict.seen.iter().all(|(seen, _)| seen != name);
            if is_new && verdict.seen.len() < MOST_SEEN {
                verdict.seen.push((name.to_owned(), excerpt(value)));
            }
        }
        None => {
            let is_new = verdict.missing.iter().all(|missing| missing != name);
            if is_new && verdict.missing.len() < MOST_SEEN {
                verdict.missing.push(name.to_owned());
            }
        }
    }
    value
}

/// The value if it is small, otherwise a text that says what it is.
fn excerpt(value: &Value) -> Value {
    let small = crate::json::Limit {
        bytes: LARGEST_SEEN,
        depth: usize::MAX,
    };
    if crate::json::check(value, small).is_ok() {
        return value.clone();
    }
    Value::String(match value {
        Value::String(text) => format!("(a text of {} bytes)", text.len()),
        Value::Array(items) => format!("(a list of {} items)", items.len()),
        Value::Object(fields) => format!("(an object of {} fields)", fields.len()),
        scalar => scalar.to_string(),
    })
}
