//! Conditions of transitions. Invariant: judging one never fails and never changes a type: what is missing
//! or of another kind simply does not satisfy it.

pub(crate) mod check;
mod compare;
mod evaluate;
mod operator;
mod parse;
mod schema;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use regex::Regex;
use serde_json::Value;

use crate::cel::Cel;
use crate::known::Known;
use crate::problem::Problem;
use crate::scope::{Path, Root, Scope, Segment};
use operator::Test;

pub use schema::schema;

/// A parsed condition.
#[derive(Debug, Clone)]
pub struct Condition(Node);

#[derive(Debug, Clone)]
enum Node {
    Compare(Box<Comparison>),
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Cel(Cel),
}

#[derive(Debug, Clone)]
struct Comparison {
    field: Path,
    test: Test,
    /// Holds where the test does not: also where the field is missing.
    negated: bool,
    /// The operator, as it was written.
    word: &'static str,
    operand: Operand,
}

#[derive(Debug, Clone)]
enum Operand {
    /// The test needs none.
    Nothing,
    Value(Value),
    Field(Path),
    Pattern(Regex),
    Instant(DateTime<Utc>),
}

/// What judging a condition came to, and what it saw: kept with the log as the explanation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdict {
    pub holds: bool,
    /// Path and value of each operand that was looked at; a value over 256 bytes is described instead.
    pub seen: Vec<(String, Value)>,
    /// Paths that led nowhere.
    pub missing: Vec<String>,
    /// Why an expression could not be evaluated; then the whole condition does not hold.
    pub error: Option<String>,
}

impl Condition {
    /// Reads a condition that stands at `path`, with all that is wrong with it.
    pub fn parse(source: &Value, path: &str) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        match parse::node(source, path, &mut problems) {
            Some(node) if problems.is_empty() => Ok(Self(node)),
            _ => Err(problems),
        }
    }

    /// Warns of comparisons that can only come out one way, by what is `known` of the values at paths. The
    /// condition stands at `path`.
    pub(crate) fn check(
        &self,
        known: &dyn Fn(&Path) -> Known,
        path: &str,
        problems: &mut Vec<Problem>,
    ) {
        check::Check { known, problems }.node(&self.0, path);
    }

    /// Judges it.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Verdict {
        let mut verdict = Verdict::default();
        match evaluate::node(&self.0, scope, &mut verdict) {
            Ok(holds) => verdict.holds = holds,
            Err(error) => verdict.error = Some(error),
        }
        verdict
    }

    /// Whether it mentions `step.status` or `step.error`: its transition is then a catch, judged only
    /// after a failure.
    pub fn names_failure(&self) -> bool {
        self.paths().into_iter().any(|path| {
            path.root() == Root::Step
                && matches!(&path.segments()[0], Segment::Key(key) if key == "status" || key == "error")
        })
    }

    /// Every path that it mentions.
    pub fn paths(&self) -> Vec<&Path> {
        let mut paths = Vec::new();
        self.0.collect_paths(&mut paths);
        paths
    }
}

impl Node {
    fn collect_paths<'n>(&'n self, paths: &mut Vec<&'n Path>) {
        match self {
            Self::Compare(comparison) => {
                paths.push(&comparison.field);
                if let Operand::Field(path) = &comparison.operand {
                    paths.push(path);
                }
            }
            Self::All(nodes) | Self::Any(nodes) => {
                nodes.iter().for_each(|node| node.collect_paths(paths));
            }
            Self::Not(node) => node.collect_paths(paths),
            Self::Cel(expression) => paths.extend(expression.paths()),
        }
    }
}
