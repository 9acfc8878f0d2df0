//! Workflow patterns of sequence, choice, merge, loop and state, by their numbers.

use serde_json::json;

use super::super::*;
use super::patterns::{always, fork, join, net};
use super::*;

impl Run {
    /// The first branch at this step is done, with this output.
    fn gives(&mut self, name: &str, output: Value) {
        let (output, message) = (object(output), None);
        self.settle(name, Outcome::Done { output, message });
    }

    fn signal(&mut self, name: &str) {
        let signal = Signal {
            name: name.to_owned(),
            data: Map::new(),
            expires_at: None,
        };
        self.tell(Command::Signal(signal)).expect("taken or kept");
    }

    /// Lets the instant of the branch at this step come.
    fn elapse(&mut self, name: &str) {
        let steps = &self.graph.definition.steps;
        let mut branches = self.execution.branches.iter();
        let branch = branches.find(|branch| steps[branch.step].name == name);
        let branch = branch.unwrap_or_else(|| panic!("nobody is at {name}"));
        let due = branch.hold.wake_at(branch.times.queued_at);
        let seq = branch.seq;
        self.now = due.expect("the clock ends it");
        self.tell(Command::Wake { seq }).expect("it is due");
    }
}

#[test]
fn wcp01_sequence() {
    let mut run = Run::start(
        net(&[], &["A", "B", "C"], &[("A", "B"), ("B", "C")]),
        json!({}),
    );
    for name in ["A", "B", "C"] {
        assert_eq!(run.at(), [name]);
        run.done(name);
    }
    run.check(
        ExecutionStatus::Completed,
        &["A COMPLETED", "B COMPLETED", "C COMPLETED"],
    );
}

/// A choice of three by an amount, the last one by default, merged at D.
fn choice() -> Graph {
    let above =
        |amount: i32| json!({ "field": "amount", "operator": "greaterThan", "value": amount });
    let steps = [
        ("X", "decision", json!({})),
        ("A", "work", json!({})),
        ("B", "work", json!({})),
        ("C", "work", json!({})),
        ("D", "work", json!({})),
    ];
    let ways = [
        ("X", "A", above(100)),
        ("X", "B", above(10)),
        ("X", "C", Value::Null),
        ("A", "D", Value::Null),
        ("B", "D", Value::Null),
        ("C", "D", Value::Null),
    ];
    graph(&steps, &ways)
}

#[test]
fn wcp04_exclusive_choice() {
    // The first that holds wins, although the second holds, too.
    for (amount, chosen) in [(1000, "A"), (50, "B"), (1, "C")] {
        let run = Run::start(choice(), json!({ "amount": amount }));
        assert_eq!(run.at(), [chosen]);
    }
}

#[test]
fn wcp05_simple_merge() {
    for amount in [1000, 50, 1] {
        let mut run = Run::start(choice(), json!({ "amount": amount }));
        let chosen = run.at()[0].to_owned();
        run.done(&chosen);
        // No waiting for the ways that were not taken.
        assert_eq!(run.at(), ["D"]);
        run.done("D");
        assert_eq!(run.execution.status, ExecutionStatus::Completed);
        assert_eq!(run.count("D COMPLETED"), 1);
    }
}

/// An offer: accepted or declined by a message, or it runs out.
fn offer() -> Graph {
    let first = json!({ "mode": "ANY", "onSatisfied": "CANCEL_REST" });
    let steps = [
        fork("F"),
        ("Accept", "signal", json!({ "name": "accept" })),
        ("Decline", "signal", json!({ "name": "decline" })),
        ("Time", "wait", json!({ "duration": "2h" })),
        ("Ship", "work", json!({})),
        ("File", "work", json!({})),
        ("Remind", "work", json!({})),
        join("First", first),
    ];
    let ways = [
        ("F", "Accept", always()),
        ("F", "Decline", always()),
        ("F", "Time", always()),
        ("Accept", "First", Value::Null),
        ("Decline", "First", Value::Null),
        ("Time", "First", Value::Null),
        ("First", "Ship", equals("choice", json!("accept"))),
        ("First", "File", equals("choice", json!("decline"))),
        ("First", "Remind", Value::Null),
    ];
    graph(&steps, &ways)
}

#[test]
fn wcp16_deferred_choice() {
    // Nothing in the execution chooses: whoever comes first does, and the others are withdrawn.
    for (word, next) in [("accept", "Ship"), ("decline", "File"), ("", "Remind")] {
        let mut run = Run::start(offer(), json!({}));
        assert_eq!(run.at(), ["Accept", "Decline", "Time"]);
        match word {
            "" => run.elapse("Time"),
            _ => {
                let signal = Signal {
                    name: word.to_owned(),
                    data: object(json!({ "choice": word })),
                    expires_at: None,
                };
                run.tell(Command::Signal(signal)).expect("it is awaited");
            }
        }
        assert_eq!(run.at(), [next]);
        let withdrawn = run
            .path()
            .iter()
            .filter(|it| it.ends_with("SKIPPED"))
            .count();
        assert_eq!(withdrawn, 2);
    }
}

#[test]
fn wcp18_milestone_as_far_as_it_fits() {
    // B can be done after the milestone and until it is past; a step cannot look at another branch, so the
    // milestone is where B is offered, in a race with its passing.
    let first = json!({ "mode": "ANY", "onSatisfied": "CANCEL_REST" });
    let steps = [
        ("Reach", "work", json!({})),
        fork("Milestone"),
        ("B", "signal", json!({ "name": "b" })),
        ("Pass", "work", json!({})),
        join("Past", first),
        ("After", "work", json!({})),
    ];
    let ways = [
        ("Reach", "Milestone", always()),
        ("Milestone", "B", always()),
        ("Milestone", "Pass", always()),
        ("B", "Past", Value::Null),
        ("Pass", "Past", Value::Null),
        ("Past", "After", Value::Null),
    ];
    let reached = || {
        let mut run = Run::start(graph(&steps, &ways), json!({}));
        assert_eq!(run.at(), ["Reach"]);
        run.done("Reach");
        assert_eq!(run.at(), ["B", "Pass"]);
        run
    };
    let mut run = reached();
    run.signal("b");
    assert_eq!((run.at(), run.count("B COMPLETED")), (vec!["After"], 1));
    let mut run = reached();
    run.done("Pass");
    assert_eq!((run.at(), run.count("B SKIPPED")), (vec!["After"], 1));
}

#[test]
fn wcp20_cancel_case() {
    let ways = [("F", "A"), ("F", "B"), ("A", "C"), ("B", "C")];
    let mut run = Run::start(net(&[fork("F")], &["A", "B", "C"], &ways), json!({}));
    run.done("A");
    let cancel = Command::Cancel {
        reason: "not needed".to_owned(),
        compensate: false,
    };
    run.tell(cancel).expect("it is open");
    run.check(
        ExecutionStatus::Cancelled,
        &["F COMPLETED", "A COMPLETED", "B SKIPPED", "C SKIPPED"],
    );
    assert!(run.execution.branches.is_empty());
}

#[test]
fn wcp21_structured_loop() {
    let more = || equals("more", json!(true));
    // Judged before the first round: perhaps there is none.
    let steps = [
        ("X", "decision", json!({})),
        ("A", "work", json!({})),
        ("B", "work", json!({})),
    ];
    let ways = [
        ("X", "A", more()),
        ("X", "B", Value::Null),
        ("A", "X", Value::Null),
    ];
    let pretest = graph(&steps, &ways);
    let run = Run::start(pretest.clone(), json!({ "more": false }));
    assert_eq!(run.at(), ["B"]);
    let mut run = Run::start(pretest, json!({ "more": true }));
    for again in [true, true, false] {
        run.gives("A", json!({ "more": again }));
    }
    assert_eq!((run.at(), run.count("A COMPLETED")), (vec!["B"], 3));

    // Judged after each round: there is at least one.
    let steps = [("A", "work", json!({})), ("B", "work", json!({}))];
    let ways = [("A", "A", more()), ("A", "B", Value::Null)];
    let mut run = Run::start(graph(&steps, &ways), json!({ "more": true }));
    for again in [true, false] {
        run.gives("A", json!({ "more": again }));
    }
    assert_eq!((run.at(), run.count("A COMPLETED")), (vec!["B"], 2));
}
