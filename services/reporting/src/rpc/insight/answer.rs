//! An analysis on the wire.
//! Invariant: lists are cut to what the contract says, so that the answer stays below what every client accepts.

use std::collections::{BTreeSet, HashMap};

use model::wire::timestamp;
use prost::Message;
use proto::reporting::v1 as pb;
use proto::reporting::v1::slow_trait;
use uuid::Uuid;

use crate::insight::{
    Conforming, Findings, Move, Rework, Seen, Slow, StepTimes, Times, Trait, Way, Ways, Went,
};
use crate::projection::number::{Millis, rate};

/// Entries of each list.
const MOST_ENTRIES: usize = 200;
const MOST_DIFFERENCES: usize = 50;
/// Clients accept 4 MiB.
const MOST_BYTES: usize = 3 * 1024 * 1024;

/// What has a name among all that is told.
pub fn ids(findings: &Findings) -> BTreeSet<Uuid> {
    let mut ids: BTreeSet<Uuid> = findings
        .steps
        .iter()
        .take(MOST_ENTRIES)
        .map(|own| own.0)
        .collect();
    ids.extend(findings.reworked.iter().take(MOST_ENTRIES).map(|own| own.0));
    let ways = findings.ways.ways.iter().flat_map(|(way, _)| way);
    ids.extend(ways.flat_map(|part| &part.steps));
    let both = |(from, to): &Move| [*from, *to];
    ids.extend(
        findings
            .back
            .iter()
            .take(MOST_ENTRIES)
            .flat_map(|own| both(&own.0)),
    );
    if let Some(conformance) = &findings.conformance {
        ids.extend(conformance.steps.iter().take(MOST_ENTRIES).map(|own| own.0));
        let moves = conformance.moves.iter().take(MOST_ENTRIES);
        ids.extend(moves.flat_map(|own| both(&own.0)));
    }
    let differences = findings.slow.iter().flat_map(|slow| &slow.differences);
    for difference in differences.take(MOST_DIFFERENCES) {
        match &difference.of {
            Trait::Done(step) | Trait::Repeated(step) | Trait::Retried(step) => {
                ids.insert(*step);
            }
            Trait::Move(own) => ids.extend(both(own)),
            Trait::Version(_) | Trait::Weekday(_) => {}
        }
    }
    ids
}

pub fn of(
    findings: Findings,
    total: i64,
    names: &HashMap<String, String>,
) -> pb::AnalyzeWorkflowResponse {
    let names = Names(names);
    let analyzed = count(findings.executions);
    let finished = findings.finished;
    let whole = Whole::of(&findings.steps);
    let first = |at: usize| findings.span.map(|span| timestamp([span.0, span.1][at]));
    let (variants, other_variants) = names.variants(findings.ways, finished);
    let mut response = pb::AnalyzeWorkflowResponse {
        total_executions: total.max(analyzed),
        analyzed_executions: analyzed,
        finished_executions: count(finished),
        analyzed_from: first(0),
        analyzed_until: first(1),
        steps: cut(findings.steps, |(step, times)| {
            names.step(step, times, &whole)
        }),
        variants,
        other_variants,
        reworked_steps: cut(findings.reworked, |(step, own)| names.reworked(step, own)),
        back_moves: cut(findings.back, |(own, seen)| names.back(own, seen)),
        slow_executions: findings.slow.map(|slow| names.slow(slow)),
        conformance: findings.conformance.map(|own| names.conformance(own)),
    };
    if response.encoded_len() > MOST_BYTES {
        // The longest ways with the longest names: every step of theirs has its id.
        let parts = response.variants.iter_mut().flat_map(|own| &mut own.parts);
        parts
            .flat_map(|part| &mut part.steps)
            .for_each(|step| step.name.clear());
    }
    response
}

fn cut<T, U>(list: Vec<T>, entry: impl Fn(T) -> U) -> Vec<U> {
    list.into_iter().take(MOST_ENTRIES).map(entry).collect()
}

/// All steps together, in microseconds.
struct Whole {
    time: u128,
    waiting: u128,
}

impl Whole {
    fn of(steps: &[(Uuid, StepTimes)]) -> Self {
        Self {
            time: steps.iter().map(|(_, own)| own.total.sum).sum(),
            waiting: steps.iter().map(|(_, own)| own.waiting.sum).sum(),
        }
    }
}

fn millis(micros: u128) -> f64 {
    Millis(micros).as_f64()
}

fn mean(times: &Times) -> f64 {
    Millis::mean(times.sum, times.count).map_or(0.0, Millis::as_f64)
}

fn percentile(times: &Times, percent: u64) -> f64 {
    let micros = times.spread.percentile(percent);
    micros.map_or(0.0, |micros| millis(u128::from(micros)))
}

/// `rate` takes the microseconds of half a million years.
fn share(part: u128, whole: u128) -> Option<f64> {
    let fits = |micros: u128| u64::try_from(micros).unwrap_or(u64::MAX);
    rate(fits(part), fits(whole))
}

fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

struct Names<'a>(&'a HashMap<String, String>);

impl Names<'_> {
    fn of(&self, id: Uuid) -> (String, String) {
        let id = id.to_string();
        let name = self.0.get(&id).cloned().unwrap_or_default();
        (id, name)
    }

    fn step(&self, step: Uuid, times: StepTimes, whole: &Whole) -> pb::StepTime {
        let (step_id, name) = self.of(step);
        let StepTimes {
            total,
            waiting,
            back_off,
        } = times;
        pb::StepTime {
            step_id,
            name,
            activations: count(total.count),
            total_time: millis(total.sum),
            time_share: share(total.sum, whole.time),
            average_time: mean(&total),
            p50_time: percentile(&total, 50),
            p95_time: percentile(&total, 95),
            total_waiting: millis(waiting.sum),
            waiting_share: share(waiting.sum, whole.waiting),
            average_waiting: mean(&waiting),
            p50_waiting: percentile(&waiting, 50),
            p95_waiting: percentile(&waiting, 95),
            total_back_off: millis(back_off),
        }
    }

    fn variants(&self, ways: Ways, finished: u64) -> (Vec<pb::Variant>, Option<pb::OtherVariants>) {
        let share = |went: &Went| rate(went.times.count, finished).unwrap_or_default();
        let told = ways.ways.into_iter().map(|(way, went)| pb::Variant {
            parts: self.parts(way),
            executions: count(went.times.count),
            share: share(&went),
            completed_executions: count(went.completed),
            average_time: mean(&went.times),
            p95_time: percentile(&went.times, 95),
        });
        let others = &ways.others;
        let others = (others.times.count > 0).then(|| pb::OtherVariants {
            variants: count(ways.other_ways),
            executions: count(others.times.count),
            share: share(others),
            completed_executions: count(others.completed),
            average_time: mean(&others.times),
            p95_time: percentile(&others.times, 95),
        });
        (told.collect(), others)
    }

    fn parts(&self, way: Way) -> Vec<pb::VariantPart> {
        let step = |step| {
            let (step_id, name) = self.of(step);
            pb::VariantStep { step_id, name }
        };
        let parts = way.into_iter().map(|part| pb::VariantPart {
            steps: part.steps.into_iter().map(step).collect(),
            repeated: part.repeated,
        });
        parts.collect()
    }

    fn reworked(&self, step: Uuid, rework: Rework) -> pb::ReworkedStep {
        let (step_id, name) = self.of(step);
        pb::ReworkedStep {
            step_id,
            name,
            executions: count(rework.executions),
            extra_activations: count(rework.extra),
            extra_time: millis(rework.extra_time),
        }
    }

    fn back(&self, (from, to): Move, seen: Seen) -> pb::BackMove {
        let ((from_step_id, from_name), (to_step_id, to_name)) = (self.of(from), self.of(to));
        pb::BackMove {
            from_step_id,
            from_name,
            to_step_id,
            to_name,
            count: count(seen.count),
            executions: count(seen.executions),
        }
    }

    fn way(&self, (from, to): Move) -> pb::Move {
        let ((from_step_id, from_name), (to_step_id, to_name)) = (self.of(from), self.of(to));
        pb::Move {
            from_step_id,
            from_name,
            to_step_id,
            to_name,
        }
    }

    fn slow(&self, slow: Slow) -> pb::SlowExecutions {
        let differences = slow.differences.into_iter().take(MOST_DIFFERENCES);
        let differences = differences.map(|own| {
            let (of, name) = self.trait_of(own.of);
            pb::SlowTrait {
                r#trait: Some(of),
                name,
                slow_count: count(own.slow),
                slow_share: rate(own.slow, slow.slow).unwrap_or_default(),
                other_count: count(own.others),
                other_share: rate(own.others, slow.others).unwrap_or_default(),
            }
        });
        pb::SlowExecutions {
            slow_executions: count(slow.slow),
            other_executions: count(slow.others),
            slow_from: millis(u128::from(slow.slow_from)),
            differences: differences.collect(),
        }
    }

    fn trait_of(&self, of: Trait) -> (slow_trait::Trait, String) {
        let named = |step, kind: fn(String) -> slow_trait::Trait| {
            let (id, name) = self.of(step);
            (kind(id), name)
        };
        match of {
            Trait::Done(step) => named(step, slow_trait::Trait::StepId),
            Trait::Repeated(step) => named(step, slow_trait::Trait::RepeatedStepId),
            Trait::Retried(step) => named(step, slow_trait::Trait::RetriedStepId),
            Trait::Move(own) => (slow_trait::Trait::Move(self.way(own)), String::new()),
            Trait::Version(version) => (slow_trait::Trait::WorkflowVersion(version), String::new()),
            Trait::Weekday(day) => {
                let day = i32::try_from(day).unwrap_or_default();
                (slow_trait::Trait::StartWeekday(day), String::new())
            }
        }
    }

    fn conformance(&self, own: Conforming) -> pb::Conformance {
        pb::Conformance {
            version: own.version,
            conforming_executions: count(own.conforming),
            deviating_executions: count(own.deviating),
            unclear_executions: count(own.unclear),
            unknown_steps: cut(own.steps, |(step, seen)| {
                let (step_id, name) = self.of(step);
                pb::UnknownStep {
                    step_id,
                    name,
                    executions: count(seen.executions),
                    activations: count(seen.count),
                }
            }),
            unknown_moves: cut(own.moves, |(own, seen)| pb::UnknownMove {
                r#move: Some(self.way(own)),
                executions: count(seen.executions),
                count: count(seen.count),
            }),
        }
    }
}
