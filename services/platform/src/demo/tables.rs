//! Writes reports as tables for people. Formats only: every figure comes from an answer.

use std::fmt::{self, Display, Formatter};

use chrono::DateTime;
use proto::reporting::v1::{ExecutionFigures, ReportType, StepFigures, SummarizeReportsResponse};

use super::reports::{Counts, Periods};

/// More rows than this help nobody on a screen; the API has them all.
const MOST_ROWS: usize = 20;

/// Rows of text under a heading; the first column to the left, the others to the right.
#[derive(Debug)]
struct Table {
    title: &'static str,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(title: &'static str, heading: &[&str]) -> Self {
        let heading = heading.iter().map(|&text| text.to_owned()).collect();
        Self {
            title,
            rows: vec![heading],
        }
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        writeln!(f, "\n{}", self.title)?;
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::from("  ");
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                match column {
                    0 => line.push_str(&format!("{cell:<width$}")),
                    _ => line.push_str(&format!("  {cell:>width$}")),
                }
            }
            writeln!(f, "{}", line.trim_end())?;
            if number == 0 {
                let all = widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1);
                writeln!(f, "  {}", "-".repeat(all))?;
            }
        }
        Ok(())
    }
}

/// The summary and the periods, one table after another.
pub fn render(summary: &SummarizeReportsResponse, periods: &Periods) -> String {
    let mut text = String::new();
    let total = summary.total.as_slice();
    for (title, figures) in [
        ("All executions", total),
        ("By workflow", &summary.by_workflow[..]),
        ("By client", &summary.by_client[..]),
    ] {
        text.push_str(&executions(title, figures).to_string());
    }
    text.push_str(&steps(summary).to_string());
    text.push_str(&by_period(periods).to_string());
    text
}

fn executions(title: &'static str, figures: &[ExecutionFigures]) -> Table {
    let heading = [
        "",
        "executions",
        "completed",
        "failed",
        "cancelled",
        "running",
        "success",
        "average",
        "p50",
        "p95",
        "p99",
    ];
    let mut table = Table::new(title, &heading);
    for one in figures.iter().take(MOST_ROWS) {
        let mut row = vec![name(&one.name, &one.id)];
        row.extend(counts(Counts::of(one)));
        row.push(percent(one.success_rate));
        row.extend(
            [
                one.average_execution_time,
                one.p50_execution_time,
                one.p95_execution_time,
                one.p99_execution_time,
            ]
            .map(time),
        );
        table.rows.push(row);
    }
    table
}

fn steps(summary: &SummarizeReportsResponse) -> Table {
    let heading = [
        "",
        "activations",
        "completed",
        "failed",
        "skipped",
        "retries",
        "success",
        "average",
        "p50",
        "p95",
        "p99",
    ];
    let mut table = Table::new("By step", &heading);
    for workflow in summary.by_workflow.iter().take(MOST_ROWS) {
        table.rows.push(vec![name(&workflow.name, &workflow.id)]);
        let of_workflow = |step: &&StepFigures| step.workflow_id == workflow.id;
        for step in summary.by_step.iter().filter(of_workflow) {
            let mut row = vec![format!("  {}", name(&step.name, &step.step_id))];
            let counts = [
                step.activations,
                step.completed,
                step.failed,
                step.skipped,
                step.retries,
            ];
            row.extend(counts.map(|count| count.to_string()));
            row.push(percent(step.success_rate));
            row.extend(
                [
                    step.average_time,
                    step.p50_time,
                    step.p95_time,
                    step.p99_time,
                ]
                .map(time),
            );
            table.rows.push(row);
        }
    }
    table
}

fn by_period(periods: &Periods) -> Table {
    let heading = [
        "",
        "executions",
        "completed",
        "failed",
        "cancelled",
        "running",
    ];
    let mut table = Table::new("By period of the start (the demo's workflows)", &heading);
    for ((kind, start), figures) in periods.iter().rev().take(MOST_ROWS).rev() {
        let format = match kind {
            ReportType::Daily => "day    %Y-%m-%d",
            ReportType::Weekly => "week   %G-W%V",
            _ => "month  %Y-%m",
        };
        let start = DateTime::from_timestamp(*start, 0).unwrap_or_default();
        let mut row = vec![start.format(format).to_string()];
        row.extend(counts(*figures));
        table.rows.push(row);
    }
    table
}

fn counts(of: Counts) -> [String; 5] {
    [of.total, of.completed, of.failed, of.cancelled, of.open].map(|count| count.to_string())
}

fn name(name: &str, id: &str) -> String {
    if name.is_empty() {
        id.to_owned()
    } else {
        name.to_owned()
    }
}

fn percent(rate: Option<f64>) -> String {
    rate.map_or("-".into(), |rate| format!("{:.1} %", rate * 100.0))
}

/// Milliseconds, in the unit that a person would say.
fn time(milliseconds: Option<f64>) -> String {
    match milliseconds {
        None => "-".into(),
        Some(ms) if ms < 1000.0 => format!("{ms:.0} ms"),
        Some(ms) if ms < 120_000.0 => format!("{:.2} s", ms / 1000.0),
        Some(ms) if ms < 7_200_000.0 => format!("{:.1} min", ms / 60_000.0),
        Some(ms) => format!("{:.1} h", ms / 3_600_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_to_the_right() {
        let mut table = Table::new("Figures", &["", "n"]);
        table.rows.push(vec!["a workflow".into(), "300".into()]);
        table.rows.push(vec!["b".into(), "7".into()]);
        let lines: Vec<String> = table.to_string().lines().map(str::to_owned).collect();
        assert_eq!(lines[4], "  a workflow  300");
        assert_eq!(lines[5], "  b             7");
    }

    #[test]
    fn times_take_a_unit_that_fits() {
        let check = |ms: f64, expected: &str| assert_eq!(time(Some(ms)), expected);
        check(12.4, "12 ms");
        check(1500.0, "1.50 s");
        check(600_000.0, "10.0 min");
        check(36_000_000.0, "10.0 h");
        assert_eq!(time(None), "-");
    }
}
