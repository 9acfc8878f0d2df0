//! Walks a parsed expression once: refuses what could cost too much, finds out what it reads, and puts
//! limits around its comprehensions. Invariant: what passes is at most [`DEEPEST`] levels deep, so that
//! every later recursion over it fits any thread's stack.

use std::collections::BTreeMap;

use ::cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators};
use ::cel::parser::Expression;

use super::limits::{self, Pattern};
use crate::problem::did_you_mean;
use crate::scope::{Path, Root, Segment};

/// Each level costs the interpreter up to 1.8 KiB of stack unoptimised (measured).
const DEEPEST: usize = 200;
const MOST_NESTED: usize = 2;

/// Functions that exist; operators, whose names are no identifiers, aside.
const FUNCTIONS: &[&str] = &[
    "bool",
    "bytes",
    "contains",
    "double",
    "duration",
    "dyn",
    "endsWith",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "timestamp",
    "type",
    "uint",
];
/// Written like functions, but expanded by the parser: left over only when called wrongly.
const MACROS: &[&str] = &["all", "exists", "exists_one", "filter", "has", "map"];

/// A variable that an expression reads.
#[derive(Debug)]
pub(super) struct Use {
    /// A reserved root, or a field of the data.
    pub(super) name: String,
    pub(super) shape: Shape,
}

/// Which parts of a value are read.
#[derive(Debug)]
pub(super) enum Shape {
    Whole,
    /// Only these fields, where it is an object; all of it, where it is none.
    Parts(BTreeMap<String, Shape>),
}

#[derive(Default)]
pub(super) struct Analysis {
    pub(super) uses: Vec<Use>,
    pub(super) paths: Vec<Path>,
    pub(super) patterns: Vec<Pattern>,
    /// Variables of the comprehensions around the present place.
    bound: Vec<String>,
}

pub(super) fn analyse(expression: &mut Expression) -> Result<Analysis, String> {
    let mut analysis = Analysis::default();
    analysis.walk(expression, Place::default())?;
    Ok(analysis)
}

/// Where in the expression we are.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    depth: usize,
    /// Comprehensions around.
    loops: usize,
}

impl Place {
    fn below(self) -> Result<Self, String> {
        if self.depth == DEEPEST {
            return Err(format!(
                "must not be nested, or chained, more than {DEEPEST} levels deep"
            ));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl Analysis {
    fn walk(&mut self, expression: &mut Expression, place: Place) -> Result<(), String> {
        let place = place.below()?;
        if let Some((name, segments)) = chain(&expression.expr) {
            if segments.len() + place.depth > DEEPEST {
                return Err("must not follow more than 200 fields in a row".to_owned());
            }
            if !self.bound.iter().any(|bound| bound == name) {
                self.read(name, segments);
            }
            return Ok(());
        }
        match &mut expression.expr {
            Expr::Unspecified => Err("is incomplete".to_owned()),
            Expr::Ident(_) | Expr::Literal(_) => Ok(()),
            Expr::Select(select) => self.walk(&mut select.operand, place),
            Expr::Call(call) => self.call(call, place),
            Expr::List(list) => list
                .elements
                .iter_mut()
                .try_for_each(|element| self.walk(element, place)),
            Expr::Map(map) => map.entries.iter_mut().try_for_each(|entry| {
                let EntryExpr::MapEntry(entry) = &mut entry.expr else {
                    return Err("is malformed".to_owned());
                };
                self.walk(&mut entry.key, place)?;
                self.walk(&mut entry.value, place)
            }),
            Expr::Struct(message) => Err(format!(
                "there is no message type `{}`; write a map: `{{\"key\": value}}`",
                message.type_name
            )),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, place),
        }
    }

    fn call(&mut self, call: &mut CallExpr, place: Place) -> Result<(), String> {
        check_function(&call.func_name)?;
        if call.func_name == "matches" {
            self.precompile(call)?;
        }
        if let Some(target) = &mut call.target {
            self.walk(target, place)?;
        }
        call.args
            .iter_mut()
            .try_for_each(|argument| self.walk(argument, place))
    }

    /// Turns `text.matches("…")` into a call with a compiled expression.
    fn precompile(&mut self, call: &mut CallExpr) -> Result<(), String> {
        let pattern = call.args.pop();
        let text = call
            .target
            .take()
            .map(|text| *text)
            .or_else(|| call.args.pop());
        let (Some(text), Some(mut pattern), true) = (text, pattern, call.args.is_empty()) else {
            return Err("`matches` takes a text and a regular expression".to_owned());
        };
        let Expr::Literal(LiteralValue::String(source)) = &pattern.expr else {
            return Err("the regular expression of `matches` must be a literal text".to_owned());
        };
        let regex = crate::pattern::compile(source.inner())?;
        pattern.expr = Expr::Ident(limits::pattern_name(self.patterns.len()));
        self.patterns.push(Pattern(regex));
        call.func_name = limits::MATCHES.to_owned();
        call.args = vec![text, pattern];
        Ok(())
    }

    fn comprehension(
        &mut self,
        comprehension: &mut ComprehensionExpr,
        place: Place,
    ) -> Result<(), String> {
        self.walk(&mut comprehension.iter_range, place)?;
        let inside = Place {
            loops: place.loops + 1,
            ..place
        };
        if inside.loops > MOST_NESTED {
            return Err(format!(
                "comprehensions (all, exists, map, filter …) must not be nested more than {MOST_NESTED} \
                 levels deep"
            ));
        }
        let outer = self.bound.len();
        self.bound.push(comprehension.iter_var.clone());
        self.bound.push(comprehension.accu_var.clone());
        self.bound.extend(comprehension.iter_var2.clone());
        for part in [
            &mut comprehension.accu_init,
            &mut comprehension.loop_cond,
            &mut comprehension.loop_step,
            &mut comprehension.result,
        ] {
            self.walk(part, inside)?;
        }
        self.bound.truncate(outer);
        charge(&mut comprehension.iter_range);
        Ok(())
    }

    fn read(&mut self, name: &str, segments: Vec<Segment>) {
        // Ours, put there by `precompile`.
        if name.starts_with('@') {
            return;
        }
        let at = self.uses.iter().position(|used| used.name == name);
        let at = at.unwrap_or_else(|| {
            self.uses.push(Use {
                name: name.to_owned(),
                shape: Shape::Parts(BTreeMap::new()),
            });
            self.uses.len() - 1
        });
        self.uses[at].shape.read(&segments);
        let path = match Root::parse(name) {
            Some(root) => Path::new(root, segments),
            None => {
                let first = Segment::Key(name.to_owned());
                Path::new(Root::Data, [vec![first], segments].concat())
            }
        };
        if let Some(path) = path
            && !self.paths.contains(&path)
        {
            self.paths.push(path);
        }
    }
}

impl Shape {
    fn read(&mut self, segments: &[Segment]) {
        match (segments.split_first(), &mut *self) {
            (_, Self::Whole) => {}
            (Some((Segment::Key(key), rest)), Self::Parts(parts)) => parts
                .entry(key.clone())
                .or_insert_with(|| Self::Parts(BTreeMap::new()))
                .read(rest),
            _ => *self = Self::Whole,
        }
    }
}

/// The variable and the constant way down from it, if that is all an expression is.
fn chain(mut expr: &Expr) -> Option<(&str, Vec<Segment>)> {
    let mut segments = Vec::new();
    loop {
        match expr {
            Expr::Ident(name) => {
                segments.reverse();
                return Some((name, segments));
            }
            Expr::Select(select) => {
                segments.push(Segment::Key(select.field.clone()));
                expr = &select.operand.expr;
            }
            Expr::Call(call) if call.func_name == operators::INDEX => {
                let [
                    operand,
                    Expression {
                        expr: Expr::Literal(index),
                        ..
                    },
                ] = &call.args[..]
                else {
                    return None;
                };
                segments.push(match index {
                    LiteralValue::String(key) => Segment::Key(key.inner().to_owned()),
                    LiteralValue::Int(at) => Segment::Index(usize::try_from(*at.inner()).ok()?),
                    _ => return None,
                });
                expr = &operand.expr;
            }
            _ => return None,
        }
    }
}

/// Wraps the range of a comprehension in a call that charges it to the budget.
fn charge(range: &mut Expression) {
    let id = range.id;
    let inner = std::mem::take(range);
    let budget = Expression {
        id,
        expr: Expr::Ident(limits::BUDGET.to_owned()),
    };
    *range = Expression {
        id,
        expr: Expr::Call(CallExpr {
            func_name: limits::CHARGE.to_owned(),
            target: None,
            args: vec![inner, budget],
        }),
    };
}

fn check_function(name: &str) -> Result<(), String> {
    let is_operator = !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if is_operator || FUNCTIONS.contains(&name) {
        return Ok(());
    }
    if MACROS.contains(&name) {
        return Err(format!("`{name}` is called with the wrong arguments"));
    }
    let hint = did_you_mean(name, FUNCTIONS.iter().chain(MACROS).copied());
    Err(format!("there is no function `{name}`.{hint}"))
}
