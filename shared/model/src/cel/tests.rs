//! Expressions as users write them, and as nobody should.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::Cel;
use crate::effort::Effort;
use crate::scope::Scope;

fn in_scope<T>(data: Value, judge: impl FnOnce(&Scope<'_>) -> T) -> T {
    let object = |value: Value| match value {
        Value::Object(fields) => fields,
        _ => panic!("an object"),
    };
    let data: Map<String, Value> = object(data);
    let steps = object(json!({ "Manager Approval": { "output": { "approved": true } } }));
    judge(&Scope {
        data: &data,
        item: None,
        steps: &steps,
        step: &json!({ "name": "Pay", "status": "FAILED", "error": { "code": "TIMEOUT" } }),
        execution: &json!({ "id": "e1" }),
        client: &json!({ "name": "Acme" }),
        effort: &Effort::new(10_000_000),
    })
}

fn evaluate(source: &str) -> Result<Value, String> {
    let expression = Cel::parse(source)?;
    let data = json!({
        "amount": 5, "negative": -5, "rate": 1.5, "name": "Ada", "none": null, "ok": true,
        "type": "big", "items": [{ "price": 3 }, { "price": 40, "tags": ["a", "b"] }],
        "at": "2026-01-02T03:04:05Z", "a-b": 7, "step": "hidden",
    });
    in_scope(data, |scope| expression.evaluate(scope))
}

#[test]
fn expressions_evaluate_to_json() {
    let check = |source: &str, want: Value| assert_eq!(evaluate(source), Ok(want), "{source}");
    check("data.amount + 1", json!(6));
    check("amount + negative", json!(0));
    check("amount > 4 && name == 'Ada'", json!(true));
    check("rate * 2.0", json!(3.0));
    check("amount == 5.0", json!(true));
    check("data['a-b']", json!(7));
    check("type == 'big'", json!(true));
    check("type(amount) == int", json!(true));
    check("has(data.missing)", json!(false));
    check("has(data.none)", json!(true));
    check("data.none == null", json!(true));
    check("items.map(i, i.price)", json!([3, 40]));
    check("items.filter(i, has(i.tags)).size()", json!(1));
    check("items[1].tags[0]", json!("a"));
    check("size(data.items)", json!(2));
    check(
        "items.all(i, items.exists(j, j.price >= i.price))",
        json!(true),
    );
    check("[1, 2].map(x, [x, x * 2])", json!([[1, 2], [2, 4]]));
    check(
        "{'a': amount, 'b': [name]}",
        json!({ "a": 5, "b": ["Ada"] }),
    );
    check("steps['Manager Approval'].output.approved", json!(true));
    check(
        "step.status == 'FAILED' && step.error.code == 'TIMEOUT'",
        json!(true),
    );
    check("data.step", json!("hidden"));
    check("execution.id + client.name", json!("e1Acme"));
    check("name.matches('^A.a$')", json!(true));
    check("matches(name, 'b')", json!(false));
    check("items.exists(i, 'x1'.matches('[0-9]'))", json!(true));
    check(
        "timestamp(at) + duration('1h')",
        json!("2026-01-02T04:04:05Z"),
    );
    check("timestamp(at).getFullYear()", json!(2026));
    check("ok ? 'yes' : 'no'", json!("yes"));
    check("data.size() > 3", json!(true));
    check("string(amount) + 'x'", json!("5x"));
    check("items.exists(step, step.price == 3)", json!(true));
}

#[test]
fn what_cannot_be_evaluated_is_an_error() {
    let check = |source: &str, want: &str| {
        let error = evaluate(source).expect_err(source);
        assert!(error.contains(want), "{source}: {error}");
    };
    check("missing > 1", "missing");
    check("data.missing > 1", "missing");
    check("data.items.price", "no matching overload");
    check("name + 1", "");
    check("1 / 0", "division by zero");
    check("9223372036854775807 + 1", "overflows");
    check("9007199254740992 + 1", "beyond 2^53");
    check("18446744073709551615u", "beyond 2^53");
    check("0.0 / 0.0", "no finite number");
    check("b'abc'", "plain JSON");
    check("duration('1h')", "plain JSON");
    check("{1: 2}", "texts as keys");
    check("timestamp('yesterday')", "");
    check("items[5]", "");
    check("ok.all(i, i)", "");
}

/// The interpreter hashes with a random seed; nothing may depend on it.
#[test]
fn the_same_data_gives_the_same_result() {
    let data: Map<String, Value> = (0..20)
        .map(|at| (format!("k{at:02}"), json!(i64::MAX - at)))
        .collect();
    let data = json!({ "map": data });
    let evaluate = |source: &str| {
        let expression = Cel::parse(source).unwrap();
        in_scope(data.clone(), |scope| expression.evaluate(scope))
    };
    let sorted: Vec<String> = (0..20).map(|at| format!("k{at:02}")).collect();
    assert_eq!(evaluate("map.map(k, k)"), Ok(json!(sorted)));
    assert_eq!(
        evaluate("{3: 1, 1: 1, 2: 1}.filter(k, k > 0)"),
        Ok(json!([1, 2, 3]))
    );
    let error = evaluate("map").unwrap_err();
    assert!(
        error.contains(&i64::MAX.to_string()),
        "of the first field: {error}"
    );
    for source in [
        "map + 1",
        "map < 1",
        "map[1]",
        "{map: 1}",
        "-map",
        "[map][map]",
        "map()",
    ] {
        let Ok(expression) = Cel::parse(source) else {
            continue;
        };
        let error = in_scope(data.clone(), |scope| expression.evaluate(scope)).unwrap_err();
        assert!(!error.contains("k00"), "{source}: {error}");
    }
}

#[test]
fn what_cannot_be_parsed_is_an_error() {
    let check = |source: &str, want: &str| {
        let error = Cel::parse(source).expect_err(source);
        assert!(error.contains(want), "{source}: {error}");
    };
    check("", "empty");
    check("   ", "empty");
    check("amount >", "Syntax error");
    check("a ==== b", "Syntax error");
    check("amont(1)", "no function `amont`");
    check("name.startswith('A')", "Did you mean `startsWith`?");
    check("items.exists(i)", "wrong arguments");
    check("has(amount)", "has()");
    check("name.matches('(')", "unclosed group");
    check("name.matches(name)", "literal text");
    check("matches()", "takes a text");
    check("name.matches('a', 'b')", "takes a text");
    check("Money{units: 1}", "no message type");
    check("@budget", "");
    check("a.?b", "");
    check("optional.of(1)", "no function `of`");
    check(
        "[1].map(a, [1].map(b, [1].map(c, c)))",
        "nested more than 2 levels",
    );
    check(&format!("a{}", " ".repeat(2048)), "2048 bytes");
}

/// The worst sources of each shape that the length limit lets through.
#[test]
fn no_source_overflows_the_stack() {
    let repeated = |unit: &str, times: usize| unit.repeat(times);
    let sources = [
        vec!["1"; 1024].join("+"),
        vec!["a"; 682].join("=="),
        vec!["a"; 682].join("||"),
        vec!["a"; 409].join(" in "),
        format!("a{}", repeated(".b", 1023)),
        format!("a{}", repeated("[0]", 682)),
        format!("a{}", repeated("[b]", 682)),
        format!("a{}", repeated(".b()", 511)),
        format!("a{}", repeated(".map(x,x)", 227)),
        format!("{}1", repeated("-", 2047)),
        format!("{}a", repeated("!", 2047)),
        format!("{}1{}", repeated("(", 1023), repeated(")", 1023)),
        format!("{}1{}", repeated("[", 1023), repeated("]", 1023)),
        format!("{}1{}", repeated("{1:", 511), repeated("}", 511)),
        format!("{}1{}", repeated("size(", 341), repeated(")", 341)),
        format!("{}b", repeated("a?a:", 511)),
        repeated("(", 2048),
        repeated("[", 2048),
        repeated("{", 2048),
        repeated("a[", 1024),
        repeated("a.", 1024),
    ];
    // Less than the 2 MiB of a worker thread, which has frames of its own.
    let small = std::thread::Builder::new().stack_size(1024 * 1024);
    let judged = small.spawn(move || {
        for source in &sources {
            if let Ok(expression) = Cel::parse(source) {
                let _ = in_scope(json!({ "a": 1 }), |scope| expression.evaluate(scope));
            }
        }
    });
    judged.unwrap().join().unwrap();
}

/// The deepest expressions that are accepted.
#[test]
fn the_deepest_expression_evaluates_on_a_small_stack() {
    let small = std::thread::Builder::new().stack_size(768 * 1024);
    let judged = small.spawn(|| {
        let sum = vec!["1"; 199].join("+");
        let sum = Cel::parse(&sum).unwrap();
        assert_eq!(
            in_scope(json!({}), |scope| sum.evaluate(scope)),
            Ok(json!(199))
        );
        let equal = format!("true{}", " == true".repeat(198));
        let equal = Cel::parse(&equal).unwrap();
        assert_eq!(
            in_scope(json!({}), |scope| equal.evaluate(scope)),
            Ok(json!(true))
        );
        assert!(
            Cel::parse(&vec!["1"; 300].join("+"))
                .unwrap_err()
                .contains("200 levels")
        );
    });
    judged.unwrap().join().unwrap();
}

#[test]
fn comprehensions_are_bounded() {
    let numbers = |count: usize| json!({ "items": (0..count).collect::<Vec<_>>() });
    let check = |source: &str, data: Value| {
        let expression = Cel::parse(source).unwrap();
        let start = Instant::now();
        let result = in_scope(data, |scope| expression.evaluate(scope));
        assert!(start.elapsed() < Duration::from_secs(20), "{source}");
        result
    };
    assert_eq!(
        check("items.all(i, i >= 0)", numbers(1000)),
        Ok(json!(true))
    );
    let error = check("items.all(i, i >= 0)", numbers(1001)).unwrap_err();
    assert!(error.contains("1001 items"), "{error}");
    let error = check("(items + items).all(i, i >= 0)", numbers(501)).unwrap_err();
    assert!(error.contains("1002 items"), "{error}");
    assert_eq!(
        check("items.all(i, items.exists(j, j >= i))", numbers(1000)),
        Ok(json!(true))
    );
    let quadratic = "items.all(i, items.exists(j, j >= i))";
    let many = vec![quadratic; 40].join("&&");
    let error = check(&many, numbers(1000)).unwrap_err();
    assert!(error.contains("too much data"), "{error}");
    let heavy: Vec<Value> = (0..1000).map(|_| Value::from(vec!["x"; 100])).collect();
    let error = check(
        "items.all(i, items.exists(j, j == i))",
        json!({ "items": heavy }),
    );
    // The first item equals itself, so each round is short, yet each pays for its range.
    assert!(error.unwrap_err().contains("too much data"));
}

#[test]
fn it_knows_what_it_reads() {
    let check = |source: &str, want: &[&str]| {
        let expression = Cel::parse(source).unwrap();
        let paths: Vec<&str> = expression
            .paths()
            .iter()
            .map(|path| path.as_str())
            .collect();
        assert_eq!(paths, want, "{source}");
    };
    check("amount > 1 && data.amount < 3", &["data.amount"]);
    check("data['a.b'].c", &[r#"data["a.b"].c"#]);
    check("has(step.error)", &["step.error"]);
    check("items.exists(step, step.status == 'x')", &["data.items"]);
    check(
        "items[0].price + items[amount].price",
        &["data.items[0].price", "data.items", "data.amount"],
    );
    check("size(data) > 1", &[]);
    check("1 + 1", &[]);
    check("steps['A b'].output.x", &["steps[\"A b\"].output.x"]);
}

#[test]
fn it_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    shared(&Cel::parse("1").unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_source_panics(source in r#"([a-c0-9.()\[\]{}+*/%<>=!&|?:,'" -]|data|step|map|size|true|null){0,40}"#) {
        if let Ok(expression) = Cel::parse(&source) {
            let _ = in_scope(json!({ "a": 1, "b": [1, 2], "c": { "a": "x" } }), |scope| {
                expression.evaluate(scope)
            });
        }
    }
}
