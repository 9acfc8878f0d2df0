//! Branches that are withdrawn while the execution goes on, and critical sections, by the numbers of the
//! workflow patterns.

use model::status::StepStatus;
use serde_json::json;

use super::patterns::{always, fork, join, net};
use super::*;

impl Run {
    fn leave(&mut self, name: &str, goes_on: bool) -> Result<(), Refusal> {
        let steps = &self.graph.definition.steps;
        let mut branches = self.execution.branches.iter();
        let at = branches.find(|branch| steps[branch.step].name == name);
        let seq = at.map_or(999, |branch| branch.seq);
        self.tell(Command::Leave {
            seq,
            actor: person("ada@x", &[]),
            reason: "no longer wanted".to_owned(),
            goes_on,
        })
    }

    fn grant(&mut self, name: &str) {
        let steps = &self.graph.definition.steps;
        let waits = |b: &&Branch| steps[b.step].name == name && matches!(b.hold, Hold::Lock { .. });
        let seq = self
            .execution
            .branches
            .iter()
            .find(waits)
            .expect("it waits for its lock")
            .seq;
        self.tell(Command::Grant { seq }).unwrap();
    }

    /// Steps at which a lock is waited for.
    fn queue(&self) -> Vec<&str> {
        let steps = &self.graph.definition.steps;
        let waits = |b: &&Branch| matches!(b.hold, Hold::Lock { .. });
        let waiting = self.execution.branches.iter().filter(waits);
        waiting.map(|b| steps[b.step].name.as_str()).collect()
    }
}

#[test]
fn wcp19_cancel_task() {
    let ways = [("F", "A"), ("F", "B"), ("A", "C")];
    let mut run = Run::start(net(&[fork("F")], &["A", "B", "C"], &ways), json!({}));
    run.leave("A", false).unwrap();
    assert_eq!(run.at(), ["B"]);
    assert_eq!(run.leave("A", false), Err(Refusal::BranchGone));
    run.done("B");
    run.check(
        ExecutionStatus::Completed,
        &["F COMPLETED", "A SKIPPED", "B COMPLETED"],
    );
}

#[test]
fn a_cancelled_step_may_be_passed_over() {
    let ways = [("F", "A"), ("F", "B"), ("A", "J"), ("B", "J"), ("J", "C")];
    let others = [fork("F"), join("J", json!({}))];
    let mut run = Run::start(net(&others, &["A", "B", "C"], &ways), json!({}));
    run.leave("A", true).unwrap();
    assert_eq!(run.at(), ["B", "J"]);
    // The join goes on with what has come; what comes later ends there.
    run.leave("J", true).unwrap();
    assert_eq!(run.at(), ["B", "C"]);
    run.done("B");
    run.done("C");
    assert_eq!(run.execution.status, ExecutionStatus::Completed);
    assert_eq!(run.count("C COMPLETED"), 1);
}

#[test]
fn nobody_passes_over_what_people_decide() {
    let each = json!({ "step": "Vote", "count": 3 });
    let steps = [
        ("Each", "foreach", each),
        ("Vote", "approval", json!({})),
        ("Ask", "approval", json!({})),
    ];
    let mut run = Run::start(graph(&steps, &[("Each", "Ask", always())]), json!({}));
    assert_eq!(run.leave("Vote", true), Err(Refusal::PeopleDecide));
    assert_eq!(run.leave("Vote", false), Err(Refusal::PeopleDecide));
    assert_eq!(run.leave("Each", true), Err(Refusal::PeopleDecide));
    assert_eq!(run.path().len(), 4);
    run.leave("Each", false).unwrap();
    assert_eq!(run.execution.status, ExecutionStatus::Completed);
    assert_eq!(run.count("Vote SKIPPED"), 3);
}

#[test]
fn no_join_goes_on_without_those_who_decide() {
    let others = [
        fork("F"),
        ("Decide", "approval", json!({})),
        join("J", json!({})),
    ];
    let ways = [
        ("F", "Decide"),
        ("F", "A"),
        ("Decide", "J"),
        ("A", "J"),
        ("J", "Pay"),
    ];
    let mut run = Run::start(net(&others, &["A", "Pay"], &ways), json!({}));
    run.done("A");
    for (name, goes_on) in [("J", true), ("Decide", false), ("Decide", true)] {
        let refused = run.leave(name, goes_on);
        assert_eq!(refused, Err(Refusal::PeopleDecide), "{name} {goes_on}");
    }
    assert_eq!(run.at(), ["Decide", "J"]);
}

#[test]
fn wcp25_cancel_region() {
    let ways = [("F", "A"), ("F", "B"), ("F", "C"), ("A", "After")];
    let steps = [
        ("F", "parallel", json!({})),
        ("A", "work", json!({ "cancels": ["B", "c"] })),
        ("B", "work", json!({})),
        ("C", "wait", json!({ "duration": "9h" })),
        ("After", "work", json!({})),
    ];
    let ways: Vec<_> = ways
        .iter()
        .map(|(from, to)| (*from, *to, always()))
        .collect();
    let mut run = Run::start(graph(&steps, &ways), json!({}));
    assert_eq!(run.at(), ["A", "B", "C"]);
    run.done("A");
    assert_eq!(run.at(), ["After"]);
    assert_eq!((run.count("B SKIPPED"), run.count("C SKIPPED")), (1, 1));
}

fn three_items() -> Run {
    let steps = [
        ("Each", "foreach", json!({ "step": "Do", "count": 3 })),
        ("Do", "work", json!({})),
        ("Next", "work", json!({})),
    ];
    Run::start(graph(&steps, &[("Each", "Next", always())]), json!({}))
}

#[test]
fn wcp26_cancel_multiple_instance_task() {
    let mut run = three_items();
    run.done("Do");
    run.leave("Each", false).unwrap();
    run.check(
        ExecutionStatus::Completed,
        &["Each SKIPPED", "Do COMPLETED", "Do SKIPPED", "Do SKIPPED"],
    );
}

#[test]
fn wcp27_complete_multiple_instance_task() {
    let mut run = three_items();
    run.done("Do");
    run.leave("Each", true).unwrap();
    assert_eq!(run.at(), ["Next"]);
    assert_eq!(
        run.execution.context.data["results"],
        json!([{}, null, null])
    );
    assert_eq!(run.count("Do SKIPPED"), 2);
}

#[test]
fn an_item_that_is_cancelled_is_not_waited_for() {
    for goes_on in [false, true] {
        let mut run = three_items();
        for _ in 0..3 {
            run.leave("Do", goes_on).unwrap();
        }
        assert_eq!(run.at(), ["Next"]);
        assert_eq!(run.execution.context.data["completed"], json!(0));
    }
}

/// Jobs in any order, one at a time.
fn guarded(names: &[&str]) -> Run {
    let lock = json!({ "lock": { "name": "desk" } });
    let mut steps = vec![("F", "parallel", json!({}))];
    steps.extend(names.iter().map(|name| (*name, "work", lock.clone())));
    let ways: Vec<_> = names.iter().map(|name| ("F", *name, always())).collect();
    Run::start(graph(&steps, &ways), json!({}))
}

#[test]
fn wcp17_and_wcp40_interleaved_routing() {
    let mut run = guarded(&["A", "B", "C"]);
    assert_eq!(run.queue(), ["A", "B", "C"]);
    // Nothing is done before the lock is given, in whatever order that is.
    for name in ["B", "A", "C"] {
        run.grant(name);
        run.done(name);
    }
    assert_eq!(run.execution.status, ExecutionStatus::Completed);
    assert_eq!(
        run.count("A COMPLETED") + run.count("B COMPLETED") + run.count("C COMPLETED"),
        3
    );
}

#[test]
fn wcp39_critical_section() {
    let lock = json!({ "name": "account", "key": "account" });
    let steps = [(
        "Book",
        "work",
        json!({ "lock": lock, "retry": { "maxAttempts": 2 } }),
    )];
    let mut run = Run::start(graph(&steps, &[]), json!({ "account": 17 }));
    assert_eq!(
        run.execution.branches[0].lock.as_deref(),
        Some("account/17")
    );
    run.now += TimeDelta::hours(1);
    run.grant("Book");
    // What comes before was waiting, and is told so.
    let log = &run.change.logs[&1];
    assert_eq!(
        (log.status, log.times.available_at),
        (StepStatus::Pending, run.now)
    );
    run.settle("Book", Outcome::Failed(Failure::new("DOWN", "down")));
    // The lock is held through all attempts.
    let again = &run.execution.branches[0];
    assert_eq!(
        (again.attempt, again.lock.as_deref()),
        (2, Some("account/17"))
    );
    assert!(matches!(again.hold, Hold::Job { .. }), "{:?}", again.hold);
    run.done("Book");
    assert_eq!(run.execution.status, ExecutionStatus::Completed);
    let seq = 2;
    assert!(run.tell(Command::Grant { seq }).is_err());
}

#[test]
fn locks_without_a_key_or_in_time_fail_their_step() {
    let lock = json!({ "name": "account", "key": "account", "timeout": "1h" });
    let start = |input| {
        Run::start(
            graph(&[("Book", "work", json!({ "lock": lock }))], &[]),
            input,
        )
    };
    let run = start(json!({}));
    assert_eq!(run.execution.failure.unwrap().code, "LOCK_UNDEFINED");
    let mut run = start(json!({ "account": "x" }));
    let seq = run.execution.branches[0].seq;
    assert_eq!(run.tell(Command::Wake { seq }), Err(Refusal::NotDue));
    run.now += TimeDelta::hours(1);
    run.tell(Command::Wake { seq }).unwrap();
    assert_eq!(run.execution.failure.unwrap().code, "LOCK_TIMEOUT");

    // A step that parks holds no lock that it has never had.
    let parks = json!({ "lock": lock, "onFailure": "park" });
    let graph = graph(&[("Book", "work", parks)], &[]);
    let mut run = Run::start(graph, json!({ "account": "x" }));
    run.now += TimeDelta::hours(1);
    run.tell(Command::Wake { seq: 1 }).unwrap();
    assert_eq!(run.execution.branches[0].lock, None);
    run.tell(Command::Resolve {
        seq: 2,
        actor: person("ada@x", &[]),
        resolution: Resolution::Retry { data: Map::new() },
    })
    .unwrap();
    assert_eq!(run.queue(), ["Book"]);
}

#[test]
fn a_whole_execution_may_have_a_deadline() {
    let late =
        json!({ "status": "FAILED", "errorCode": "TIMEOUT", "message": "not done in a week" });
    let steps = [
        ("Begin", "parallel", json!({})),
        ("Work", "work", json!({})),
        ("Done", "end", json!({})),
        ("Deadline", "wait", json!({ "duration": "7d" })),
        ("Late", "end", late),
    ];
    let ways = [
        ("Begin", "Work"),
        ("Begin", "Deadline"),
        ("Work", "Done"),
        ("Deadline", "Late"),
    ];
    let ways: Vec<_> = ways
        .iter()
        .map(|(from, to)| (*from, *to, always()))
        .collect();
    let start = || Run::start(graph(&steps, &ways), json!({}));
    // Done in time, nothing waits for the deadline any more.
    let mut run = start();
    run.done("Work");
    assert_eq!(run.execution.status, ExecutionStatus::Completed);
    assert_eq!(run.count("Deadline SKIPPED"), 1);
    // Otherwise all that is under way is withdrawn.
    let mut run = start();
    run.now += TimeDelta::days(7);
    let timer = |branch: &&Branch| matches!(branch.hold, Hold::Timer { .. });
    let seq = run
        .execution
        .branches
        .iter()
        .find(timer)
        .expect("a timer")
        .seq;
    run.tell(Command::Wake { seq }).unwrap();
    assert_eq!(run.execution.status, ExecutionStatus::Failed);
    assert_eq!(run.execution.failure.as_ref().unwrap().code, "TIMEOUT");
    assert_eq!(run.count("Work SKIPPED"), 1);
}
