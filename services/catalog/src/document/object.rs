//! Takes an object of a document apart, field by field. Invariant: every fault is kept with its path, and
//! a field that nobody asked for is a fault.

use std::ops::RangeInclusive;

use model::json;
use serde_json::{Map, Value};

/// What is wrong with a document: `path: what`, one entry each.
#[derive(Debug, Default)]
pub struct Faults(pub Vec<String>);

impl Faults {
    /// An empty path is the document itself.
    pub fn push(&mut self, path: &str, what: impl std::fmt::Display) {
        self.0.push(match path {
            "" => what.to_string(),
            path => format!("{path}: {what}"),
        });
    }
}

/// One object of the document, emptied as its fields are asked for.
pub struct Fields {
    path: String,
    left: Map<String, Value>,
    asked: Vec<&'static str>,
}

impl Fields {
    /// Opens `value`; something else than an object is a fault, and then no field is there.
    pub fn open(path: String, value: Value, faults: &mut Faults) -> Option<Self> {
        match value {
            Value::Object(left) => Some(Self {
                path,
                left,
                asked: Vec::new(),
            }),
            other => {
                faults.push(
                    &path,
                    format_args!("must be an object, not {}", kind(&other)),
                );
                None
            }
        }
    }

    pub fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// The field as it stands; null is absent.
    pub fn take(&mut self, name: &'static str) -> Option<Value> {
        self.asked.push(name);
        self.left.remove(name).filter(|value| !value.is_null())
    }

    pub fn text(
        &mut self,
        name: &'static str,
        chars: RangeInclusive<usize>,
        faults: &mut Faults,
    ) -> Option<String> {
        let value = self.take(name)?;
        let path = self.path_of(name);
        match value {
            Value::String(text) => match text_fault(&text, chars) {
                None => Some(text),
                Some(fault) => {
                    faults.push(&path, fault);
                    None
                }
            },
            other => {
                faults.push(
                    &path,
                    format_args!("must be a text, not {}: write it in quotes", kind(&other)),
                );
                None
            }
        }
    }

    /// As [`Self::text`], and its absence is a fault; then empty.
    pub fn required_text(
        &mut self,
        name: &'static str,
        chars: RangeInclusive<usize>,
        faults: &mut Faults,
    ) -> String {
        let before = faults.0.len();
        let text = self.text(name, chars, faults);
        if text.is_none() && faults.0.len() == before {
            faults.push(&self.path_of(name), "is required");
        }
        text.unwrap_or_default()
    }

    /// As [`Self::text`], for what things are known and told apart by.
    pub fn name(
        &mut self,
        name: &'static str,
        chars: RangeInclusive<usize>,
        faults: &mut Faults,
    ) -> Option<String> {
        let text = self.text(name, chars, faults)?;
        if let Some(fault) = model::text::name_fault(&text) {
            faults.push(&self.path_of(name), fault);
            return None;
        }
        Some(text)
    }

    /// As [`Self::name`], and its absence is a fault; then empty.
    pub fn required_name(
        &mut self,
        name: &'static str,
        chars: RangeInclusive<usize>,
        faults: &mut Faults,
    ) -> String {
        let before = faults.0.len();
        let text = self.name(name, chars, faults);
        if text.is_none() && faults.0.len() == before {
            faults.push(&self.path_of(name), "is required");
        }
        text.unwrap_or_default()
    }

    pub fn bool(&mut self, name: &'static str, default: bool, faults: &mut Faults) -> bool {
        match self.take(name) {
            None => default,
            Some(Value::Bool(value)) => value,
            Some(other) => {
                let fault = format!("must be true or false, not {}", kind(&other));
                faults.push(&self.path_of(name), fault);
                default
            }
        }
    }

    /// A position: 0 or more.
    pub fn order(&mut self, name: &'static str, default: usize, faults: &mut Faults) -> i32 {
        let position = match self.take(name) {
            None => i32::try_from(default).ok(),
            Some(value) => value.as_i64().and_then(|n| i32::try_from(n).ok()),
        };
        match position {
            Some(position) if position >= 0 => position,
            _ => {
                let fault = format!("must be a whole number from 0 to {}", i32::MAX);
                faults.push(&self.path_of(name), fault);
                0
            }
        }
    }

    /// Free-form settings, small and flat enough to be kept.
    pub fn settings(
        &mut self,
        name: &'static str,
        faults: &mut Faults,
    ) -> Option<Map<String, Value>> {
        let value = self.take(name)?;
        let path = self.path_of(name);
        if let Err(fault) = json::check(&value, json::CONFIG) {
            faults.push(&path, fault);
            return None;
        }
        Fields::open(path, value, faults).map(|fields| fields.left)
    }

    pub fn list(&mut self, name: &'static str, max: usize, faults: &mut Faults) -> Vec<Value> {
        match self.take(name) {
            None => Vec::new(),
            Some(Value::Array(items)) if items.len() <= max => items,
            Some(Value::Array(items)) => {
                let fault = format!("has {} items, at most {max} are allowed", items.len());
                faults.push(&self.path_of(name), fault);
                Vec::new()
            }
            Some(other) => {
                let fault = format!("must be a list, not {}", kind(&other));
                faults.push(&self.path_of(name), fault);
                Vec::new()
            }
        }
    }

    /// Whatever was not asked for is not known.
    pub fn finish(self, faults: &mut Faults) {
        for name in self.left.keys() {
            let shown = model::text::clean(name, 60);
            faults.push(
                &self.path_of(&shown),
                format_args!(
                    "is not known here{}",
                    did_you_mean(name, self.asked.iter().copied())
                ),
            );
        }
    }
}

/// What is wrong with a text of the document.
fn text_fault(text: &str, chars: RangeInclusive<usize>) -> Option<String> {
    let count = text.chars().count();
    if !chars.contains(&count) {
        return Some(format!(
            "must have {} to {} characters, has {count}",
            chars.start(),
            chars.end()
        ));
    }
    if text
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
    {
        return Some("must not contain control characters".to_owned());
    }
    (*chars.start() > 0 && text.trim().is_empty()).then(|| "must not be blank".to_owned())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// `; did you mean …?` if a known word is close to what was written.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    // The comparison is quadratic, and a longer word is no slip of the pen.
    let short: String = word.chars().take(200).collect::<String>().to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            let likeness =
                strsim::normalized_damerau_levenshtein(&short, &candidate.to_lowercase());
            (likeness, candidate)
        })
        .filter(|(likeness, _)| *likeness >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| format!("; did you mean `{candidate}`?"))
        .unwrap_or_default()
}
