//! What an execution and its steps say in the same way: failures, instants, texts. Invariant: what is read can be
//! stored, and what cannot is told with its field.

use chassis::input::Input;
use chrono::{DateTime, Utc};

use crate::engine::Failure;

const LONGEST_ERROR: usize = 10_000;
const LONGEST_CODE: usize = 100;
/// 1900-01-01T00:00:00Z and 2150-01-01T00:00:00Z, in seconds.
const YEARS: std::ops::Range<i64> = -2_208_988_800..5_680_281_600;

/// What is said of a failure.
pub(super) struct Told<'a> {
    pub error: &'a str,
    pub code: &'a str,
    /// The code if none is given; what has one is a failure in any case.
    pub default: Option<&'a str>,
    pub is_allowed: bool,
}

pub(super) fn failure(input: &mut Input, path: &str, told: Told) -> Option<Failure> {
    let error = text(input, path, ("error", told.error), LONGEST_ERROR);
    let code = text(input, path, ("error_code", told.code), LONGEST_CODE);
    if !told.is_allowed {
        for (name, said) in [("error", &error), ("error_code", &code)] {
            if said.is_some() {
                let wrong = "must be empty for what was COMPLETED";
                input.push(format!("{path}.{name}"), wrong);
            }
        }
        return None;
    }
    let is_failure = error.is_some() || code.is_some() || told.default.is_some();
    is_failure.then(|| {
        let code = code.as_deref().or(told.default).unwrap_or("FAILED");
        Failure::new(code, error.unwrap_or_default())
    })
}

/// A text that may be missing.
pub(super) fn text(
    input: &mut Input,
    path: &str,
    (name, said): (&str, &str),
    most: usize,
) -> Option<String> {
    if said.is_empty() {
        return None;
    }
    Some(input.text(&format!("{path}.{name}"), said, 0..=most))
}

/// An instant that may be missing, of the time that an older system may tell of.
pub(super) fn instant(
    input: &mut Input,
    path: &str,
    name: &str,
    sent: Option<&prost_types::Timestamp>,
) -> Option<DateTime<Utc>> {
    let sent = sent?;
    let field = format!("{path}.{name}");
    let read = input.instant(&field, Some(sent))?;
    if !YEARS.contains(&read.timestamp()) {
        input.push(field, "is not between the years 1900 and 2149");
        return None;
    }
    Some(read)
}
