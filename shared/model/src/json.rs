//! What free-form JSON the platform accepts. Invariant: a value that passes can be stored as jsonb, read
//! back and sent in a `google.protobuf.Struct`, unchanged and within the default limits of every client.

use serde_json::{Map, Value};

/// How large and how deep a document may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Of the JSON text as jsonb writes it: `1e308` counts 309. A number counts 11 at least, which is what
    /// it takes in a Struct: what is stored has to be sent, too.
    pub bytes: usize,
    /// Levels of objects and arrays; a plain value has none.
    pub depth: usize,
}

/// Inputs, outputs and metadata. Protobuf decoders stop at 100 nested messages; 32 objects take 96.
pub const INPUT: Limit = Limit {
    bytes: 256 * 1024,
    depth: 32,
};

/// Step configs and conditions.
pub const CONFIG: Limit = Limit {
    bytes: 64 * 1024,
    depth: 32,
};

/// Beyond this, a double (and so a Struct) no longer holds every integer.
pub const MAX_EXACT_INTEGER: u64 = 1 << 53;

/// A double with its two tags.
const NUMBER_IN_STRUCT: usize = 11;

/// Says what is wrong with a value, if anything.
pub fn check(value: &Value, limit: Limit) -> Result<(), String> {
    Check {
        left: limit.bytes,
        limit,
    }
    .value(value, 0)
}

/// The same for an object that was not wrapped in a value.
pub fn check_object(object: &Map<String, Value>, limit: Limit) -> Result<(), String> {
    measure(object, limit).map(drop)
}

/// The size of an object, if nothing is wrong with it.
pub fn measure(object: &Map<String, Value>, limit: Limit) -> Result<usize, String> {
    let mut check = Check {
        left: limit.bytes,
        limit,
    };
    check.object(object, 0)?;
    Ok(limit.bytes - check.left)
}

struct Check {
    /// Bytes that may still come.
    left: usize,
    limit: Limit,
}

impl Check {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        match value {
            Value::Null | Value::Bool(true) => self.spend(4),
            Value::Bool(false) => self.spend(5),
            Value::Number(number) => {
                exact(number)?;
                self.spend(expanded_length(number).max(NUMBER_IN_STRUCT))
            }
            Value::String(text) => self.text(text),
            Value::Array(items) => {
                let depth = self.deeper(depth)?;
                // Brackets, and commas between items.
                self.spend(items.len().max(1) + 1)?;
                items.iter().try_for_each(|item| self.value(item, depth))
            }
            Value::Object(fields) => self.object(fields, depth),
        }
    }

    fn object(&mut self, fields: &Map<String, Value>, depth: usize) -> Result<(), String> {
        let depth = self.deeper(depth)?;
        // Braces, colons, and commas between fields.
        self.spend(fields.len() + fields.len().max(1) + 1)?;
        fields.iter().try_for_each(|(key, value)| {
            self.text(key)?;
            self.value(value, depth)
        })
    }

    fn text(&mut self, text: &str) -> Result<(), String> {
        let mut length = 2;
        for byte in text.bytes() {
            length += match byte {
                0 => return Err("must not contain the character U+0000".to_owned()),
                b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
                0x01..0x20 => 6,
                _ => 1,
            };
        }
        self.spend(length)
    }

    fn deeper(&self, depth: usize) -> Result<usize, String> {
        if depth == self.limit.depth {
            return Err(format!(
                "must not be nested more than {} levels deep",
                self.limit.depth
            ));
        }
        Ok(depth + 1)
    }

    fn spend(&mut self, bytes: usize) -> Result<(), String> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            format!(
                "must not be larger than {} KiB as JSON (numbers written out in full, each 11 bytes at least)",
                self.limit.bytes / 1024
            )
        })?;
        Ok(())
    }
}

fn exact(number: &serde_json::Number) -> Result<(), String> {
    let magnitude = number
        .as_u64()
        .or_else(|| number.as_i64().map(i64::unsigned_abs));
    if magnitude.is_some_and(|magnitude| magnitude > MAX_EXACT_INTEGER) {
        return Err(format!(
            "must not contain the integer {number}: beyond 2^53 digits get lost, send it as a string"
        ));
    }
    if number.as_f64().is_some_and(|float| !float.is_finite()) {
        return Err("must contain finite numbers only".to_owned());
    }
    Ok(())
}

/// How many characters jsonb prints: it keeps numbers as decimals, without exponents.
fn expanded_length(number: &serde_json::Number) -> usize {
    let text = number.to_string();
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else {
        return text.len();
    };
    let exponent: i64 = exponent.parse().unwrap_or_default();
    mantissa.len() + usize::try_from(exponent.unsigned_abs()).unwrap_or(usize::MAX / 2) + 1
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nested(depth: usize) -> Value {
        (0..depth).fold(json!(1), |inner, level| {
            if level % 2 == 0 {
                json!({ "a": inner })
            } else {
                json!([inner])
            }
        })
    }

    #[test]
    fn depth_is_counted_in_containers() {
        assert_eq!(check(&nested(32), INPUT), Ok(()));
        assert!(check(&nested(33), INPUT).unwrap_err().contains("32 levels"));
        let Value::Object(object) = json!({ "a": nested(31) }) else {
            panic!("an object");
        };
        assert_eq!(check_object(&object, INPUT), Ok(()));
        let object = Map::from_iter([("a".to_owned(), nested(32))]);
        assert!(check_object(&object, INPUT).is_err());
    }

    #[test]
    fn size_is_that_of_the_text() {
        let check = |value: Value| {
            let text = serde_json::to_string(&value).unwrap();
            let exactly = Limit {
                bytes: text.len(),
                depth: 32,
            };
            assert_eq!(super::check(&value, exactly), Ok(()), "{text}");
            let less = Limit {
                bytes: text.len() - 1,
                depth: 32,
            };
            assert!(super::check(&value, less).is_err(), "{text}");
        };
        check(json!(null));
        check(json!([]));
        check(json!({}));
        check(json!([true, false, null, -1234567890.5]));
        check(json!({ "a": "b\"\\\n\u{1}ü", "c": [[], {}] }));
    }

    #[test]
    fn numbers_count_as_they_are_stored() {
        let many = Value::from(vec![1e308; 1000]);
        assert!(check(&many, INPUT).is_err(), "6 KB here, 309 KB in jsonb");
        assert!(check(&Value::from(vec![5e-324; 1000]), INPUT).is_err());
        assert_eq!(check(&Value::from(vec![1e15; 1000]), INPUT), Ok(()));
    }

    #[test]
    fn what_cannot_come_back_is_refused() {
        let check = |value: Value, want: &str| {
            let error = super::check(&value, INPUT).expect_err("refused");
            assert!(error.contains(want), "{error}");
        };
        check(json!("a\0b"), "U+0000");
        check(json!({ "a\0": 1 }), "U+0000");
        check(json!([9_007_199_254_740_993_i64]), "2^53");
        check(json!(u64::MAX), "2^53");
        check(json!(i64::MIN), "2^53");
        check(json!("x".repeat(256 * 1024)), "256 KiB");
        assert_eq!(
            super::check(&json!(-9_007_199_254_740_992_i64), INPUT),
            Ok(())
        );
        assert_eq!(super::check(&json!(r"\u0000"), INPUT), Ok(()));
    }
}
