//! Executions as event logs. Invariant: a document is well formed whatever names hold, and is made piece by piece.

mod csv;
mod xes;

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use model::definition::Step;
use model::graph::Graph;
use uuid::Uuid;

use crate::store::exports::{self, Attempt};
use crate::who::who;

/// The form of a document.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Format {
    Xes,
    Csv,
}

/// An execution and what happened in it, in the order in which it ended.
pub struct Case {
    pub row: exports::Case,
    pub attempts: Vec<Attempt>,
    /// Of its version.
    pub graph: Arc<Graph>,
}

impl Case {
    /// What people know it by.
    fn name(&self) -> String {
        let key = self.row.business_key.clone();
        key.unwrap_or_else(|| self.row.id.to_string())
    }

    fn step(&self, attempt: &Attempt) -> Option<&Step> {
        let node = self.graph.node_of(attempt.step_id)?;
        self.graph.definition.steps.get(node)
    }
}

/// A line of a document.
type Line = String;

impl Format {
    /// How a document begins.
    pub fn open(self, workflow_id: Uuid) -> Line {
        match self {
            Self::Xes => xes::open(workflow_id),
            Self::Csv => csv::header(),
        }
    }

    /// What it tells of an execution.
    pub fn lines(self, case: &Case) -> Box<dyn Iterator<Item = Line> + Send + '_> {
        match self {
            Self::Xes => Box::new(xes::trace(case)),
            Self::Csv => Box::new(csv::rows(case)),
        }
    }

    /// How it ends.
    pub fn close(self) -> Line {
        match self {
            Self::Xes => xes::close(),
            Self::Csv => Line::new(),
        }
    }
}

fn resource(attempt: &Attempt) -> Option<String> {
    who(attempt.message.as_deref()?)
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
