//! Holds a report against what it should say. Invariant: nothing is passed over: a key that only one of the two
//! has is a difference as well.

use serde_json::{Map, Value};

/// What percentiles may differ by, beside half a microsecond for rounding.
const RELATIVE: f64 = 0.010_000_001;
const MILLIS: f64 = 0.000_5;
/// What the report of an execution keeps for its own going on.
const UNTOLD: &[&str] = &["timeBuckets", "open"];

/// One figure that is not what it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Where in the metrics, like `steps.….completed`.
    pub figure: String,
    /// Absent, if the report does not have it.
    pub stored: Option<Value>,
    /// Absent, if the report should not have it.
    pub recounted: Option<Value>,
}

/// Everything in which `stored` is not what was `recounted`.
pub fn differences(stored: &Value, recounted: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", Some(stored), Some(recounted), &mut found);
    found
}

fn compare(
    figure: &str,
    stored: Option<&Value>,
    recounted: Option<&Value>,
    found: &mut Vec<Difference>,
) {
    match (stored, recounted) {
        (Some(Value::Object(stored)), Some(Value::Object(recounted))) => {
            for key in keys(figure, stored, recounted) {
                let place = if figure.is_empty() {
                    key.clone()
                } else {
                    format!("{figure}.{key}")
                };
                compare(&place, stored.get(key), recounted.get(key), found);
            }
        }
        (stored, recounted) if is_same(figure, stored, recounted) => {}
        (stored, recounted) => found.push(Difference {
            figure: figure.to_owned(),
            stored: stored.cloned(),
            recounted: recounted.cloned(),
        }),
    }
}

fn keys<'a>(
    figure: &str,
    stored: &'a Map<String, Value>,
    recounted: &'a Map<String, Value>,
) -> impl Iterator<Item = &'a String> {
    let is_step = figure.starts_with("steps.");
    let is_told = move |key: &&String| !is_step || !UNTOLD.contains(&key.as_str());
    let own = stored.keys().filter(is_told);
    own.chain(recounted.keys().filter(|key| !stored.contains_key(*key)))
}

fn is_same(figure: &str, stored: Option<&Value>, recounted: Option<&Value>) -> bool {
    let (Some(stored), Some(recounted)) = (stored, recounted) else {
        return false;
    };
    match (stored.as_f64(), recounted.as_f64()) {
        (Some(stored), Some(recounted)) if is_percentile(figure) => {
            (stored - recounted).abs() <= recounted * RELATIVE + MILLIS
        }
        (Some(stored), Some(recounted)) => stored.total_cmp(&recounted).is_eq(),
        _ => stored == recounted,
    }
}

/// The only figures that are not exact: `p50Time`, `p99ExecutionTime`.
fn is_percentile(figure: &str) -> bool {
    let name = figure.rsplit('.').next().unwrap_or(figure);
    let mut letters = name.chars();
    letters.next() == Some('p') && letters.next().is_some_and(|digit| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(stored: Value, recounted: Value, want: &[&str]) {
        let found = differences(&stored, &recounted);
        let figures: Vec<&str> = found.iter().map(|one| one.figure.as_str()).collect();
        assert_eq!(figures, want);
    }

    #[test]
    fn whatever_is_not_equal_is_told() {
        check(
            json!({"a": 5, "b": null}),
            json!({"a": 5.0, "b": null}),
            &[],
        );
        check(json!({"a": 5}), json!({"a": 5.001}), &["a"]);
        check(
            json!({"a": {"b": 1}}),
            json!({"a": {"c": 1}}),
            &["a.b", "a.c"],
        );
        check(json!({"a": null}), json!({"a": 0}), &["a"]);
        check(json!({"a": {}}), json!({"a": 1}), &["a"]);
    }

    #[test]
    fn percentiles_may_be_one_percent_off() {
        check(json!({"p50Time": 101.0}), json!({"p50Time": 100.0}), &[]);
        check(
            json!({"p50Time": 101.2}),
            json!({"p50Time": 100.0}),
            &["p50Time"],
        );
        check(
            json!({"phases": 101.0}),
            json!({"phases": 100.0}),
            &["phases"],
        );
    }
}
