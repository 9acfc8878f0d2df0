//! What must be equal of a run and its simulation: everything but ids, times and who it was.

use anyhow::ensure;
use proto::execution::v1::{ExecutionLog, Explanation};
use serde_json::Value;

use super::Run;
use crate::story::{Outcome, plain};

/// Fails with the first difference.
pub fn same(real: &Run, simulated: &Run) -> Outcome {
    let end = |run: &Run| {
        let execution = &run.execution;
        let (code, error) = (&execution.error_code, &execution.error);
        (execution.status(), code.clone(), error.clone())
    };
    let lines = |run: &Run| run.logs.iter().map(line).collect::<Vec<_>>();
    let told = |run: &Run| run.explanations.iter().map(tell).collect::<Vec<_>>();
    let (one, other) = (lines(real), lines(simulated));
    ensure!(one == other, "really: {one:#?}\nsimulated: {other:#?}");
    let (one, other) = (end(real), end(simulated));
    ensure!(one == other, "really: {one:?}, simulated: {other:?}");
    let (one, other) = (told(real), told(simulated));
    for (one, other) in one.iter().zip(&other) {
        ensure!(one == other, "really: {one:#?}\nsimulated: {other:#?}");
    }
    ensure!(
        one.len() == real.logs.len() && other.len() == one.len(),
        "not everything is explained"
    );
    Ok(())
}

/// A log in a line.
pub fn line(log: &ExecutionLog) -> String {
    let mut data = plain(log.data.as_ref());
    if let Value::Object(data) = &mut data {
        data.remove("approver");
        data.remove("timestamp");
    }
    format!(
        "{} {} {}.{} {} {data} {} {:?} {}",
        log.seq,
        log.step_name,
        log.activation,
        log.attempt,
        log.status().as_str_name(),
        plain(log.route.as_ref()),
        log.error_code,
        log.error
    )
}

/// An explanation without ids of nothing stored, names and instants.
fn tell(explanation: &Explanation) -> Explanation {
    let mut told = explanation.clone();
    let text = told.text.replace("clerk@example.com", "simulation");
    let text = text.replace("admin@localhost", "simulation");
    let text = text.replace("\"story\"", "\"simulation\"");
    let words = text.split(' ').map(|word| match is_instant(word) {
        true => "an instant",
        false => word,
    });
    let words: Vec<&str> = words.collect();
    told.text = words.join(" ");
    told
}

fn is_instant(word: &str) -> bool {
    let date = word.as_bytes();
    date.len() >= 20 && date[4] == b'-' && date[10] == b'T' && date[0].is_ascii_digit()
}

/// The transitions that were taken.
pub fn taken(explanation: &Explanation) -> Vec<String> {
    let judged = explanation.judged.iter().filter(|judged| judged.taken);
    judged.map(|judged| judged.transition_id.clone()).collect()
}
