//! From YAML or JSON text to a JSON value. Invariant: nothing is guessed or lost on the way — a repeated
//! key, a number that a double cannot hold, or text that grows without bound through aliases is refused.

use std::cell::Cell;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Bytes that a document may have.
pub const MAX_BYTES: usize = 3 * 1024 * 1024;
/// Bytes that it may come to once its aliases are expanded.
const MAX_EXPANDED_BYTES: usize = 8 * 1024 * 1024;
/// Beyond this, doubles skip integers; numbers travel as doubles.
const MAX_EXACT: u64 = 1 << 53;

/// Reads one document. The error says where, in words.
pub fn parse(text: &str) -> Result<Value, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("is longer than {MAX_BYTES} bytes"));
    }
    // JSON is almost YAML; the difference is in escapes and long keys, so JSON is tried as such.
    if text.trim_start().starts_with('{')
        && let Ok(value) = json(text)
    {
        return Ok(value);
    }
    yaml(text)
}

fn json(text: &str) -> Result<Value, serde_json::Error> {
    let left = Cell::new(MAX_EXPANDED_BYTES);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Node { left: &left }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

fn yaml(text: &str) -> Result<Value, String> {
    use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
    let options = serde_saphyr::options! {
        // The smallest value has two bytes, so a document's length bounds its values.
        budget: serde_saphyr::budget! {
            max_documents: 1,
            max_aliases: 10_000,
            max_nodes: MAX_BYTES,
            max_events: 2 * MAX_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 250_000 },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Merge,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    };
    let left = Cell::new(MAX_EXPANDED_BYTES);
    serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| {
        Node { left: &left }.deserialize(deserializer)
    })
    .map_err(|error| {
        let message = error.without_snippet().to_string();
        match error.location() {
            Some(at) if !message.contains("line ") => {
                format!("line {}, column {}: {message}", at.line(), at.column())
            }
            _ => message,
        }
    })
}

/// Builds one value, charging its size to what is left.
struct Node<'a> {
    left: &'a Cell<usize>,
}

impl Node<'_> {
    fn charge<E: Error>(&self, bytes: usize) -> Result<(), E> {
        let left = self.left.get().checked_sub(bytes + 8).ok_or_else(|| {
            E::custom(format!(
                "the document comes to more than {MAX_EXPANDED_BYTES} bytes with its aliases expanded"
            ))
        })?;
        self.left.set(left);
        Ok(())
    }
}

fn too_large<E: Error>(number: impl std::fmt::Display) -> E {
    E::custom(format!(
        "{number} is beyond 2^53 and would lose digits: write it as a text, in quotes"
    ))
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value that JSON can hold")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.charge(0)?;
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.charge(0)?;
        if value.unsigned_abs() > MAX_EXACT {
            return Err(too_large(value));
        }
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.charge(0)?;
        if value > MAX_EXACT {
            return Err(too_large(value));
        }
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.charge(0)?;
        // As everywhere on the platform, 1.0 is 1: otherwise applying twice would see a difference.
        if value.fract() == 0.0 && value.abs() <= MAX_EXACT as f64 {
            return Ok(Value::from(value as i64));
        }
        // Stored, it would come back as an integer that no document may have.
        if value.fract() == 0.0 && value.abs() < u64::MAX as f64 {
            return Err(too_large(value));
        }
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.charge(value.len())?;
        Ok(Value::from(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.charge(0)?;
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.charge(0)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Node { left: self.left })? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.charge(0)?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.charge(key.len())?;
            let value = entries.next_value_seed(Node { left: self.left })?;
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!(
                    "the key {key:?} stands here twice"
                )));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_and_json_say_the_same() {
        let wanted = json!({"a": [1, 2.5, "48h", true, null], "b": {"c": "😀"}});
        assert_eq!(
            parse("a: [1.0, 2.5, 48h, true, ~]\nb: {c: 😀}").expect("yaml"),
            wanted
        );
        assert_eq!(
            parse(r#"{"a":[1,2.5,"48h",true,null],"b":{"c":"\ud83d\ude00"}}"#).expect("json"),
            wanted
        );
    }

    #[test]
    fn words_that_only_look_like_other_things_stay_texts() {
        let check = |text: &str| {
            let value = parse(&format!("a: {text}")).expect("yaml");
            assert_eq!(value, json!({"a": text}));
        };
        [
            "yes",
            "no",
            "on",
            "+1-555-0100",
            "007",
            "1_000",
            "48h",
            "12:30:00",
            "2026-01-01",
        ]
        .into_iter()
        .for_each(check);
    }

    #[test]
    fn what_would_be_lost_is_refused() {
        let check = |text: &str, want: &str| {
            let error = parse(text).expect_err(text);
            assert!(error.contains(want), "{text}: {error}");
        };
        check("a: 1\na: 2", "line 2");
        check(r#"{"a": 1, "a": 2}"#, "a");
        check("a: 9007199254740993", "2^53");
        check(r#"{"a": -9007199254740993}"#, "2^53");
        check("a: 1e18", "2^53");
        check("a: .inf", "line 1");
        check("a: 1e400", "line 1");
        check("a: [1", "line");
        check("a: 1\n---\nb: 2", "document");
        check(&"x".repeat(MAX_BYTES + 1), "longer than");
    }

    #[test]
    fn alias_bombs_end_early() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let item = format!("*a{},", level - 1).repeat(10);
            bomb.push_str(&format!("a{level}: &a{level} [{item}]\n"));
        }
        assert!(parse(&bomb).is_err());

        let mut wide = format!("big: &big {}\nmany:\n", "x".repeat(500_000));
        for index in 0..5000 {
            wide.push_str(&format!("- [&s{index} 1, *big, *big, *big]\n"));
        }
        assert!(parse(&wide).is_err());
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&format!("{}1{}", "{\"a\":".repeat(5000), "}".repeat(5000))).is_err());
    }
}
