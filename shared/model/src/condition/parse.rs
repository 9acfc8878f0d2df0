//! Reads conditions. Invariant: every key is understood or refused; a typing error must not turn into a
//! condition with another meaning.

use serde_json::{Map, Value};

use super::operator::{self, Operator, Test};
use super::{Comparison, Node, Operand};
use crate::cel::Cel;
use crate::problem::{Problem, did_you_mean};
use crate::scope::Path;

/// Nested all, any and not; also keeps every recursion here short.
const DEEPEST: usize = 16;
const INVALID: &str = "CONDITION_INVALID";
const FORMS: &str = "{\"field\": …, \"operator\": …, \"value\": …}, the same with \"valueField\", \
                     {\"all\": […]}, {\"any\": […]}, {\"not\": …} or {\"cel\": \"…\"}";
const KEYS: [&str; 8] = [
    "field",
    "operator",
    "value",
    "valueField",
    "all",
    "any",
    "not",
    "cel",
];

pub(super) fn node(source: &Value, path: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    Parser { problems }.node(source, path, 0)
}

struct Parser<'a> {
    problems: &'a mut Vec<Problem>,
}

impl Parser<'_> {
    fn error(&mut self, path: impl Into<String>, code: &'static str, message: impl Into<String>) {
        self.problems.push(Problem::error(path, code, message));
    }

    /// None only together with a problem.
    fn node(&mut self, source: &Value, path: &str, depth: usize) -> Option<Node> {
        if depth == DEEPEST {
            let message = format!("must not be nested more than {DEEPEST} levels deep");
            self.error(path, INVALID, message);
            return None;
        }
        let Some(fields) = source.as_object() else {
            self.error(path, INVALID, format!("must be one of {FORMS}"));
            return None;
        };
        if fields.is_empty() {
            let message = format!("says nothing: leave it out for \"always\", or write {FORMS}");
            self.error(path, INVALID, message);
            return None;
        }
        self.refuse_unknown(fields, path);
        let combinator = ["all", "any", "not", "cel"]
            .into_iter()
            .find(|key| fields.contains_key(*key));
        let Some(key) = combinator else {
            return self.comparison(fields, path);
        };
        if let Some(other) = KEYS.iter().find(|k| **k != key && fields.contains_key(**k)) {
            let message =
                format!("`{key}` and `{other}` cannot stand side by side: use `all` or `any`");
            self.error(path, INVALID, message);
            return None;
        }
        let (inner, path) = (&fields[key], format!("{path}.{key}"));
        match key {
            "all" => self.nodes(inner, &path, depth + 1).map(Node::All),
            "any" => self.nodes(inner, &path, depth + 1).map(Node::Any),
            "not" => {
                let node = self.node(inner, &path, depth + 1)?;
                Some(Node::Not(Box::new(node)))
            }
            _ => self.cel(inner, &path),
        }
    }

    fn refuse_unknown(&mut self, fields: &Map<String, Value>, path: &str) {
        for key in fields.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            let hint = did_you_mean(key, KEYS);
            let key = crate::text::clean(key, 100);
            self.error(
                format!("{path}.{key}"),
                INVALID,
                format!("has no meaning; a condition is {FORMS}.{hint}"),
            );
        }
    }

    fn nodes(&mut self, source: &Value, path: &str, depth: usize) -> Option<Vec<Node>> {
        let Some(items) = source.as_array().filter(|items| !items.is_empty()) else {
            self.error(path, INVALID, "must be a list of at least one condition");
            return None;
        };
        // Collected before they are judged, so that each reports its problems.
        let nodes: Vec<Option<Node>> = items
            .iter()
            .enumerate()
            .map(|(at, item)| self.node(item, &format!("{path}[{at}]"), depth))
            .collect();
        nodes.into_iter().collect()
    }

    fn cel(&mut self, source: &Value, path: &str) -> Option<Node> {
        let parsed = match source {
            Value::String(source) => Cel::parse(source),
            _ => Err("must be the text of a CEL expression".to_owned()),
        };
        parsed
            .map_err(|message| self.error(path, "CEL_INVALID", message))
            .map(Node::Cel)
            .ok()
    }

    fn comparison(&mut self, fields: &Map<String, Value>, path: &str) -> Option<Node> {
        let field = self.path(fields, "field", path);
        let operator = self.operator(fields, path);
        let operand = self.operand(fields, operator?, path);
        let (field, operator, operand) = (field?, operator?, operand?);
        Some(Node::Compare(Box::new(Comparison {
            field,
            test: operator.test,
            negated: operator.negated,
            word: operator.word,
            operand,
        })))
    }

    fn path(&mut self, fields: &Map<String, Value>, key: &str, path: &str) -> Option<Path> {
        let parsed = match fields.get(key) {
            Some(Value::String(text)) => Path::parse(text),
            Some(_) => Err("must be a text such as \"approved\"".to_owned()),
            None => Err("is missing: it names what to look at, such as \"approved\"".to_owned()),
        };
        parsed
            .map_err(|message| self.error(format!("{path}.{key}"), INVALID, message))
            .ok()
    }

    fn operator(&mut self, fields: &Map<String, Value>, path: &str) -> Option<&'static Operator> {
        let path = format!("{path}.operator");
        let Some(word) = fields.get("operator").and_then(Value::as_str) else {
            self.error(path, INVALID, "must be a text such as \"equals\"");
            return None;
        };
        operator::find(word)
            .map_err(|message| self.error(path, "UNKNOWN_OPERATOR", message))
            .ok()
    }

    fn operand(
        &mut self,
        fields: &Map<String, Value>,
        operator: &Operator,
        path: &str,
    ) -> Option<Operand> {
        let word = operator.word;
        let needs_none = matches!(operator.test, Test::Exists | Test::IsNull | Test::IsEmpty);
        match (fields.get("value"), fields.get("valueField")) {
            (None, None) if needs_none => Some(Operand::Nothing),
            (value, _) if needs_none => {
                let key = if value.is_some() {
                    "value"
                } else {
                    "valueField"
                };
                let message = format!("`{word}` compares with nothing: leave this out");
                self.error(format!("{path}.{key}"), INVALID, message);
                None
            }
            (None, None) => {
                let message = format!("is missing: `{word}` needs a `value` or a `valueField`");
                self.error(format!("{path}.value"), INVALID, message);
                None
            }
            (Some(_), Some(_)) => {
                let message = "only one of `value` and `valueField` can be given";
                self.error(format!("{path}.valueField"), INVALID, message);
                None
            }
            (None, Some(_)) if operator.test == Test::Matches => {
                let message =
                    "`matches` needs its expression as `value`, so that it can be checked now";
                self.error(format!("{path}.valueField"), INVALID, message);
                None
            }
            (None, Some(_)) => self.path(fields, "valueField", path).map(Operand::Field),
            (Some(value), None) => constant(operator.test, value)
                .map_err(|(code, message)| {
                    self.error(format!("{path}.value"), code, format!("`{word}` {message}"));
                })
                .ok(),
        }
    }
}

/// A constant operand, or the code and the end of the sentence that says why it cannot be one.
fn constant(test: Test, value: &Value) -> Result<Operand, (&'static str, String)> {
    let refused = |message: &str| Err((INVALID, message.to_owned()));
    match (test, value) {
        (
            Test::GreaterThan | Test::GreaterThanOrEqual | Test::LessThan | Test::LessThanOrEqual,
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_),
        ) => refused("compares with a number or a text"),
        (Test::In, value) if !value.is_array() => refused("needs a list of values"),
        (Test::StartsWith | Test::EndsWith, value) if !value.is_string() => {
            refused("compares with a text")
        }
        (Test::Matches, Value::String(source)) => crate::pattern::compile(source)
            .map(Operand::Pattern)
            .map_err(|error| ("REGEX_INVALID", format!("cannot use this: {error}"))),
        (Test::Matches, _) => refused("needs the text of a regular expression"),
        (Test::Before | Test::After, value) => {
            let text = value.as_str().unwrap_or_default();
            crate::instant::parse(text)
                .map(Operand::Instant)
                .map_err(|error| (INVALID, format!("needs an instant: {error}")))
        }
        (_, value) => Ok(Operand::Value(value.clone())),
    }
}
