//! CEL expressions. Invariant: neither reading nor evaluating one can overflow the stack, panic, or take
//! more than a fraction of a second, whatever its source and whatever the data; and the same data always
//! gives the same result, or the same error.

mod analyse;
mod convert;
mod limits;
mod types;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use ::cel::parser::{Expression, Parser};
use ::cel::{Context, Env};
use serde_json::Value;

use crate::known::Types;
use crate::scope::{Path, Scope};
use crate::text::clean;
use analyse::Use;
use limits::{Budget, Pattern};

/// Longest source, in bytes.
const LONGEST: usize = 2048;
/// The parser's recursion on the worst source that is short enough takes 1.8 MiB unoptimised (measured).
const PARSER_STACK: usize = 16 * 1024 * 1024;

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::default().with_optional_support(false).with_stdlib();
    limits::declare(&mut env);
    Arc::new(env)
});

/// A parsed expression.
///
/// It sees `data`, `steps`, `step`, `execution`, `client`, and the fields of `data` by their plain names.
#[derive(Debug, Clone)]
pub struct Cel(Arc<Parsed>);

#[derive(Debug)]
struct Parsed {
    source: String,
    expression: Expression,
    /// What it reads, so that only that is converted.
    uses: Vec<Use>,
    /// The same as paths, as far as they are known without evaluating.
    paths: Vec<Path>,
    /// Compiled expressions of its `matches` calls.
    patterns: Vec<Pattern>,
}

impl Cel {
    /// Parses a source of at most 2 KiB, with comprehensions nested at most twice.
    pub fn parse(source: &str) -> Result<Self, String> {
        if source.len() > LONGEST {
            return Err(format!("must not be longer than {LONGEST} bytes"));
        }
        if source.trim().is_empty() {
            return Err("must not be empty".to_owned());
        }
        std::thread::scope(|threads| {
            std::thread::Builder::new()
                .stack_size(PARSER_STACK)
                .spawn_scoped(threads, || parse(source))
                .map_err(|error| format!("cannot be parsed now: {error}"))?
                .join()
                .unwrap_or_else(|_| Err("cannot be parsed".to_owned()))
        })
        .map(|parsed| Self(Arc::new(parsed)))
    }

    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The paths that it reads, as far as they are known without evaluating.
    pub fn paths(&self) -> &[Path] {
        &self.0.paths
    }

    /// The types that a result can have, as far as the source tells.
    pub fn types(&self) -> Types {
        types::of(&self.0.expression)
    }

    /// Evaluates to plain JSON. Errors are texts for people: a missing field, operands of different
    /// types, a list of more than 1000 items to go through.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, String> {
        // The interpreter is not ours: its panic must fail this expression, not the caller's whole batch.
        catch_unwind(AssertUnwindSafe(|| self.run(scope)))
            .unwrap_or_else(|_| Err("cannot be evaluated".to_owned()))
    }

    fn run(&self, scope: &Scope<'_>) -> Result<Value, String> {
        let mut context = Context::with_env(Arc::clone(&ENV));
        for used in &self.0.uses {
            if let Some(value) = convert::used(used, scope) {
                // Converting a document costs as much as going through it.
                scope.effort.spend(limits::weight(value.as_ref()));
                context.add_variable_as_val(used.name.as_str(), value);
            }
        }
        context.add_variable_as_val(limits::BUDGET, Box::new(Budget::of(scope.effort)));
        for (at, pattern) in self.0.patterns.iter().enumerate() {
            context.add_variable_as_val(limits::pattern_name(at), Box::new(pattern.clone()));
        }
        // Not `resolve_val`: being inlined, it would recurse in frames of this crate, which a debug build
        // leaves unoptimised and ten times as large.
        let value = ::cel::Value::resolve(&self.0.expression, &context)
            .map_err(|error| convert::explain(&error))?;
        convert::to_json(&value)
    }
}

fn parse(source: &str) -> Result<Parsed, String> {
    let mut expression = Parser::new().parse(source).map_err(|errors| {
        let first = errors.errors.first();
        let message = first.map_or("malformed", |error| &error.msg);
        // Some of the parser's words are its own internals.
        if message.contains("source: ") {
            return "is not a CEL expression, or is nested too deeply".to_owned();
        }
        clean(message, 300)
    })?;
    let analysis = analyse::analyse(&mut expression)?;
    Ok(Parsed {
        source: source.to_owned(),
        expression,
        uses: analysis.uses,
        paths: analysis.paths,
        patterns: analysis.patterns,
    })
}

#[cfg(test)]
mod tests;
