//! Reads values out of a step's config. Invariant: whatever is wrong becomes a problem with its path;
//! null counts as absent.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::problem::{Problem, did_you_mean};

pub(super) struct Config<'a> {
    fields: &'a Map<String, Value>,
    /// Where the config stands, for instance `steps["Pay"].config`.
    path: String,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Config<'a> {
    pub(super) fn new(
        fields: &'a Map<String, Value>,
        path: String,
        problems: &'a mut Vec<Problem>,
    ) -> Self {
        Self {
            fields,
            path,
            problems,
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn error(&mut self, key: &str, code: &'static str, message: impl Into<String>) {
        let path = format!("{}.{key}", self.path);
        self.problems.push(Problem::error(path, code, message));
    }

    fn invalid(&mut self, key: &str, message: impl Into<String>) {
        self.error(key, "CONFIG_INVALID", message);
    }

    /// A text of 1 to 200 characters.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        let text = read_text(self.get(key)?);
        if text.is_none() {
            self.invalid(key, "must be a text of 1 to 200 characters");
        }
        text
    }

    /// A longer text, kept as it is.
    pub(super) fn prose(&mut self, key: &str) {
        if self.get(key).is_some_and(|value| !value.is_string()) {
            self.invalid(key, "must be a text");
        }
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, key: &str) -> Vec<String> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let texts: Option<Vec<String>> = value
            .as_array()
            .filter(|items| items.len() <= 100)
            .and_then(|items| items.iter().map(read_text).collect());
        if texts.is_none() {
            self.invalid(
                key,
                "must be a list of at most 100 texts of 1 to 200 characters",
            );
        }
        texts.unwrap_or_default()
    }

    /// A duration longer than none.
    pub(super) fn duration(&mut self, key: &str) -> Option<Duration> {
        let read = match self.get(key)? {
            Value::String(text) => crate::duration::parse(text),
            Value::Number(number) => Err(format!(
                "`{number}` has no unit: write for instance \"{number}s\""
            )),
            _ => Err("must be a duration, such as \"48h\"".to_owned()),
        };
        let read = read.and_then(|duration| match duration.is_zero() {
            true => Err("must be longer than no time at all".to_owned()),
            false => Ok(duration),
        });
        read.map_err(|message| self.error(key, "DURATION_INVALID", message))
            .ok()
    }

    /// A number within a range.
    pub(super) fn number(&mut self, key: &str, min: f64, max: f64) -> Option<f64> {
        let number = self.get(key)?.as_f64();
        let number = number.filter(|number| (min..=max).contains(number));
        if number.is_none() {
            self.invalid(key, format!("must be a number from {min} to {max}"));
        }
        number
    }

    /// A whole number of at least 1.
    pub(super) fn count(&mut self, key: &str, max: u32) -> Option<u32> {
        let count = self.get(key)?.as_f64();
        let count =
            count.filter(|count| count.fract() == 0.0 && (1.0..=f64::from(max)).contains(count));
        if count.is_none() {
            self.invalid(key, format!("must be a whole number from 1 to {max}"));
        }
        count.map(|count| count as u32)
    }

    /// The config of an object within; problems go to the same list.
    pub(super) fn object(&mut self, key: &str) -> Option<Config<'_>> {
        let Some(fields) = self.get(key)?.as_object() else {
            self.invalid(key, "must be an object");
            return None;
        };
        let path = format!("{}.{key}", self.path);
        Some(Config::new(fields, path, self.problems))
    }

    pub(super) fn fields(&self) -> &'a Map<String, Value> {
        self.fields
    }

    /// Warns of keys that mean nothing here; `reported` ones have a problem already.
    pub(super) fn warn_of_others(&mut self, known: &[&str], reported: &[&str]) {
        let means_nothing = |key: &&String| !known.iter().chain(reported).any(|k| k == *key);
        for key in self.fields.keys().filter(means_nothing) {
            let hint = did_you_mean(key, known.iter().copied());
            let understood = known.join(", ");
            self.problems.push(Problem::warning(
                format!("{}.{}", self.path, crate::text::clean(key, 100)),
                "UNKNOWN_CONFIG_KEY",
                format!("has no effect; understood here: {understood}.{hint}"),
            ));
        }
    }
}

fn read_text(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    let fits = !text.trim().is_empty() && text.chars().count() <= 200;
    fits.then(|| text.to_owned())
}
