//! The workflow patterns of Russell, ter Hofstede, van der Aalst and Mulyar (2006), by their numbers.

use serde_json::json;

use super::super::*;
use super::*;

/// Work of several hands: jobs by name, between the steps of other types.
pub(super) fn net(others: &[(&str, &str, Value)], jobs: &[&str], ways: &[(&str, &str)]) -> Graph {
    let jobs = jobs.iter().map(|name| (*name, "work", json!({})));
    let steps: Vec<_> = others.iter().cloned().chain(jobs).collect();
    let ways: Vec<_> = (ways.iter())
        .map(|(from, to)| (*from, *to, always()))
        .collect();
    graph(&steps, &ways)
}

/// A condition that holds, so that a way is not its step's default.
pub(super) fn always() -> Value {
    json!({ "cel": "true" })
}

pub(super) fn fork(name: &str) -> (&str, &str, Value) {
    (name, "parallel", json!({}))
}

pub(super) fn join(name: &str, config: Value) -> (&str, &str, Value) {
    (name, "join", config)
}

impl Run {
    /// Names of the steps at which branches are, in the order of their coming.
    pub(super) fn at(&self) -> Vec<&str> {
        let steps = &self.graph.definition.steps;
        let mut branches: Vec<&Branch> = self.execution.branches.iter().collect();
        branches.sort_by_key(|branch| branch.seq);
        (branches.into_iter())
            .map(|b| steps[b.step].name.as_str())
            .collect()
    }

    pub(super) fn settle(&mut self, name: &str, outcome: Outcome) {
        let steps = &self.graph.definition.steps;
        let mut branches = self.execution.branches.iter();
        let branch = branches.find(|branch| steps[branch.step].name == name);
        let seq = branch.unwrap_or_else(|| panic!("nobody is at {name}")).seq;
        self.tell(Command::Settle { seq, outcome })
            .expect("the branch is there");
    }

    /// The first branch at this step has done its work.
    pub(super) fn done(&mut self, name: &str) {
        let (output, message) = (Map::new(), None);
        self.settle(name, Outcome::Done { output, message });
    }

    pub(super) fn count(&self, told: &str) -> usize {
        self.path().iter().filter(|line| *line == told).count()
    }
}

fn two_branches(config: Value) -> Run {
    let ways = [("F", "A"), ("F", "B"), ("A", "J"), ("B", "J"), ("J", "C")];
    let others = [fork("F"), join("J", config)];
    Run::start(net(&others, &["A", "B", "C"], &ways), json!({}))
}

#[test]
fn wcp02_and_wcp03_parallel_split_and_synchronization() {
    for order in [["A", "B"], ["B", "A"]] {
        let mut run = two_branches(json!({}));
        assert_eq!(run.at(), ["A", "B"]);
        run.done(order[0]);
        assert_eq!(run.at(), [order[1], "J"]);
        run.done(order[1]);
        assert_eq!(run.at(), ["C"]);
        run.done("C");
        assert_eq!(run.execution.status, ExecutionStatus::Completed);
        assert_eq!((run.count("J COMPLETED"), run.count("C COMPLETED")), (1, 1));
    }
}

#[test]
fn wcp06_and_wcp07_multi_choice_and_structured_synchronizing_merge() {
    let asks = |field: &str| equals(field, json!(true));
    let steps = [
        fork("F"),
        ("A", "work", json!({})),
        ("B", "work", json!({})),
        ("D", "work", json!({})),
        join("J", json!({})),
    ];
    let ways = [
        ("F", "A", asks("a")),
        ("F", "B", asks("b")),
        ("F", "D", Value::Null),
        ("A", "J", Value::Null),
        ("B", "J", Value::Null),
        ("D", "J", Value::Null),
    ];
    for (input, chosen) in [
        (json!({ "a": true, "b": true }), vec!["A", "B"]),
        (json!({ "b": true }), vec!["B"]),
        (json!({}), vec!["D"]),
    ] {
        let mut run = Run::start(graph(&steps, &ways), input);
        assert_eq!(run.at(), chosen);
        for name in &chosen {
            assert_eq!(run.count("J COMPLETED"), 0);
            run.done(name);
        }
        assert_eq!(run.execution.status, ExecutionStatus::Completed);
        assert_eq!(run.count("J COMPLETED"), 1);
    }
}

#[test]
fn wcp08_multi_merge() {
    let ways = [("F", "A"), ("F", "B"), ("A", "C"), ("B", "C")];
    let mut run = Run::start(net(&[fork("F")], &["A", "B", "C"], &ways), json!({}));
    run.done("A");
    run.done("B");
    assert_eq!(run.at(), ["C", "C"]);
    run.done("C");
    run.done("C");
    run.check(
        ExecutionStatus::Completed,
        &[
            "F COMPLETED",
            "A COMPLETED",
            "B COMPLETED",
            "C COMPLETED",
            "C COMPLETED",
        ],
    );
}

#[test]
fn wcp09_structured_discriminator() {
    let mut run = two_branches(json!({ "mode": "ANY" }));
    run.done("B");
    assert_eq!(run.at(), ["A", "C"]);
    // The second one comes too late and ends there.
    run.done("A");
    assert_eq!(run.at(), ["C"]);
    run.done("C");
    assert_eq!(run.execution.status, ExecutionStatus::Completed);
    assert_eq!((run.count("J COMPLETED"), run.count("C COMPLETED")), (1, 1));
}

#[test]
fn wcp10_arbitrary_cycles_rearm_a_join() {
    // After C it begins again, while the first round's loser is still at work.
    let ways = [
        ("F", "A"),
        ("F", "B"),
        ("A", "J"),
        ("B", "J"),
        ("J", "C"),
        ("C", "F"),
    ];
    let others = [fork("F"), join("J", json!({ "mode": "ANY" }))];
    let mut run = Run::start(net(&others, &["A", "B", "C"], &ways), json!({}));
    run.done("A");
    run.done("C");
    assert_eq!(run.at(), ["B", "A", "B"]);
    // The loser of the first round neither completes the second nor is taken for its loser.
    run.done("B");
    assert_eq!(run.at(), ["A", "B"]);
    run.done("B");
    assert_eq!(run.at(), ["A", "C"]);
    assert_eq!(run.count("J COMPLETED"), 2);
}

#[test]
fn wcp11_implicit_termination() {
    let ways = [("F", "A"), ("F", "B")];
    let mut run = Run::start(net(&[fork("F")], &["A", "B"], &ways), json!({}));
    run.done("A");
    assert_eq!(run.execution.status, ExecutionStatus::Running);
    run.done("B");
    assert_eq!(run.execution.status, ExecutionStatus::Completed);
}

#[test]
fn wcp29_cancelling_discriminator() {
    let mut run = two_branches(json!({ "mode": "ANY", "onSatisfied": "CANCEL_REST" }));
    run.done("A");
    assert_eq!(run.at(), ["C"]);
    assert_eq!(run.count("B SKIPPED"), 1);
}

fn three_branches(config: Value) -> Run {
    let ways = [
        ("F", "A"),
        ("F", "B"),
        ("F", "C"),
        ("A", "J"),
        ("B", "J"),
        ("C", "J"),
        ("J", "D"),
    ];
    let others = [fork("F"), join("J", config)];
    Run::start(net(&others, &["A", "B", "C", "D"], &ways), json!({}))
}

#[test]
fn wcp30_structured_partial_join() {
    let mut run = three_branches(json!({ "mode": "N_OF", "n": 2 }));
    run.done("C");
    assert_eq!(run.at(), ["A", "B", "J"]);
    run.done("A");
    assert_eq!(run.at(), ["B", "D"]);
    run.done("B");
    run.done("D");
    assert_eq!(run.execution.status, ExecutionStatus::Completed);
    assert_eq!(run.count("D COMPLETED"), 1);
}

#[test]
fn wcp32_cancelling_partial_join() {
    let config = json!({ "mode": "N_OF", "n": 2, "onSatisfied": "CANCEL_REST" });
    let mut run = three_branches(config);
    run.done("C");
    run.done("A");
    assert_eq!(run.at(), ["D"]);
    assert_eq!(run.count("B SKIPPED"), 1);
}

#[test]
fn a_partial_join_that_cannot_be_satisfied_fails() {
    let steps = [
        fork("F"),
        ("A?", "work", json!({})),
        ("B", "work", json!({})),
        join("J", json!({ "mode": "N_OF", "n": 2 })),
        ("Late", "work", json!({})),
    ];
    let goes = equals("go", json!(true));
    let fails = equals("step.error.code", json!("JOIN_UNSATISFIABLE"));
    let ways = [
        ("F", "A", always()),
        ("F", "B", always()),
        ("A", "J", goes),
        ("B", "J", Value::Null),
        ("J", "Late", fails),
    ];
    let mut run = Run::start(graph(&steps, &ways), json!({}));
    run.done("B");
    assert_eq!(run.at(), ["A", "J"]);
    // Ends without coming: now nobody else can.
    run.done("A");
    assert_eq!(run.at(), ["Late"]);
    assert_eq!(run.count("J FAILED"), 1);
}

#[test]
fn wcp37_and_wcp38_synchronizing_merges_wait_for_whoever_can_come() {
    // B may go round again; the join waits for it as long as it does, and not for E, which cannot come.
    let steps = [
        fork("F"),
        ("A", "work", json!({})),
        ("B", "work", json!({})),
        ("E", "work", json!({})),
        join("J", json!({})),
        ("C", "work", json!({})),
    ];
    let ways = [
        ("F", "A", always()),
        ("F", "B", always()),
        ("F", "E", always()),
        ("A", "J", Value::Null),
        ("B", "B", equals("step.output.again", json!(true))),
        ("B", "J", Value::Null),
        ("J", "C", Value::Null),
    ];
    let mut run = Run::start(graph(&steps, &ways), json!({}));
    run.done("A");
    let output = object(json!({ "again": true }));
    run.settle(
        "B",
        Outcome::Done {
            output,
            message: None,
        },
    );
    assert_eq!(run.at(), ["E", "J", "B"]);
    run.done("B");
    assert_eq!(run.at(), ["E", "C"]);
}

#[test]
fn wcp43_explicit_termination() {
    let end = |config: Value| {
        let steps = [
            fork("F"),
            ("A", "work", json!({})),
            ("B", "work", json!({})),
            ("X", "end", config),
        ];
        let ways = [
            ("F", "A", always()),
            ("F", "B", always()),
            ("A", "X", Value::Null),
        ];
        let mut run = Run::start(graph(&steps, &ways), json!({}));
        run.done("A");
        run
    };
    let told = ["F COMPLETED", "A COMPLETED", "B SKIPPED", "X COMPLETED"];
    end(json!({})).check(ExecutionStatus::Completed, &told);
    let failed = end(json!({ "status": "FAILED", "errorCode": "FRAUD", "message": "not theirs" }));
    failed.check(ExecutionStatus::Failed, &told);
    let failure = Failure::new("FRAUD", "not theirs");
    assert_eq!(failed.execution.failure, Some(failure));
}

#[test]
fn joins_that_wait_for_each_other_go_on_one_after_the_other() {
    let ways = [
        ("F", "A"),
        ("F", "B"),
        ("A", "J"),
        ("B", "K"),
        ("J", "C"),
        ("C", "K"),
        ("K", "D"),
        ("D", "J"),
    ];
    let others = [fork("F"), join("J", json!({})), join("K", json!({}))];
    let mut run = Run::start(net(&others, &["A", "B", "C", "D"], &ways), json!({}));
    run.done("B");
    assert_eq!(run.at(), ["A", "K"]);
    run.done("A");
    // K came first.
    assert_eq!(run.at(), ["J", "D"]);
}

#[test]
fn a_join_that_waits_too_long_times_out() {
    let mut run = two_branches(json!({ "timeout": "1h" }));
    run.done("A");
    run.now += TimeDelta::hours(1);
    let mut branches = run.execution.branches.iter();
    let seq = branches
        .find(|b| matches!(b.hold, Hold::Join { .. }))
        .expect("it waits")
        .seq;
    run.tell(Command::Wake { seq }).expect("is due");
    assert_eq!(run.execution.status, ExecutionStatus::Failed);
    assert_eq!(
        run.execution.failure.as_ref().map(|f| f.code.as_str()),
        Some("TIMEOUT")
    );
}

#[test]
fn a_join_that_was_given_up_does_not_go_on_later() {
    let steps = [
        fork("F"),
        ("A", "work", json!({})),
        ("B", "work", json!({})),
        join("J", json!({ "timeout": "1h" })),
        ("C", "work", json!({})),
        ("Late", "work", json!({})),
    ];
    let ways = [
        ("F", "A", always()),
        ("F", "B", always()),
        ("A", "J", Value::Null),
        ("B", "J", Value::Null),
        ("J", "C", Value::Null),
        ("J", "Late", equals("step.error.code", json!("TIMEOUT"))),
    ];
    let mut run = Run::start(graph(&steps, &ways), json!({}));
    run.done("A");
    run.now += TimeDelta::hours(1);
    let waiting = |b: &&Branch| matches!(b.hold, Hold::Join { .. });
    let seq = (run.execution.branches.iter().find(waiting))
        .expect("it waits")
        .seq;
    run.tell(Command::Wake { seq }).expect("is due");
    assert_eq!(run.at(), ["B", "Late"]);
    run.done("B");
    assert_eq!(run.at(), ["Late"]);
    assert_eq!(run.count("J COMPLETED"), 0);
}

#[test]
fn a_parked_join_remembers_who_has_come() {
    let config = json!({ "mode": "N_OF", "n": 3, "timeout": "1h", "onFailure": "park" });
    let mut run = three_branches(config);
    run.done("A");
    run.done("B");
    run.now += TimeDelta::hours(1);
    let waiting = |b: &&Branch| matches!(b.hold, Hold::Join { .. });
    let seq = (run.execution.branches.iter().find(waiting))
        .expect("it waits")
        .seq;
    run.tell(Command::Wake { seq }).expect("is due");
    run.done("C");
    let seq = run.execution.branches[0].seq;
    let resolution = Resolution::Retry { data: Map::new() };
    let actor = worker();
    run.tell(Command::Resolve {
        seq,
        actor,
        resolution,
    })
    .expect("an incident");
    assert_eq!(run.at(), ["D"]);
}

#[test]
fn in_a_circle_of_joins_one_that_can_go_on_does() {
    let ways = [
        ("F", "A"),
        ("F", "B"),
        ("A", "J"),
        ("B", "K"),
        ("K", "C"),
        ("C", "J"),
        ("J", "D"),
        ("D", "K"),
    ];
    let two = json!({ "mode": "N_OF", "n": 2 });
    let others = [fork("F"), join("J", two), join("K", json!({}))];
    let mut run = Run::start(net(&others, &["A", "B", "C", "D"], &ways), json!({}));
    run.done("A");
    run.done("B");
    assert_eq!(run.at(), ["J", "C"]);
    run.done("C");
    assert_eq!(run.at(), ["D"]);
}

#[test]
fn a_fork_beyond_the_limit_undoes_everything() {
    let steps = [
        ("Reserve", "work", json!({ "compensate": "Release" })),
        fork("F"),
        ("A", "work", json!({})),
        ("B", "work", json!({})),
        ("C", "work", json!({})),
        ("Release", "work", json!({})),
    ];
    let ways = [
        ("Reserve", "F", Value::Null),
        ("F", "A", always()),
        ("F", "B", always()),
        ("F", "C", always()),
    ];
    let mut run = Run::start(graph(&steps, &ways), json!({}));
    run.execution.memory.to_undo = vec![5, 5];
    run.execution.memory.activations = MAX_ACTIVATIONS - 1;
    run.done("Reserve");
    for left in [2, 1, 0] {
        assert_eq!(run.at(), ["Release"]);
        assert_eq!(run.execution.memory.to_undo.len(), left);
        run.done("Release");
    }
    assert_eq!(run.execution.status, ExecutionStatus::Failed);
    assert_eq!(run.count("Release COMPLETED"), 3);
}
