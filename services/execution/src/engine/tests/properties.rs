//! What holds for any order of commands.

use chrono::TimeDelta;
use proptest::prelude::*;
use serde_json::json;

use super::super::*;
use super::*;

/// One of the things that may happen to an execution.
fn anything() -> impl Strategy<Value = u8> {
    0..9_u8
}

fn happen(run: &mut Run, what: u8) -> Result<(), Refusal> {
    let manager = person("m@example.com", &["manager"]);
    let stranger = person("s@example.com", &[]);
    if run.execution.branches.is_empty() {
        return run.tell(Command::Resume);
    }
    let is_job = matches!(run.execution.branches[0].hold, Hold::Job { .. });
    match what {
        0 => run.answer(&manager, submit(json!({ "complete": true }))),
        1 => run.answer(&manager, submit(json!({ "complete": false }))),
        2 => run.answer(&manager, approve()),
        3 => run.answer(&stranger, approve()),
        4 if is_job => run.work(json!({ "account": 1 })),
        5 if is_job => run.break_down("DOWN"),
        6 => run.answer(&manager, Answer::Claim),
        7 => {
            run.now += TimeDelta::hours(1);
            let seq = run.execution.branches[0].seq;
            run.tell(Command::Wake { seq })
        }
        _ => run.answer(&manager, Answer::Release),
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_record_is_whole(events in prop::collection::vec(anything(), 0..60)) {
        let mut run = Run::start(onboarding(), json!({}));
        for what in events {
            let before = run.execution.clone();
            let result = happen(&mut run, what);
            if before.status.is_final() {
                prop_assert!(result.is_err());
                prop_assert_eq!(&before, &run.execution);
            }
            let open: Vec<i32> = run.execution.branches.iter().map(|b| b.seq).collect();
            prop_assert_eq!(open.is_empty(), run.execution.status.is_final());
            let seqs: Vec<i32> = run.change.logs.keys().copied().collect();
            let whole: Vec<i32> = (1..=run.execution.memory.log_count).collect();
            prop_assert_eq!(seqs, whole);
            let mut told: Vec<i32> = run.change.logs.values().filter_map(|l| l.event_seq).collect();
            told.sort_unstable();
            let last = run.execution.event_count - i32::from(run.execution.status.is_final());
            prop_assert_eq!(told, (2..=last).collect::<Vec<_>>());
            for log in run.change.logs.values() {
                prop_assert_eq!(log.event_seq.is_some(), log.status.is_final());
                prop_assert!(log.status.is_final() || open.contains(&log.seq));
                prop_assert!(log.completed_at.is_none_or(|end| end >= log.times.queued_at));
            }
        }
    }
}

#[test]
fn nothing_ends_before_it_was_taken_up() {
    let graph = graph(&[("Work", "custom", json!({}))], &[]);
    let mut run = Run::start(graph, json!({}));
    // A lease that was given after the clock had been read for this command.
    let leased = run.now + TimeDelta::milliseconds(3);
    let branch = &mut run.execution.branches[0];
    branch.id = id(9);
    branch.times.assigned_at = Some(leased);
    branch.times.started_at = leased;
    let reason = String::new();
    run.tell(Command::Cancel {
        reason,
        compensate: false,
    })
    .expect("obeyed");
    let log = run.change.logs.values().last().expect("a log");
    assert_eq!(log.completed_at, Some(leased));
    assert_eq!(run.execution.completed_at, Some(leased));
}
