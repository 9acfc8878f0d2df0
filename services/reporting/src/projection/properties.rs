//! What must hold for all events in all orders.

use std::collections::{BTreeMap, HashMap};

use chrono::NaiveDate;
use model::event::{Event, ExecutionEvents};
use model::status::ExecutionStatus;
use proptest::prelude::*;
use uuid::Uuid;

use super::figures::{DayKey, Figures, Grain};
use super::fold::{Change, Changes, Fault, Ledger, fold};
use super::metrics::Sums;
use super::period::{Period, ReportType};
use crate::recount::{Recount, differences};
use crate::tests::samples::{self, deliveries, histories};

/// Counts in memory as the service does in its tables.
#[derive(Default)]
struct Books {
    ledgers: HashMap<Uuid, Ledger>,
    held: Vec<ExecutionEvents>,
    figures: BTreeMap<DayKey, Change>,
}

impl Books {
    fn take(&mut self, batch: &[ExecutionEvents]) {
        let mut changes = Changes::default();
        let parts = [batch, &std::mem::take(&mut self.held)].concat();
        let mut groups: BTreeMap<Uuid, Vec<&ExecutionEvents>> = BTreeMap::new();
        for part in &parts {
            groups.entry(part.execution_id).or_default().push(part);
        }
        for (id, group) in groups {
            let (ledger, ahead) = fold(self.ledgers.remove(&id), group, &mut changes).unwrap();
            self.ledgers.extend(ledger.map(|ledger| (id, ledger)));
            self.held.extend(ahead.into_iter().cloned());
        }
        for (key, change) in changes.0 {
            let sum = self.figures.entry(key).or_default();
            sum.label = change.label;
            sum.figures.merge(&change.figures);
        }
    }
}

fn counted(histories: &[ExecutionEvents]) -> Books {
    let mut books = Books::default();
    books.take(histories);
    books
}

fn sums<'a>(figures: impl IntoIterator<Item = (&'a DayKey, &'a Change)>) -> Sums {
    let mut sums = Sums::default();
    for (key, sum) in figures {
        sums.add(key, &sum.label, &sum.figures);
    }
    sums
}

proptest! {
    #[test]
    fn any_order_grouping_and_repetition_give_the_same_figures(
        (histories, parts) in deliveries(),
        sizes in prop::collection::vec(1..6_usize, 1..200),
    ) {
        let mut books = Books::default();
        let mut rest = parts.as_slice();
        for size in sizes.iter().cycle() {
            let (batch, later) = rest.split_at((*size).min(rest.len()));
            books.take(batch);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        let at_once = counted(&histories);
        prop_assert!(books.held.is_empty());
        prop_assert_eq!(&books.figures, &at_once.figures);
        prop_assert_eq!(&books.ledgers, &at_once.ledgers);
        books.take(&parts);
        prop_assert_eq!(&books.figures, &at_once.figures);
    }

    #[test]
    fn periods_equal_an_independent_recount(histories in histories()) {
        let mut days: BTreeMap<(Uuid, NaiveDate), (Sums, Recount)> = BTreeMap::new();
        for (key, sum) in &counted(&histories).figures {
            let (sums, _) = days.entry((key.workflow_id, key.day)).or_default();
            sums.add(key, &sum.label, &sum.figures);
        }
        for history in &histories {
            let day = (history.workflow_id, history.started_at.date_naive());
            days.get_mut(&day).unwrap().1.add(history, usize::MAX);
        }
        for (sums, recount) in days.values() {
            let metrics = serde_json::to_value(sums.metrics()).unwrap();
            prop_assert_eq!(differences(&metrics, &recount.period()), Vec::new());
        }
    }

    #[test]
    fn execution_reports_equal_an_independent_recount(
        histories in histories(),
        known in 1..9_usize,
    ) {
        for history in &histories {
            let part = samples::part(history, 0, known.min(history.events.len()));
            let ledger = counted(&[part]).ledgers.remove(&history.execution_id).unwrap();
            let mut recount = Recount::default();
            recount.add(history, known);
            let metrics = serde_json::to_value(&ledger.metrics).unwrap();
            let found = differences(&metrics, &recount.execution(history, known));
            prop_assert_eq!(found, Vec::new());
        }
    }

    #[test]
    fn what_an_execution_added_is_told_by_its_report_alone(
        histories in histories(),
        known in 1..9_usize,
    ) {
        let parts: Vec<_> = histories
            .iter()
            .map(|history| samples::part(history, 0, known.min(history.events.len())))
            .collect();
        let books = counted(&parts);
        let mut contributed = Changes::default();
        for ledger in books.ledgers.values() {
            let text = serde_json::to_string(&ledger.metrics).unwrap();
            let metrics = serde_json::from_str(&text).unwrap();
            let read = Ledger { metrics, ..ledger.clone() };
            read.contribute(&mut contributed).unwrap();
        }
        prop_assert_eq!(&contributed.0, &books.figures);
    }

    #[test]
    fn days_add_up_to_weeks_and_months(histories in histories()) {
        let figures = counted(&histories).figures;
        let mut periods: BTreeMap<Period, Sums> = BTreeMap::new();
        for (key, own) in &figures {
            for period in Period::of_day(key.workflow_id, key.day) {
                periods.entry(period).or_default().add(key, &own.label, &own.figures);
            }
        }
        for (period, whole) in &periods {
            let days: Vec<NaiveDate> = period.days().collect();
            let daily = periods.iter().filter(|(day, _)| {
                day.report_type == ReportType::Daily
                    && day.workflow_id == period.workflow_id
                    && days.contains(&day.first)
            });
            let (mut total, mut completed, mut durations) = (0, 0, 0);
            for (_, day) in daily {
                total += day.executions.total;
                completed += day.executions.completed;
                durations += day.executions.times.sum;
            }
            let metrics = whole.metrics();
            prop_assert_eq!(metrics.executions.total_executions, total);
            prop_assert_eq!(metrics.executions.completed_executions, completed);
            prop_assert_eq!(whole.executions.times.sum, durations);
        }
    }

    #[test]
    fn sums_and_ledgers_survive_json(histories in histories()) {
        let books = counted(&histories);
        for sum in books.figures.values() {
            let text = serde_json::to_string(&sum.figures).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Figures>(&text).unwrap(), &sum.figures);
        }
        for ledger in books.ledgers.values() {
            let text = serde_json::to_string(&ledger.metrics).unwrap();
            prop_assert_eq!(&serde_json::from_str::<super::execution::ExecutionMetrics>(&text).unwrap(), &ledger.metrics);
        }
    }

    #[test]
    fn metrics_do_not_depend_on_the_order_of_addition(histories in histories()) {
        let figures = counted(&histories).figures;
        let text = |sums: Sums| serde_json::to_string(&sums.metrics()).unwrap();
        prop_assert_eq!(text(sums(&figures)), text(sums(figures.iter().rev())));
    }
}

fn fault(spoil: impl FnOnce(&mut ExecutionEvents)) -> Fault {
    let mut events = samples::simple(1, 5);
    spoil(&mut events);
    fold(None, vec![&events], &mut Changes::default()).unwrap_err()
}

#[test]
fn impossible_events_are_refused() {
    assert_eq!(fault(|own| own.first_seq = 0), Fault::Numbering);
    assert_eq!(fault(|own| own.first_seq = i32::MAX), Fault::Numbering);
    assert_eq!(
        fault(|own| own.events.insert(1, Event::Started)),
        Fault::Start
    );
    assert_eq!(fault(|own| drop(own.events.remove(0))), Fault::Start);
    assert_eq!(
        fault(|own| own.events.push(own.events[1].clone())),
        Fault::AfterEnd
    );
    assert_eq!(
        fault(|own| {
            let completed_at = own.started_at;
            own.events[2] = Event::Finished {
                status: ExecutionStatus::Running,
                completed_at,
                target: None,
            };
        }),
        Fault::Status
    );
}

#[test]
fn an_execution_does_not_change_its_workflow() {
    let history = samples::simple(1, 5);
    let mut changes = Changes::default();
    let first = samples::part(&history, 0, 1);
    let (ledger, _) = fold(None, vec![&first], &mut changes).unwrap();
    let mut second = samples::part(&history, 1, 3);
    second.workflow_id = Uuid::from_u128(7);
    assert_eq!(
        fold(ledger, vec![&second], &mut changes).unwrap_err(),
        Fault::OtherWorkflow
    );
}

#[test]
fn clocks_that_run_backwards_make_no_negative_time() {
    let history = samples::simple(1, -5_000_000);
    let figures = counted(std::slice::from_ref(&history)).figures;
    let key = |grain, key| DayKey {
        workflow_id: history.workflow_id,
        day: history.started_at.date_naive(),
        version: 1,
        grain,
        key,
    };
    let executions = &figures[&key(Grain::Execution, history.client_id)].figures;
    assert_eq!((executions.completed, executions.times.sum), (1, 0));
    assert_eq!(executions.times.percentile(50), Some(0));
}

#[test]
fn metrics_have_the_documented_keys() {
    let metrics = sums(&counted(&[samples::simple(1, 12_345)]).figures).metrics();
    let time = serde_json::json!(12.345);
    let whole = serde_json::json!({
        "totalExecutions": 1, "completedExecutions": 1, "failedExecutions": 0, "cancelledExecutions": 0,
        "runningExecutions": 0, "successRate": 1.0, "averageExecutionTime": time, "p50ExecutionTime": time,
        "p95ExecutionTime": time, "minExecutionTime": time, "maxExecutionTime": time, "p90ExecutionTime": time,
        "p99ExecutionTime": time, "targetsMet": 1, "targetsMissed": 0,
    });
    let mut told = serde_json::json!({
        "phases": { "engine": time }, "incidents": 0, "averageIncidentTime": null, "versions": { "1": whole },
        "steps": { Uuid::from_u128(10).to_string(): {
            "activations": 1, "completed": 1, "failed": 0, "skipped": 0, "retries": 0, "averageTime": time,
            "minTime": time, "maxTime": time, "p50Time": time, "p90Time": time, "p95Time": time,
            "p99Time": time, "phases": { "engine": time }, "incidents": 0, "averageIncidentTime": null,
            "targetsMet": 0, "targetsMissed": 0,
        } },
        "transitions": { Uuid::from_u128(100).to_string(): {
            "fromStepId": Uuid::from_u128(10), "taken": 1, "share": 1.0, "defaultShare": 0.0,
        } },
        "groups": {},
    });
    let whole = whole.as_object().unwrap().clone();
    told.as_object_mut().unwrap().extend(whole);
    assert_eq!(serde_json::to_value(metrics).unwrap(), told);
    let running = samples::part(&samples::simple(1, 5), 0, 1);
    let metrics = serde_json::to_value(sums(&counted(&[running]).figures).metrics()).unwrap();
    assert_eq!(metrics["runningExecutions"], 1);
    assert_eq!(metrics["successRate"], serde_json::Value::Null);
    assert_eq!(metrics["p50ExecutionTime"], serde_json::Value::Null);
}
