//! Comparisons that can only come out one way. Invariant: warnings only — what has been published must stay
//! runnable, and a comparison that never holds is still understood.

use serde_json::Value;

use super::operator::Test;
use super::{Comparison, Node, Operand};
use crate::known::{Known, Types};
use crate::problem::Problem;
use crate::scope::Path;

pub(super) struct Check<'a> {
    pub(super) known: &'a dyn Fn(&Path) -> Known,
    pub(super) problems: &'a mut Vec<Problem>,
}

/// One side of a comparison.
struct Side {
    types: Types,
    /// All that a text can be; empty: anything.
    words: &'static [&'static str],
}

impl Check<'_> {
    pub(super) fn node(&mut self, node: &Node, path: &str) {
        match node {
            Node::Compare(comparison) => self.comparison(comparison, path),
            Node::All(nodes) => self.nodes(nodes, &format!("{path}.all")),
            Node::Any(nodes) => self.nodes(nodes, &format!("{path}.any")),
            Node::Not(inner) => self.node(inner, &format!("{path}.not")),
            Node::Cel(expression) => {
                for read in expression.paths() {
                    self.side(read, &format!("{path}.cel"));
                }
            }
        }
    }

    fn nodes(&mut self, nodes: &[Node], path: &str) {
        for (at, node) in nodes.iter().enumerate() {
            self.node(node, &format!("{path}[{at}]"));
        }
    }

    fn comparison(&mut self, comparison: &Comparison, path: &str) {
        let left = self.side(&comparison.field, &format!("{path}.field"));
        let right = match &comparison.operand {
            Operand::Field(field) => self.side(field, &format!("{path}.valueField")),
            Operand::Value(value) => Some(Side::of(comparison.test, value)),
            Operand::Pattern(_) | Operand::Instant(_) | Operand::Nothing => Some(Side {
                types: Types::TEXT,
                words: &[],
            }),
        };
        // What is missing has been told.
        let (Some(left), Some(right)) = (left, right) else {
            return;
        };
        if let Some(why) = mismatch(comparison, &left, &right) {
            let (code, verdict) = match comparison.negated {
                false => ("CONDITION_NEVER_HOLDS", "never holds"),
                true => ("CONDITION_ALWAYS_HOLDS", "holds whatever the value is"),
            };
            let message = format!("{verdict}: {why}");
            self.problems.push(Problem::warning(path, code, message));
        } else if let Some(number) = number_as_text(comparison, &left) {
            let word = comparison.word;
            self.problems.push(Problem::warning(
                format!("{path}.value"),
                "NUMBER_AS_TEXT",
                format!(
                    "`{word}` with a text compares texts, character by character, and no number: for a number \
                     write {number} without quotes"
                ),
            ));
        }
    }

    /// None, and a warning, if there can be no value at a path.
    fn side(&mut self, read: &Path, path: &str) -> Option<Side> {
        match (self.known)(read) {
            Known::Nothing => Some(Side {
                types: Types::ANY,
                words: &[],
            }),
            Known::Types { types, words } => Some(Side { types, words }),
            Known::Missing(why) => {
                self.problems.push(missing(read, path, &why));
                None
            }
        }
    }
}

/// The warning of a path that leads nowhere.
pub(crate) fn missing(read: &Path, path: &str, why: &str) -> Problem {
    let read = crate::text::clean(read.as_str(), 200);
    Problem::warning(
        path,
        "ALWAYS_MISSING",
        format!("there is never a `{read}`: {why}"),
    )
}

impl Side {
    fn of(test: Test, value: &Value) -> Self {
        let types = match (test, value) {
            (Test::In, Value::Array(items)) => items
                .iter()
                .fold(Types::NONE, |types, item| types | Types::of(item)),
            (_, value) => Types::of(value),
        };
        Self { types, words: &[] }
    }
}

/// Why the test can never pass.
fn mismatch(comparison: &Comparison, left: &Side, right: &Side) -> Option<String> {
    let name = crate::text::clean(comparison.field.as_str(), 200);
    let ordered = Types::NUMBER | Types::TEXT;
    let both = left.types & right.types;
    let is = left.types.describe();
    let compared = || format!("`{name}` is {is}, compared with {}", right.types.describe());
    let needs = |what: &str| format!("`{name}` is {is}; `{}` needs {what}", comparison.word);
    let why = match (comparison.test, &comparison.operand) {
        (Test::In, Operand::Value(_)) if right.types == Types::NONE => {
            Some("the list is empty".to_owned())
        }
        (Test::In, Operand::Field(field)) => (!right.types.meets(Types::LIST)).then(|| {
            format!(
                "`{}` is {}, not a list",
                field.as_str(),
                right.types.describe()
            )
        }),
        (Test::Equals | Test::In, _) => (both == Types::NONE).then(compared),
        (
            Test::GreaterThan | Test::GreaterThanOrEqual | Test::LessThan | Test::LessThanOrEqual,
            _,
        ) => (!both.meets(ordered)).then(compared),
        (Test::Contains, _) => {
            let within = left.types.meets(Types::LIST) || both.meets(Types::TEXT);
            (!within).then(|| match left.types.meets(Types::TEXT) {
                true => compared(),
                false => needs("a text or a list"),
            })
        }
        (Test::StartsWith | Test::EndsWith | Test::Matches | Test::Before | Test::After, _) => {
            match (
                left.types.meets(Types::TEXT),
                right.types.meets(Types::TEXT),
            ) {
                (false, _) => Some(needs("a text")),
                (true, false) => Some(compared()),
                (true, true) => None,
            }
        }
        (Test::IsNull, _) => {
            (!left.types.meets(Types::NULL)).then(|| format!("`{name}` is {is}, never null"))
        }
        (Test::IsEmpty, _) => {
            let scalar = Types::BOOL | Types::NUMBER;
            (left.types & scalar == left.types).then(|| format!("`{name}` is {is}, never empty"))
        }
        (Test::Exists, _) => None,
    };
    why.map(|why| why + &unquoted(comparison, left))
        .or_else(|| not_among_words(comparison, left, &name))
}

/// A text that should have been no text.
fn unquoted(comparison: &Comparison, left: &Side) -> String {
    let Operand::Value(Value::String(text)) = &comparison.operand else {
        return String::new();
    };
    match serde_json::from_str::<Value>(text) {
        Ok(meant) if Types::of(&meant) == left.types => format!("; write {meant} without quotes"),
        _ => String::new(),
    }
}

/// Why a text is none of those that can be there.
fn not_among_words(comparison: &Comparison, left: &Side, name: &str) -> Option<String> {
    let Operand::Value(value) = &comparison.operand else {
        return None;
    };
    let wanted = match (comparison.test, value) {
        (Test::Equals, value) => std::slice::from_ref(value),
        (Test::In, Value::Array(items)) => items,
        _ => return None,
    };
    let known = |value: &Value| left.words.iter().any(|word| value.as_str() == Some(word));
    let is_none = !left.words.is_empty() && !wanted.iter().any(known);
    // Whoever excludes a word that cannot be there says more than needed, and nothing wrong.
    let is_none = is_none && !comparison.negated;
    is_none.then(|| format!("`{name}` is {} there", left.words.join(" or ")))
}

/// A number that is ordered as a text, where a number may be meant.
fn number_as_text<'c>(comparison: &'c Comparison, left: &Side) -> Option<&'c str> {
    if left.types & Types::NUMBER != Types::NUMBER {
        return None;
    }
    let is_order = matches!(
        comparison.test,
        Test::GreaterThan | Test::GreaterThanOrEqual | Test::LessThan | Test::LessThanOrEqual
    );
    match &comparison.operand {
        Operand::Value(Value::String(text))
            if is_order
                && serde_json::from_str::<Value>(text).is_ok_and(|value| value.is_number()) =>
        {
            Some(text)
        }
        _ => None,
    }
}
