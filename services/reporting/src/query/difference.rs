//! What the figures of two sides differ by. Invariant: differences are of the sums' own figures, and rounded once.

use crate::projection::figures::{Figures, Grain};
use crate::projection::metrics::Durations;
use crate::projection::number::Millis;
use crate::projection::phase::Phase;

use super::{Cell, Row};

/// Of one figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// In the figure's unit.
    pub absolute: f64,
    /// A part of that which it is compared with; none of nothing.
    pub relative: Option<f64>,
}

/// A figure, and to how many decimals its differences are told.
struct Measure {
    name: &'static str,
    value: Option<f64>,
    decimals: i32,
}

/// Of a row's main figures, by the names that they have in reports. A side without figures has counts of 0.
pub fn differences(grain: Grain, row: &Row) -> Vec<(&'static str, Difference)> {
    let nothing = Cell::default();
    let [own, other] = [&row.own, &row.other].map(|cell| cell.as_ref().unwrap_or(&nothing));
    let both = measures(grain, own).into_iter().zip(measures(grain, other));
    both.filter_map(|(own, other)| Some((own.name, own.difference(&other)?)))
        .collect()
}

fn measures(grain: Grain, cell: &Cell) -> Vec<Measure> {
    let figures = &cell.figures;
    match grain {
        Grain::Execution | Grain::Hour => of_executions(figures),
        Grain::Step => of_steps(figures),
        Grain::Transition => vec![
            count("taken", figures.total),
            part("share", figures.total, cell.leaving),
            part("defaultShare", figures.defaults, figures.total),
        ],
        Grain::Group => {
            let mean = |phase| Millis::mean(figures.phases.get(phase), figures.total);
            vec![
                count("tasks", figures.total),
                time("averageUnassignedTime", mean(Phase::Unassigned)),
                time("averagePersonTime", mean(Phase::WithPerson)),
            ]
        }
    }
}

fn of_executions(figures: &Figures) -> Vec<Measure> {
    let times = Durations::of(&figures.times, figures.completed);
    let over = figures.completed + figures.failed;
    vec![
        count("totalExecutions", figures.total),
        count("completedExecutions", figures.completed),
        count("failedExecutions", figures.failed),
        count("cancelledExecutions", figures.cancelled),
        part("successRate", figures.completed, over),
        time("averageExecutionTime", times.average),
        time("p50ExecutionTime", times.p50),
        time("p95ExecutionTime", times.p95),
        count("targetsMissed", figures.targets_missed),
    ]
}

fn of_steps(figures: &Figures) -> Vec<Measure> {
    let times = Durations::of(&figures.times, figures.completed);
    vec![
        count("activations", figures.total),
        count("completed", figures.completed),
        count("failed", figures.failed),
        count("skipped", figures.skipped),
        count("retries", figures.retries),
        count("incidents", figures.incidents),
        time("averageTime", times.average),
        time("p50Time", times.p50),
        time("p95Time", times.p95),
        count("targetsMissed", figures.targets_missed),
    ]
}

fn count(name: &'static str, count: u64) -> Measure {
    Measure {
        name,
        value: Some(count as f64),
        decimals: 0,
    }
}

fn time(name: &'static str, time: Option<Millis>) -> Measure {
    Measure {
        name,
        value: time.map(Millis::as_f64),
        decimals: 3,
    }
}

fn part(name: &'static str, part: u64, whole: u64) -> Measure {
    Measure {
        name,
        value: (whole > 0).then(|| part as f64 / whole as f64),
        decimals: 6,
    }
}

impl Measure {
    fn difference(&self, other: &Self) -> Option<Difference> {
        let (own, other) = (self.value?, other.value?);
        let absolute = own - other;
        Some(Difference {
            absolute: rounded(absolute, self.decimals),
            relative: (other > 0.0).then(|| rounded(absolute / other, 6)),
        })
    }
}

fn rounded(number: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (number * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(total: u64, completed: u64, micros: &[u64]) -> Cell {
        let mut cell = Cell::default();
        cell.figures.total = total;
        cell.figures.completed = completed;
        cell.figures.failed = total - completed;
        micros
            .iter()
            .for_each(|micros| cell.figures.times.add(*micros));
        cell
    }

    fn told(row: &Row) -> Vec<(&'static str, f64, Option<f64>)> {
        let all = differences(Grain::Execution, row).into_iter();
        all.map(|(name, it)| (name, it.absolute, it.relative))
            .collect()
    }

    #[test]
    fn a_difference_is_what_is_more_than_on_the_other_side() {
        let row = Row {
            own: Some(cell(3, 2, &[12_345, 20_001])),
            other: Some(cell(4, 1, &[12_344])),
        };
        assert_eq!(
            told(&row),
            [
                ("totalExecutions", -1.0, Some(-0.25)),
                ("completedExecutions", 1.0, Some(1.0)),
                ("failedExecutions", -2.0, Some(-0.666_667)),
                ("cancelledExecutions", 0.0, None),
                // 2/3 - 1/4
                ("successRate", 0.416_667, Some(1.666_667)),
                // 16.173 - 12.344
                ("averageExecutionTime", 3.829, Some(0.310_191)),
                // The other side has one duration; on this side a bucket answers, 12.46 for 12.345.
                ("p50ExecutionTime", 0.116, Some(0.009_397)),
                ("p95ExecutionTime", 7.657, Some(0.620_301)),
                ("targetsMissed", 0.0, None),
            ]
        );
    }

    #[test]
    fn a_side_without_figures_counts_nothing_and_took_no_time() {
        let row = Row {
            own: None,
            other: Some(cell(4, 1, &[12_344])),
        };
        let told = told(&row);
        assert_eq!(told[0], ("totalExecutions", -4.0, Some(-1.0)));
        assert!(
            told.iter()
                .all(|(name, ..)| !name.ends_with("Time") && *name != "successRate")
        );
    }
}
