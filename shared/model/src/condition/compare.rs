//! Equality and order of JSON values. Invariant: values of different kinds are never equal and have no
//! order; numbers compare by value, without rounding.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// Deep equality; 1 equals 1.0.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            order_numbers(left, right) == Some(Ordering::Equal)
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| equal(l, r))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, l)| right.get(key).is_some_and(|r| equal(l, r)))
        }
        _ => left == right,
    }
}

/// The order of two numbers or two texts; nothing else has one.
pub(super) fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => order_numbers(left, right),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

fn order_numbers(left: &Number, right: &Number) -> Option<Ordering> {
    match (integer(left), integer(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        (Some(left), None) => order_mixed(left, right.as_f64()?),
        (None, Some(right)) => order_mixed(right, left.as_f64()?).map(Ordering::reverse),
        (None, None) => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

fn integer(number: &Number) -> Option<i128> {
    number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from))
}

/// Exact, where turning the integer into a double would round it.
fn order_mixed(integer: i128, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    let floor = double.floor();
    // The cast saturates, far beyond every 64-bit integer.
    let by_floor = integer.cmp(&(floor as i128));
    Some(by_floor.then(if floor < double {
        Ordering::Less
    } else {
        Ordering::Equal
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_compare_by_value() {
        let check = |left: Value, right: Value, want: Ordering| {
            assert_eq!(order(&left, &right), Some(want), "{left} {right}");
            assert_eq!(order(&right, &left), Some(want.reverse()), "{right} {left}");
            assert_eq!(equal(&left, &right), want.is_eq(), "{left} {right}");
        };
        check(json!(1), json!(1.0), Ordering::Equal);
        check(json!(0), json!(-0.0), Ordering::Equal);
        check(json!(1), json!(1.5), Ordering::Less);
        check(json!(-1), json!(-1.5), Ordering::Greater);
        check(json!(i64::MIN), json!(u64::MAX), Ordering::Less);
        check(
            json!(9_007_199_254_740_993_i64),
            json!(9_007_199_254_740_992.0),
            Ordering::Greater,
        );
        check(json!(u64::MAX), json!(1e300), Ordering::Less);
        check(json!(i64::MIN), json!(-1e300), Ordering::Greater);
        check(json!(0.1), json!(0.2), Ordering::Less);
        check(
            json!(1e17),
            json!(100_000_000_000_000_000_i64),
            Ordering::Equal,
        );
    }
}
