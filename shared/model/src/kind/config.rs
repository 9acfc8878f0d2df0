//! Reads a step's config by the table of settings. Invariant: whatever is wrong becomes a problem with its
//! path; null counts as absent.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::table::{Choice, Form, Only, Setting};
use crate::cel::Cel;
use crate::problem::{Problem, did_you_mean};
use crate::scope::Path;

/// The settings that were there and in order.
#[derive(Debug, Default)]
pub(super) struct Settings(HashMap<&'static str, Read>);

#[derive(Debug)]
enum Read {
    Text(String),
    Texts(Vec<String>),
    Duration(Duration),
    Instant(DateTime<Utc>),
    Path(Path),
    Number(f64),
    Count(u32),
    Expression(Cel),
    Expressions(Vec<(String, Cel)>),
    Uuid(Uuid),
    Object(Settings),
    /// Nobody but the table asks for it.
    Kept,
}

macro_rules! taken {
    ($name:ident, $variant:ident, $type:ty) => {
        /// Takes a setting of this form; None if it was absent or wrong.
        pub(super) fn $name(&mut self, key: &str) -> Option<$type> {
            match self.0.remove(key)? {
                Read::$variant(value) => Some(value),
                other => unreachable!("the table says otherwise of {key}: {other:?}"),
            }
        }
    };
}

impl Settings {
    taken!(text, Text, String);
    taken!(texts, Texts, Vec<String>);
    taken!(duration, Duration, Duration);
    taken!(instant, Instant, DateTime<Utc>);
    taken!(path, Path, Path);
    taken!(number, Number, f64);
    taken!(count, Count, u32);
    taken!(expression, Expression, Cel);
    taken!(expressions, Expressions, Vec<(String, Cel)>);
    taken!(uuid, Uuid, Uuid);
    taken!(object, Object, Settings);
}

/// A config, or an object within one.
pub(super) struct Config<'a> {
    fields: &'a Map<String, Value>,
    /// Where it stands, for instance `steps["Pay"].config`.
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

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn error(&mut self, key: &str, code: &'static str, message: impl Into<String>) {
        let path = format!("{}.{key}", self.path);
        self.problems.push(Problem::error(path, code, message));
    }

    /// Reads all settings of the table that are there.
    pub(super) fn read(&mut self, settings: impl Iterator<Item = &'static Setting>) -> Settings {
        let mut read = Settings::default();
        for setting in settings {
            match (self.get(setting.key), setting.required) {
                (Some(value), _) => {
                    let value = self.value(setting, value);
                    read.0.extend(value.map(|value| (setting.key, value)));
                }
                (None, Some(missing)) => self.error(setting.key, "CONFIG_MISSING", missing),
                (None, None) => {}
            }
        }
        read
    }

    /// Refuses none and several of settings that exclude each other.
    pub(super) fn choose(&mut self, choice: &Choice) {
        let given: Vec<&str> = (choice.keys.iter().copied())
            .filter(|key| self.has(key))
            .collect();
        match given[..] {
            [_] => {}
            [] => self.error(choice.keys[0], "CONFIG_MISSING", choice.missing),
            [.., last] => self.error(last, "CONFIG_INVALID", choice.several),
        }
    }

    /// Refuses a setting without the word that gives it a meaning, and that word without a setting it needs.
    pub(super) fn check(&mut self, only: &Only) {
        let (key, word) = only.with;
        let is_said = self.get(key).is_some_and(|value| value == word);
        if !is_said && self.has(only.key) {
            let message = format!("has a meaning only with \"{key}\": \"{word}\"");
            self.error(only.key, "CONFIG_INVALID", message);
        }
        if let Some(missing) = only.required.filter(|_| is_said && !self.has(only.key)) {
            self.error(only.key, "CONFIG_MISSING", missing);
        }
    }

    /// Warns of keys that mean nothing here.
    pub(super) fn warn_of_others(&mut self, known: &[&str]) {
        let means_nothing = |key: &&String| !known.iter().any(|k| k == *key);
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

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    fn value(&mut self, setting: &Setting, value: &'a Value) -> Option<Read> {
        let read = match &setting.form {
            Form::Expressions(empty) => return self.expressions(setting.key, value, *empty),
            Form::Object(settings) => return self.object(setting.key, value, settings),
            Form::Duration => {
                return duration(value)
                    .map_err(|message| self.error(setting.key, "DURATION_INVALID", message))
                    .map(Read::Duration)
                    .ok();
            }
            Form::Expression => {
                return cel(value)
                    .map_err(|message| self.error(setting.key, "CEL_INVALID", message))
                    .map(Read::Expression)
                    .ok();
            }
            Form::Text => text(value).map(Read::Text),
            Form::Word => word(value).map(Read::Text),
            Form::OneOf(words) => match value.as_str().filter(|word| words.contains(word)) {
                Some(word) => Ok(Read::Text(word.to_owned())),
                None => Err(format!("must be one of {}", words.join(", "))),
            },
            Form::Prose if !value.is_string() => Err("must be a text".to_owned()),
            Form::Prose | Form::Any => Ok(Read::Kept),
            Form::Texts => texts(value).map(Read::Texts),
            Form::Emails => emails(value).map(Read::Texts),
            Form::Instant => {
                crate::instant::parse(value.as_str().unwrap_or_default()).map(Read::Instant)
            }
            Form::Path => path(value).map(Read::Path),
            Form::Uuid => uuid(value).map(Read::Uuid),
            Form::Number { min, max } => (value.as_f64())
                .filter(|number| (min..=max).contains(&number))
                .map(Read::Number)
                .ok_or_else(|| format!("must be a number from {min} to {max}")),
            Form::Count { max } => (value.as_f64())
                .filter(|count| count.fract() == 0.0 && (1.0..=f64::from(*max)).contains(count))
                .map(|count| Read::Count(count as u32))
                .ok_or_else(|| format!("must be a whole number from 1 to {max}")),
        };
        read.map_err(|message| self.error(setting.key, "CONFIG_INVALID", message))
            .ok()
    }

    fn object(
        &mut self,
        key: &str,
        value: &'a Value,
        settings: &'static [Setting],
    ) -> Option<Read> {
        let Some(fields) = value.as_object() else {
            self.error(key, "CONFIG_INVALID", "must be an object");
            return None;
        };
        let mut inner = Config::new(fields, format!("{}.{key}", self.path), self.problems);
        let read = inner.read(settings.iter());
        let known: Vec<&str> = settings.iter().map(|setting| setting.key).collect();
        inner.warn_of_others(&known);
        Some(Read::Object(read))
    }

    fn expressions(&mut self, key: &str, value: &'a Value, empty: Option<&str>) -> Option<Read> {
        let Some(fields) = value.as_object() else {
            self.error(key, "CONFIG_INVALID", "must be an object");
            return None;
        };
        if let Some(empty) = empty.filter(|_| fields.is_empty()) {
            self.error(key, "CONFIG_MISSING", empty);
        }
        let mut expressions = Vec::new();
        for (field, source) in fields {
            match cel(source) {
                Ok(expression) => expressions.push((field.clone(), expression)),
                Err(message) => self.error(&format!("{key}.{field}"), "CEL_INVALID", message),
            }
        }
        Some(Read::Expressions(expressions))
    }
}

fn cel(value: &Value) -> Result<Cel, String> {
    match value {
        Value::String(source) => Cel::parse(source),
        _ => Err("must be the text of a CEL expression; a constant text is \"'…'\"".to_owned()),
    }
}

fn text(value: &Value) -> Result<String, String> {
    let text = value.as_str().filter(|text| is_text(text));
    let text = text.ok_or("must be a text of 1 to 200 characters")?;
    Ok(text.to_owned())
}

fn is_text(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= 200
}

fn word(value: &Value) -> Result<String, String> {
    let fits = |text: &&str| {
        (1..=100).contains(&text.chars().count())
            && text.trim() == *text
            && !text.contains(char::is_control)
    };
    let word = value.as_str().filter(fits);
    let word = word.ok_or("names the job type: must be a word of 1 to 100 characters")?;
    Ok(word.to_owned())
}

fn texts(value: &Value) -> Result<Vec<String>, String> {
    let items = value.as_array().filter(|items| items.len() <= 100);
    let texts: Option<Vec<String>> =
        items.and_then(|items| items.iter().map(|item| text(item).ok()).collect());
    texts.ok_or_else(|| "must be a list of at most 100 texts of 1 to 200 characters".to_owned())
}

/// In lower case.
fn emails(value: &Value) -> Result<Vec<String>, String> {
    let emails = texts(value)?.into_iter().map(|email| {
        let email = email.trim().to_lowercase();
        if email.contains('@') {
            Ok(email)
        } else {
            let wrong = "is no email address; a group belongs into approverRole";
            Err(format!("`{email}` {wrong}"))
        }
    });
    emails.collect()
}

fn duration(value: &Value) -> Result<Duration, String> {
    match value {
        Value::String(text) => crate::duration::parse_positive(text),
        Value::Number(number) => Err(format!(
            "`{number}` has no unit: write for instance \"{number}s\""
        )),
        _ => Err("must be a duration, such as \"48h\"".to_owned()),
    }
}

pub(crate) fn uuid(value: &Value) -> Result<Uuid, String> {
    let text = value.as_str().filter(|text| text.len() == 36);
    let read = text.and_then(|text| Uuid::try_parse(text).ok());
    read.ok_or_else(|| {
        "must be a UUID, such as \"018f3b5e-7a10-7c4e-9a53-2f7d1c0b9e64\"".to_owned()
    })
}

fn path(value: &Value) -> Result<Path, String> {
    let text = value.as_str();
    text.ok_or_else(|| "must be a path, such as \"dueAt\"".to_owned())
        .and_then(Path::parse)
}
