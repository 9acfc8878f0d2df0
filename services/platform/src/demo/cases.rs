//! What the executions are about: the input of the n-th one, from which people and workers read their
//! answers. The same n always gives the same case, and every outcome occurs among the first [`FEWEST`].

use serde_json::{Map, Value, json};

/// The documents, in the order in which the cases name them.
pub const DOCUMENTS: [&str; 3] = [
    include_str!("workflows/client-onboarding.yaml"),
    include_str!("workflows/support-ticket.yaml"),
    include_str!("workflows/invoice-processing.yaml"),
];

/// Fewer executions would leave an outcome out.
pub const FEWEST: u32 = 30;

/// One execution to be.
#[derive(Debug)]
pub struct Case {
    /// Position in [`DOCUMENTS`].
    pub workflow: usize,
    pub input: Map<String, Value>,
    /// Whether it is cancelled right after its start.
    pub cancel: bool,
}

/// How an execution is meant to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Everybody does what they should.
    Smooth,
    /// The worker fails the first attempt of each job; the second succeeds.
    Retried,
    /// What was handed in has gaps, so the way to the approval is not taken.
    Incomplete,
    /// The person who decides says no.
    Rejected,
    /// The worker fails every attempt: the execution FAILS.
    Exhausted,
    Cancelled,
}

/// The n-th case, from 0.
pub fn nth(n: u32) -> Case {
    let workflow = n as usize % DOCUMENTS.len();
    let k = n / 3;
    let fate = match (k % 10, k % 30) {
        (1, _) => Fate::Retried,
        (3, _) => Fate::Incomplete,
        (6, _) => Fate::Rejected,
        (8, 8) => Fate::Exhausted,
        (9, 9) => Fate::Cancelled,
        _ => Fate::Smooth,
    };
    let mut input = match workflow {
        0 => onboarding(k, fate),
        1 => ticket(k, fate),
        _ => invoice(k, fate),
    };
    let failing = match fate {
        Fate::Retried => 1,
        Fate::Exhausted => 1000,
        _ => 0,
    };
    input.insert("failingAttempts".into(), failing.into());
    Case {
        workflow,
        input,
        cancel: fate == Fate::Cancelled,
    }
}

fn onboarding(k: u32, fate: Fate) -> Map<String, Value> {
    let documents = match fate {
        Fate::Incomplete => json!(["id", "contract"]),
        _ => json!(["id", "contract", "tax_form"]),
    };
    let risk = if fate == Fate::Rejected {
        90
    } else {
        k * 7 % 70
    };
    object(json!({
        "company": format!("Company {k}"),
        "employees": 5 + k * 13 % 400,
        "riskScore": risk,
        "documents": documents,
    }))
}

fn ticket(k: u32, fate: Fate) -> Map<String, Value> {
    let priority = if k.is_multiple_of(2) { "high" } else { "low" };
    object(json!({
        "ticket": format!("T-{:05}", 10_000 + k),
        "subject": "Cannot sign in",
        "priority": priority,
        "satisfied": fate != Fate::Rejected,
    }))
}

fn invoice(k: u32, fate: Fate) -> Map<String, Value> {
    let amount = if fate == Fate::Rejected {
        25_000
    } else {
        100 + k * 379 % 9000
    };
    let vendor = if fate == Fate::Incomplete {
        ""
    } else {
        "Paper and Pens"
    };
    object(json!({
        "invoice": format!("INV-{:05}", 10_000 + k),
        "vendor": vendor,
        "amount": amount,
        "date": "2026-01-15",
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_occurs_in_every_workflow_among_the_fewest() {
        for workflow in 0..DOCUMENTS.len() {
            let cases: Vec<Case> = (0..FEWEST)
                .map(nth)
                .filter(|case| case.workflow == workflow)
                .collect();
            let failing = |n: i64| cases.iter().any(|case| case.input["failingAttempts"] == n);
            assert!(failing(0) && failing(1) && failing(1000));
            assert!(cases.iter().any(|case| case.cancel));
        }
    }
}
