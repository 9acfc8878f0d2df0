//! Reads the fields of a request. Whatever is wrong is collected, so that a caller learns of all of it
//! at once; nothing is changed to fit: a text is kept to the letter or refused.

use std::ops::RangeInclusive;
use std::time::Duration;

use chrono::{DateTime, Utc};
use model::json::Limit;
use model::wire;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{Error, Result, Violation};

/// The violations of one request. A field that is wrong yields a harmless value; `finish` stops there.
#[derive(Debug, Default)]
pub struct Input {
    violations: Vec<Violation>,
}

impl Input {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.violations.push(Violation {
            field: field.into(),
            description: description.into(),
        });
    }

    pub fn finish(self) -> Result<()> {
        if self.violations.is_empty() {
            Ok(())
        } else {
            Err(Error::violations(self.violations))
        }
    }

    /// A required id; nil when it is none.
    pub fn uuid(&mut self, field: &str, text: &str) -> Uuid {
        if text.is_empty() {
            self.push(field, "is required");
        }
        self.optional_uuid(field, text).unwrap_or_default()
    }

    /// An id, or nothing when the text is empty.
    pub fn optional_uuid(&mut self, field: &str, text: &str) -> Option<Uuid> {
        if text.is_empty() {
            return None;
        }
        let id = parse_uuid(text);
        if id.is_none() {
            self.push(field, "is not a UUID (8-4-4-4-12 hexadecimal digits)");
        }
        id
    }

    /// A text whose length in characters lies in `chars`. If something is required, blanks alone
    /// do not count.
    pub fn text(&mut self, field: &str, text: &str, chars: RangeInclusive<usize>) -> String {
        let length = text.chars().count();
        let control = text
            .chars()
            .find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
        if *chars.start() > 0 && text.trim().is_empty() {
            self.push(field, "is required");
        } else if !chars.contains(&length) {
            let (least, most) = (chars.start(), chars.end());
            self.push(
                field,
                format!("has {length} characters; {least} to {most} are accepted"),
            );
        } else if let Some(control) = control {
            self.push(
                field,
                format!("holds the control character U+{:04X}", u32::from(control)),
            );
        }
        text.to_owned()
    }

    /// A text that things are known and told apart by: one line, without what the eye cannot see.
    pub fn name(&mut self, field: &str, text: &str, chars: RangeInclusive<usize>) -> String {
        let before = self.violations.len();
        let name = self.text(field, text, chars);
        if self.violations.len() == before
            && let Some(fault) = model::text::name_fault(&name)
        {
            self.push(field, fault);
        }
        name
    }

    /// A JSON object within a limit.
    pub fn json(
        &mut self,
        field: &str,
        object: Option<&prost_types::Struct>,
        limit: Limit,
    ) -> Option<Map<String, Value>> {
        let checked = wire::json_from_struct(object?)
            .and_then(|map| model::json::check_object(&map, limit).map(|()| map));
        self.keep(field, checked)
    }

    pub fn duration(
        &mut self,
        field: &str,
        duration: Option<&prost_types::Duration>,
    ) -> Option<Duration> {
        let parsed = wire::duration(duration?);
        self.keep(field, parsed)
    }

    pub fn instant(
        &mut self,
        field: &str,
        instant: Option<&prost_types::Timestamp>,
    ) -> Option<DateTime<Utc>> {
        let parsed = wire::instant(instant?);
        self.keep(field, parsed)
    }

    /// Takes a value that something else parsed, or its complaint.
    pub fn keep<T>(&mut self, field: &str, parsed: Result<T, String>) -> Option<T> {
        parsed
            .map_err(|description| self.push(field, description))
            .ok()
    }
}

/// Only the usual form: an id has one spelling apart from case.
pub(crate) fn parse_uuid(text: &str) -> Option<Uuid> {
    if text.len() == 36 {
        Uuid::try_parse(text).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
