//! Generated processes, lived and begun again: nothing is taken over that was not done, nothing twice, and what was
//! done as a whole need not be done again.

use std::collections::BTreeMap;

use model::status::StepStatus;
use proptest::prelude::*;
use serde_json::json;

use super::lives::{block, check, go_on, live, of};
use super::restarts::restart_with;
use super::*;

/// Brings it to an end.
fn end(run: &mut Run) {
    for _ in 0..500 {
        let mut branches = run.execution.branches.iter();
        let is_free = |b: &&Branch| !matches!(b.hold, Hold::Join { .. } | Hold::Items { .. });
        let Some(first) = branches.find(is_free) else {
            break;
        };
        let (seq, hold) = (first.seq, first.hold.clone());
        go_on(run, seq, &hold, json!({ "ok": true })).expect("what waits can go on");
    }
}

/// How often each step was completed with each output, of the logs that `is_meant`.
fn completed(run: &Run, is_meant: impl Fn(&Log) -> bool) -> BTreeMap<(Uuid, String), usize> {
    let mut counts = BTreeMap::new();
    for log in run.change.logs.values() {
        if log.status == StepStatus::Completed && is_meant(log) {
            let output = format!("{:?}", log.data);
            *counts.entry((log.step_id, output)).or_default() += 1;
        }
    }
    counts
}

fn is_taken_over(log: &Log) -> bool {
    let message = log.message.as_deref().unwrap_or_default();
    assert_eq!(
        log.taken_over,
        message.contains("taken over from execution")
    );
    log.taken_over
}

proptest! {
    #[test]
    fn what_is_begun_again_takes_over_what_was_done_and_no_more(
        block in block(),
        events in prop::collection::vec((0..18_u8, any::<prop::sample::Index>()), 0..40),
    ) {
        let mut old = live(of(&block), &events)?;
        end(&mut old);
        prop_assert!(old.execution.status.is_final());
        let mut run = restart_with(of(&block), &old, None, json!({ "none": [] }));
        check(&run)?;
        let done = completed(&old, |_| true);
        for (step, count) in completed(&run, is_taken_over) {
            let before = done.get(&step).copied().unwrap_or_default();
            prop_assert!(count <= before, "{step:?}: {count} times, but {before} were done");
        }
        let mut logs = old.change.logs.values();
        if logs.all(|log| log.status == StepStatus::Completed) {
            prop_assert_eq!(run.execution.status, old.execution.status);
            // The items of a foreach are not even begun if it is taken over as a whole.
            let whole = |log: &Log| log.item_index.is_none();
            prop_assert_eq!(completed(&run, whole), completed(&old, whole));
            prop_assert_eq!(&run.execution.context, &old.execution.context);
        }
        end(&mut run);
        prop_assert!(run.execution.status.is_final(), "{:?}", run.execution.branches);
        check(&run)?;
    }
}
