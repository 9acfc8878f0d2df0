//! Rows as messages. Invariant: what a row tells is derived from its own sum.

use std::collections::{BTreeMap, HashMap};

use model::wire::timestamp;
use prost_types::Timestamp;
use proto::reporting::v1 as pb;
use proto::reporting::v1::query_figures::Of;
use uuid::Uuid;

use crate::projection::figures::{Figures, Grain};
use crate::projection::metrics::{Durations, incident_time};
use crate::projection::number::{Millis, rate};
use crate::projection::period::midnight;
use crate::projection::phase::Phase;
use crate::query::{Cell, Dimension, Key, Question, Row, aligned, differences};
use crate::rpc::reports::count;

/// By id, as text.
type Names = HashMap<String, String>;
type Rows = BTreeMap<Vec<Key>, Row>;

/// What a reader wants to know the names of.
pub fn named(rows: &Rows, question: &Question) -> impl Iterator<Item = Uuid> {
    let mut ids: Vec<Uuid> = Vec::new();
    for (keys, row) in rows {
        for (dimension, key) in question.group_by.iter().zip(keys) {
            if let (false, Key::Id(id)) = (*dimension == Dimension::Transition, key) {
                ids.push(*id);
            }
        }
        let cells = [&row.own, &row.other].into_iter().flatten();
        ids.extend(cells.filter_map(|cell| cell.from_step_id));
    }
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter()
}

pub fn rows(question: &Question, rows: &Rows, names: &Names) -> Vec<pb::QueryRow> {
    let grain = question.grain();
    let figures = |cell: &Option<Cell>| cell.as_ref().map(|cell| self::figures(grain, cell, names));
    let compares = question.other.is_some();
    let show = |(keys, row): (&Vec<Key>, &Row)| pb::QueryRow {
        keys: Some(self::keys(question, keys, names)),
        figures: figures(&row.own),
        compared: figures(&row.other),
        compared_period_start: compared_period(question, keys),
        differences: match compares {
            true => told(grain, row),
            false => HashMap::new(),
        },
    };
    rows.iter().map(show).collect()
}

fn told(grain: Grain, row: &Row) -> HashMap<String, pb::FigureDifference> {
    let shown = |difference: crate::query::Difference| pb::FigureDifference {
        absolute: difference.absolute,
        relative: difference.relative,
    };
    let differences = differences(grain, row).into_iter();
    differences
        .map(|(name, own)| (name.to_owned(), shown(own)))
        .collect()
}

/// Where the period begins that stands beside the row's own.
fn compared_period(question: &Question, keys: &[Key]) -> Option<Timestamp> {
    let other = question.other.as_ref()?;
    let (at, period) = question.period()?;
    let Key::Day(day) = keys[at] else {
        return None;
    };
    let beside = aligned(period, day, question.side.first, other.first);
    (beside != day).then(|| timestamp(midnight(beside)))
}

fn keys(question: &Question, keys: &[Key], names: &Names) -> pb::QueryKeys {
    let mut told = pb::QueryKeys::default();
    let name = |id: &String| names.get(id).cloned().unwrap_or_default();
    for (dimension, key) in question.group_by.iter().zip(keys) {
        match (dimension, key) {
            (Dimension::Workflow, Key::Id(id)) => {
                told.workflow_id = id.to_string();
                told.workflow_name = name(&told.workflow_id);
            }
            (Dimension::Client, Key::Id(id)) => {
                told.client_id = id.to_string();
                told.client_name = name(&told.client_id);
            }
            (Dimension::Step, Key::Id(id)) => {
                told.step_id = id.to_string();
                told.step_name = name(&told.step_id);
            }
            (_, Key::Id(id)) => told.transition_id = id.to_string(),
            (Dimension::Version, Key::Number(version)) => told.version = *version,
            (Dimension::Weekday, Key::Number(weekday)) => told.weekday = *weekday,
            (_, Key::Number(hour)) => told.hour = Some(*hour),
            (_, Key::Name(group)) => told.group = Some(group.clone()),
            (_, Key::Day(first)) => told.period_start = Some(timestamp(midnight(*first))),
        }
    }
    told
}

fn figures(grain: Grain, cell: &Cell, names: &Names) -> pb::QueryFigures {
    let figures = &cell.figures;
    let of = match grain {
        Grain::Execution | Grain::Hour => Of::Executions(executions(figures)),
        Grain::Step => Of::Steps(steps(figures)),
        Grain::Transition => Of::Transitions(transitions(cell, names)),
        Grain::Group => Of::Tasks(tasks(figures)),
    };
    pb::QueryFigures { of: Some(of) }
}

fn executions(figures: &Figures) -> pb::QueriedExecutions {
    let times = Durations::of(&figures.times, figures.completed);
    pb::QueriedExecutions {
        total_executions: count(figures.total),
        completed_executions: count(figures.completed),
        failed_executions: count(figures.failed),
        cancelled_executions: count(figures.cancelled),
        running_executions: count(figures.running()),
        success_rate: rate(figures.completed, figures.completed + figures.failed),
        average_execution_time: times.average.map(Millis::as_f64),
        min_execution_time: times.min.map(Millis::as_f64),
        max_execution_time: times.max.map(Millis::as_f64),
        p50_execution_time: times.p50.map(Millis::as_f64),
        p90_execution_time: times.p90.map(Millis::as_f64),
        p95_execution_time: times.p95.map(Millis::as_f64),
        p99_execution_time: times.p99.map(Millis::as_f64),
        targets_met: count(figures.targets_met),
        targets_missed: count(figures.targets_missed),
    }
}

fn steps(figures: &Figures) -> pb::QueriedSteps {
    let times = Durations::of(&figures.times, figures.completed);
    let phases = figures.phases.taken();
    pb::QueriedSteps {
        activations: count(figures.total),
        completed: count(figures.completed),
        failed: count(figures.failed),
        skipped: count(figures.skipped),
        retries: count(figures.retries),
        average_time: times.average.map(Millis::as_f64),
        min_time: times.min.map(Millis::as_f64),
        max_time: times.max.map(Millis::as_f64),
        p50_time: times.p50.map(Millis::as_f64),
        p90_time: times.p90.map(Millis::as_f64),
        p95_time: times.p95.map(Millis::as_f64),
        p99_time: times.p99.map(Millis::as_f64),
        phases: phases
            .map(|(phase, time)| (phase.as_str().to_owned(), time.as_f64()))
            .collect(),
        incidents: count(figures.incidents),
        average_incident_time: incident_time(figures).map(Millis::as_f64),
        targets_met: count(figures.targets_met),
        targets_missed: count(figures.targets_missed),
    }
}

fn transitions(cell: &Cell, names: &Names) -> pb::QueriedTransitions {
    let figures = &cell.figures;
    let from = cell
        .from_step_id
        .map(|id| id.to_string())
        .unwrap_or_default();
    pb::QueriedTransitions {
        from_step_name: names.get(&from).cloned().unwrap_or_default(),
        from_step_id: from,
        taken: count(figures.total),
        share: rate(figures.total, cell.leaving),
        default_share: rate(figures.defaults, figures.total),
    }
}

fn tasks(figures: &Figures) -> pb::QueriedTasks {
    let [unassigned, with_person] =
        [Phase::Unassigned, Phase::WithPerson].map(|phase| figures.phases.get(phase));
    let mean = |time| Millis::mean(time, figures.total).map(Millis::as_f64);
    pb::QueriedTasks {
        tasks: count(figures.total),
        completed: count(figures.completed),
        failed: count(figures.failed),
        skipped: count(figures.skipped),
        unassigned_time: Millis(unassigned).as_f64(),
        person_time: Millis(with_person).as_f64(),
        average_unassigned_time: mean(unassigned),
        average_person_time: mean(with_person),
    }
}
