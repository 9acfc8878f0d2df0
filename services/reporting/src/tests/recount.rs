//! Counts histories once more, in the plainest way: every duration in a list, every list counted.
//! Invariant: shares nothing with what it checks but the keys.

use std::collections::BTreeMap;

use model::event::{Event, ExecutionEvents};
use model::status::{ExecutionStatus, StepStatus};
use uuid::Uuid;

use crate::projection::figures::{DayKey, Figures, Grain};

#[derive(Debug, Default, PartialEq)]
pub struct Tally {
    pub total: u64,
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub skipped: u64,
    pub retries: u64,
    /// In microseconds.
    pub durations: Vec<u64>,
}

pub fn recount(histories: &[ExecutionEvents]) -> BTreeMap<DayKey, Tally> {
    let mut tallies: BTreeMap<DayKey, Tally> = BTreeMap::new();
    for history in histories {
        let day = history.started_at.date_naive();
        let mut tally = |grain, key: Uuid, count: &mut dyn FnMut(&mut Tally)| {
            let key = DayKey {
                workflow_id: history.workflow_id,
                day,
                grain,
                key,
            };
            count(tallies.entry(key).or_default());
        };
        for event in &history.events {
            match event {
                Event::Started => {
                    tally(Grain::Execution, history.client_id, &mut |own| {
                        own.total += 1
                    });
                }
                Event::StepFinished(step) => {
                    let micros = (step.completed_at - step.available_at)
                        .num_microseconds()
                        .unwrap();
                    tally(Grain::Step, step.step_id, &mut |own| {
                        own.retries += u64::from(step.attempt > 1);
                        own.total += u64::from(!step.will_retry);
                        match step.status {
                            StepStatus::Completed => {
                                own.completed += 1;
                                own.durations.push(micros as u64);
                            }
                            StepStatus::Failed => own.failed += u64::from(!step.will_retry),
                            _ => own.skipped += 1,
                        }
                    });
                    for transition in &step.taken_transition_ids {
                        tally(Grain::Transition, *transition, &mut |own| own.total += 1);
                    }
                }
                Event::Finished {
                    status,
                    completed_at,
                } => {
                    let micros = (*completed_at - history.started_at)
                        .num_microseconds()
                        .unwrap();
                    tally(
                        Grain::Execution,
                        history.client_id,
                        &mut |own| match status {
                            ExecutionStatus::Completed => {
                                own.completed += 1;
                                own.durations.push(micros as u64);
                            }
                            ExecutionStatus::Failed => own.failed += 1,
                            _ => own.cancelled += 1,
                        },
                    );
                }
            }
        }
    }
    tallies
}

/// Counts are equal, sums exact, percentiles of the nearest rank within 1 % and half a microsecond.
pub fn check(figures: &BTreeMap<DayKey, Figures>, tallies: &BTreeMap<DayKey, Tally>) {
    assert_eq!(
        Vec::from_iter(figures.keys()),
        Vec::from_iter(tallies.keys())
    );
    for (key, tally) in tallies {
        let own = &figures[key];
        assert_eq!(
            (
                own.total,
                own.completed,
                own.failed,
                own.cancelled,
                own.skipped,
                own.retries
            ),
            (
                tally.total,
                tally.completed,
                tally.failed,
                tally.cancelled,
                tally.skipped,
                tally.retries
            ),
            "{key:?}"
        );
        let mut sorted = tally.durations.clone();
        sorted.sort_unstable();
        assert_eq!(
            own.times.sum,
            sorted.iter().map(|micros| u128::from(*micros)).sum()
        );
        assert_eq!(own.times.min, sorted.first().copied().unwrap_or(0));
        assert_eq!(own.times.max, sorted.last().copied().unwrap_or(0));
        for percent in [50, 95, 99] {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            let exact = sorted.get(rank - 1).copied();
            let answer = own.times.percentile(percent as u64);
            assert_eq!(answer.is_some(), exact.is_some());
            if let (Some(answer), Some(exact)) = (answer, exact) {
                let error = answer.abs_diff(exact) as f64;
                assert!(
                    error <= exact as f64 * 0.010_001 + 0.5,
                    "p{percent}: {answer} for {exact}"
                );
            }
        }
    }
}
