//! The `order_by` of list methods: one of the method's keys, upwards or with ` desc` downwards. Invariant:
//! what is not in the method's table is refused, so an order is always one that an index serves.

use std::fmt;

use uuid::Uuid;

use crate::error::{Error, Result};

/// How a list is ordered: by one key, and by id where that is equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    pub key: &'static str,
    pub descending: bool,
}

/// Which way a list runs, and behind which row the page begins: nothing for the first page.
#[derive(Debug, Clone, PartialEq)]
pub enum Run<K> {
    Up(Option<(K, Uuid)>),
    Down(Option<(K, Uuid)>),
}

impl Order {
    /// `keys` is the method's table; an empty text asks for `default`.
    pub fn parse(text: &str, keys: &[&'static str], default: Order) -> Result<Self> {
        let mut words = text.split_ascii_whitespace();
        let Some(wanted) = words.next() else {
            return Ok(default);
        };
        let key = keys.iter().find(|key| **key == wanted);
        let descending = match words.next() {
            None | Some("asc") => Some(false),
            Some("desc") => Some(true),
            Some(_) => None,
        };
        match (key, descending, words.next()) {
            (Some(&key), Some(descending), None) => Ok(Self { key, descending }),
            _ => Err(Error::invalid(
                "order_by",
                format!("is not one of {}, alone or with desc", keys.join(", ")),
            )),
        }
    }

    pub const fn up(key: &'static str) -> Self {
        Self {
            key,
            descending: false,
        }
    }

    pub const fn down(key: &'static str) -> Self {
        Self {
            key,
            descending: true,
        }
    }

    /// This way, from behind a row of the page before.
    pub fn run<K>(self, after: Option<(K, Uuid)>) -> Run<K> {
        if self.descending {
            Run::Down(after)
        } else {
            Run::Up(after)
        }
    }
}

/// One spelling for each order: page tokens are bound to it.
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key)?;
        f.write_str(if self.descending { " desc" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &[&str] = &["created_at", "name"];

    #[test]
    fn an_order_is_a_key_and_a_direction() {
        let parse = |text| Order::parse(text, KEYS, Order::down("created_at"));
        for (text, wanted) in [
            ("", Order::down("created_at")),
            ("  ", Order::down("created_at")),
            ("created_at", Order::up("created_at")),
            ("name asc", Order::up("name")),
            ("  name \t desc ", Order::down("name")),
        ] {
            assert_eq!(parse(text).expect(text), wanted, "{text:?}");
        }
        assert_eq!(parse("name  asc").expect("valid").to_string(), "name");
        assert_eq!(parse("name desc").expect("valid").to_string(), "name desc");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "password",
            "Name",
            "name DESC",
            "name desc desc",
            "name, created_at",
            "name; drop table users",
            "1",
            "name\0",
            "desc",
            "name\u{a0}desc",
            "(select password)",
        ] {
            let error = Order::parse(text, KEYS, Order::up("name")).expect_err(text);
            assert_eq!(error.reason(), "INVALID_ARGUMENT", "{text:?}");
        }
    }
}
