//! The filters of list methods: `field op literal`, joined by AND. Owns the grammar; a field or an
//! operator that is not in the method's table is refused, so a filter never silently lists too much.

use chrono::{DateTime, Datelike, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::input::parse_uuid;

mod lexer;

use lexer::{Lexeme, Literal};

const MOST_CHARS: usize = 2000;

/// Of a text that is searched for: longer ones find nothing that a shorter one would not.
const MOST_SEARCHED: usize = 100;

/// What a field holds, and so which operators it has: `=` for most, `>=` and `<` (half-open ranges) for
/// instants, `:` (contains) for what is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Equal to the letter.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One or several of these words, with `|` between them.
    Words(&'static [&'static str]),
    /// Contains the text, whatever the case.
    Search,
    Bool,
    Uuid,
    Instant,
    /// Any JSON scalar; for names that end in `.*`. Quoted literals are texts.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Equal,
    AtLeast,
    Before,
    Contains,
}

impl Op {
    /// What fields of this kind are compared with.
    fn all_of(kind: Kind) -> &'static [(&'static str, Op)] {
        match kind {
            Kind::Instant => &[(">=", Op::AtLeast), ("<", Op::Before)],
            Kind::Search => &[(":", Op::Contains)],
            Kind::Text | Kind::Word(_) | Kind::Words(_) | Kind::Bool | Kind::Uuid | Kind::Json => {
                &[("=", Op::Equal)]
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Text(String),
    Bool(bool),
    Uuid(Uuid),
    Instant(DateTime<Utc>),
    Json(Value),
}

/// What a list is restricted to. A field that is not mentioned restricts nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter(Vec<Term>);

#[derive(Debug, Clone, PartialEq)]
struct Term {
    field: String,
    op: Op,
    operand: Operand,
}

impl Filter {
    /// `fields` is the method's table. A name that ends in `.*` stands for every path below it.
    pub fn parse(text: &str, fields: &[(&str, Kind)]) -> Result<Self> {
        parse(text, fields).map_err(|description| Error::invalid("filter", description))
    }

    pub fn text(&self, field: &str) -> Option<&str> {
        match self.find(field, Op::Equal)? {
            Operand::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The words that a field may be.
    pub fn words(&self, field: &str) -> Option<Vec<String>> {
        let words = self.text(field)?.split('|');
        Some(words.map(str::to_owned).collect())
    }

    /// What the searched columns of a row are LIKE, both in lower case. Each word of theirs begins behind a
    /// space: less than three characters, or a single letter among signs, are looked for only there, because
    /// an index of trigrams knows nothing as short within words.
    pub fn pattern(&self, field: &str) -> Option<String> {
        let Operand::Text(text) = self.find(field, Op::Contains)? else {
            return None;
        };
        let letters = text.chars().filter(|c| c.is_alphanumeric()).count();
        let is_short = text.chars().count() < 3 || letters < 2;
        let mut pattern = String::from(if is_short { "% " } else { "%" });
        for c in text.chars() {
            if matches!(c, '\\' | '%' | '_') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern.push('%');
        Some(pattern)
    }

    pub fn bool(&self, field: &str) -> Option<bool> {
        match self.find(field, Op::Equal)? {
            Operand::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub fn uuid(&self, field: &str) -> Option<Uuid> {
        match self.find(field, Op::Equal)? {
            Operand::Uuid(id) => Some(*id),
            _ => None,
        }
    }

    /// The instant from which on (inclusive).
    pub fn at_least(&self, field: &str) -> Option<DateTime<Utc>> {
        self.instant(field, Op::AtLeast)
    }

    /// The instant before which (exclusive).
    pub fn before(&self, field: &str) -> Option<DateTime<Utc>> {
        self.instant(field, Op::Before)
    }

    /// All `root.….…` terms as one object, to be compared by containment.
    pub fn nested(&self, root: &str) -> Option<Value> {
        let mut object = Map::new();
        for term in &self.0 {
            let path = term
                .field
                .strip_prefix(root)
                .and_then(|rest| rest.strip_prefix('.'));
            if let (Some(path), Operand::Json(value)) = (path, &term.operand) {
                insert(&mut object, path, value).expect("paths were checked by parse");
            }
        }
        if object.is_empty() {
            None
        } else {
            Some(Value::Object(object))
        }
    }

    fn find(&self, field: &str, op: Op) -> Option<&Operand> {
        let term = self
            .0
            .iter()
            .find(|term| term.field == field && term.op == op)?;
        Some(&term.operand)
    }

    fn instant(&self, field: &str, op: Op) -> Option<DateTime<Utc>> {
        match self.find(field, op)? {
            Operand::Instant(at) => Some(*at),
            _ => None,
        }
    }
}

fn parse(text: &str, fields: &[(&str, Kind)]) -> Result<Filter, String> {
    if text.chars().count() > MOST_CHARS {
        return Err(format!("is longer than {MOST_CHARS} characters"));
    }
    let lexemes = lexer::split(text)?;
    let mut terms: Vec<Term> = Vec::new();
    let mut nested: Map<String, Value> = Map::new();
    let mut rest = lexemes.as_slice();
    while !rest.is_empty() {
        let (
            [
                Lexeme::Word(field),
                Lexeme::Op(op),
                Lexeme::Literal(_) | Lexeme::Word(_),
            ],
            _,
        ) = rest.split_at_checked(3).ok_or_else(incomplete)?
        else {
            return Err(incomplete());
        };
        let kind = kind_of(field, fields)?;
        let op = operator(kind, field, op)?;
        let operand = operand(kind, field, &rest[2])?;
        if terms
            .iter()
            .any(|term| term.field == *field && term.op == op)
        {
            return Err(format!("{field} is restricted twice"));
        }
        if let Operand::Json(value) = &operand {
            insert(&mut nested, field, value)
                .map_err(|()| format!("{field} contradicts another restriction"))?;
        }
        terms.push(Term {
            field: field.clone(),
            op,
            operand,
        });
        rest = match &rest[3..] {
            [] => &[],
            [Lexeme::Word(and), more @ ..] if and == "AND" && !more.is_empty() => more,
            [Lexeme::Word(and)] if and == "AND" => return Err(incomplete()),
            _ => return Err("restrictions are joined by AND".to_owned()),
        };
    }
    Ok(Filter(terms))
}

fn incomplete() -> String {
    "is not of the form: field = \"value\" AND field >= \"value\"".to_owned()
}

fn operator(kind: Kind, field: &str, op: &str) -> Result<Op, String> {
    let known = Op::all_of(kind);
    let found = known.iter().find(|(sign, _)| *sign == op);
    found.map(|(_, op)| *op).ok_or_else(|| {
        let signs: Vec<&str> = known.iter().map(|(sign, _)| *sign).collect();
        format!("{field} is compared with {}", signs.join(" and "))
    })
}

fn kind_of(field: &str, fields: &[(&str, Kind)]) -> Result<Kind, String> {
    let matches = |name: &str| match name.strip_suffix('*') {
        Some(root) => field
            .strip_prefix(root)
            .is_some_and(|path| path.split('.').all(|part| !part.is_empty())),
        None => field == name,
    };
    fields
        .iter()
        .find(|(name, _)| matches(name))
        .map(|(_, kind)| *kind)
        .ok_or_else(|| {
            let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
            format!(
                "the field {field} is not known; there are {}",
                names.join(", ")
            )
        })
}

fn operand(kind: Kind, field: &str, lexeme: &Lexeme) -> Result<Operand, String> {
    let literal = lexeme.literal();
    let text = literal.text;
    match kind {
        Kind::Text => Ok(Operand::Text(text.to_owned())),
        Kind::Word(words) if words.contains(&text) => Ok(Operand::Text(text.to_owned())),
        Kind::Word(words) => return Err(format!("{field} wants one of {}", words.join(", "))),
        Kind::Words(words) if text.split('|').all(|word| words.contains(&word)) => {
            Ok(Operand::Text(text.to_owned()))
        }
        Kind::Words(words) => {
            let words = words.join(", ");
            return Err(format!(
                "{field} wants one or, with | between them, several of {words}"
            ));
        }
        Kind::Search if is_searchable(text) => Ok(Operand::Text(text.to_owned())),
        Kind::Search => Err("1 to 100 characters, among them a letter or a digit"),
        Kind::Bool => text.parse().map(Operand::Bool).map_err(|_| "true or false"),
        Kind::Uuid => parse_uuid(text).map(Operand::Uuid).ok_or("a UUID"),
        Kind::Instant => DateTime::parse_from_rfc3339(text)
            .ok()
            .filter(|at| (1..=9999).contains(&at.to_utc().year()))
            .map(|at| Operand::Instant(at.to_utc()))
            .ok_or("an instant like \"2026-01-31T08:00:00Z\""),
        Kind::Json => json(&literal)
            .map(Operand::Json)
            .ok_or("a number, true, false, null or \"text\""),
    }
    .map_err(|wanted| format!("{field} wants {wanted}"))
}

fn is_searchable(text: &str) -> bool {
    text.chars().count() <= MOST_SEARCHED
        && text.chars().any(char::is_alphanumeric)
        && !text.chars().any(char::is_control)
}

fn json(literal: &Literal) -> Option<Value> {
    if literal.quoted {
        return Some(Value::String(literal.text.to_owned()));
    }
    let value: Value = serde_json::from_str(literal.text).ok()?;
    if value.is_object() || value.is_array() {
        None
    } else {
        Some(value)
    }
}

/// Puts a value at a dotted path; an error if something else is there.
fn insert(object: &mut Map<String, Value>, path: &str, value: &Value) -> Result<(), ()> {
    match path.split_once('.') {
        None if object.contains_key(path) => Err(()),
        None => {
            object.insert(path.to_owned(), value.clone());
            Ok(())
        }
        Some((first, rest)) => {
            let inner = object
                .entry(first)
                .or_insert_with(|| Value::Object(Map::new()));
            insert(inner.as_object_mut().ok_or(())?, rest, value)
        }
    }
}

#[cfg(test)]
mod tests;
