//! What a run prints. Invariant: a violation is never left out.

use std::fmt::Write;
use std::time::Duration;

/// What came of one scenario.
#[derive(Debug, Default)]
pub struct Row {
    pub scenario: &'static str,
    pub faults: u64,
    pub executions: i64,
    pub ok: u64,
    pub refused: u64,
    pub unknown: u64,
    /// From the last fault until everything was over, counted and reported.
    pub recovery: Option<Duration>,
    pub took: Duration,
    pub violations: Vec<String>,
}

pub fn head(seed: u64) -> String {
    format!(
        "seed {seed}\n{:<12} {:>7} {:>10} {:>8} {:>8} {:>8} {:>10} {:>8} {:>10}",
        "scenario",
        "faults",
        "executions",
        "OK",
        "refused",
        "unknown",
        "recovery",
        "took",
        "violations"
    )
}

pub fn line(row: &Row) -> String {
    let recovery = match row.recovery {
        Some(time) => format!("{:.1} s", time.as_secs_f64()),
        None => "-".to_owned(),
    };
    format!(
        "{:<12} {:>7} {:>10} {:>8} {:>8} {:>8} {:>10} {:>8} {:>10}",
        row.scenario,
        row.faults,
        row.executions,
        row.ok,
        row.refused,
        row.unknown,
        recovery,
        format!("{:.0} s", row.took.as_secs_f64()),
        row.violations.len()
    )
}

pub fn foot(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        for violation in &row.violations {
            let _ = writeln!(text, "{}: {violation}", row.scenario);
        }
    }
    let count: usize = rows.iter().map(|row| row.violations.len()).sum();
    let (faults, executions) = rows.iter().fold((0, 0), |(faults, executions), row| {
        (faults + row.faults, executions + row.executions)
    });
    let _ = writeln!(
        text,
        "{faults} faults, {executions} executions, {count} violations"
    );
    text
}
