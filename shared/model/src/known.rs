//! What can be told of a value before there is one. Invariant: told too little rather than wrongly — a
//! type that a value may have is always in the set.

use std::ops::{BitAnd, BitOr};

use serde_json::Value;

/// A set of JSON types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Types(u8);

impl Types {
    pub const NONE: Self = Self(0);
    pub const NULL: Self = Self(1);
    pub const BOOL: Self = Self(2);
    pub const NUMBER: Self = Self(4);
    pub const TEXT: Self = Self(8);
    pub const LIST: Self = Self(16);
    pub const OBJECT: Self = Self(32);
    pub const ANY: Self = Self(63);

    /// By what each is called in messages and in JSON Schema.
    const WORDS: [(Self, &str, &str); 6] = [
        (Self::NULL, "null", "null"),
        (Self::BOOL, "true or false", "boolean"),
        (Self::NUMBER, "a number", "number"),
        (Self::TEXT, "a text", "string"),
        (Self::LIST, "a list", "array"),
        (Self::OBJECT, "an object", "object"),
    ];

    pub fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOL,
            Value::Number(_) => Self::NUMBER,
            Value::String(_) => Self::TEXT,
            Value::Array(_) => Self::LIST,
            Value::Object(_) => Self::OBJECT,
        }
    }

    /// Whether a value can be of this set and of the other.
    pub fn meets(self, other: Self) -> bool {
        self & other != Self::NONE
    }

    /// For people: `true or false`, `a number or a text`.
    pub fn describe(self) -> String {
        let words = Self::WORDS.iter().filter(|(types, ..)| self.meets(*types));
        let words: Vec<&str> = words.map(|(_, word, _)| *word).collect();
        words.join(" or ")
    }

    /// The names that JSON Schema has for them.
    pub fn schema_words(self) -> Vec<&'static str> {
        let words = Self::WORDS.iter().filter(|(types, ..)| self.meets(*types));
        words.map(|(.., word)| *word).collect()
    }
}

impl BitOr for Types {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Types {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// What is known of the value at a path.
#[derive(Debug, Clone, PartialEq)]
pub enum Known {
    /// Nothing: it depends on input, people or workers.
    Nothing,
    /// There can be none, and why.
    Missing(String),
    /// If there is one, it has one of these types; a text is one of `words`, if there are any.
    Types {
        types: Types,
        words: &'static [&'static str],
    },
}

impl Known {
    pub(crate) fn types(types: Types) -> Self {
        Self::Types { types, words: &[] }
    }
}
