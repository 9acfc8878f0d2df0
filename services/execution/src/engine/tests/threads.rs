//! Workflow patterns of several threads through the same steps, by their numbers.

use serde_json::json;

use super::super::*;
use super::patterns::{always, fork, join, net};
use super::*;

impl Run {
    /// One more item is there, or none.
    fn next_item(&mut self, more: bool) {
        let output = object(json!({ "more": more }));
        let message = None;
        self.settle("Next", Outcome::Done { output, message });
    }
}

/// Whatever `Next` finds is worked on while `Next` looks for more; nobody knows how many there will be.
fn items(after_work: &str) -> Run {
    let steps = [
        ("Next", "work", json!({})),
        fork("Found"),
        ("Work", "work", json!({})),
        join("All", json!({})),
        ("Report", "work", json!({})),
    ];
    let ways = [
        ("Next", "Found", Value::Null),
        ("Found", "Work", always()),
        ("Found", "Next", equals("more", json!(true))),
        ("Work", after_work, Value::Null),
        ("All", "Report", Value::Null),
    ];
    let used = |name: &str| after_work == "All" || !matches!(name, "All");
    let steps: Vec<_> = steps.into_iter().filter(|step| used(step.0)).collect();
    let ways: Vec<_> = ways.into_iter().filter(|way| used(way.0)).collect();
    Run::start(graph(&steps, &ways), json!({}))
}

#[test]
fn wcp12_multiple_instances_without_synchronization() {
    let mut run = items("Report");
    for more in [true, true, false] {
        run.next_item(more);
    }
    assert_eq!(run.at(), ["Work", "Work", "Work"]);
    // Each goes on by itself.
    run.done("Work");
    assert_eq!(run.at(), ["Work", "Work", "Report"]);
    for name in ["Work", "Work", "Report", "Report", "Report"] {
        run.done(name);
    }
    assert_eq!(run.execution.status, ExecutionStatus::Completed);
    assert_eq!(run.count("Report COMPLETED"), 3);
}

#[test]
fn wcp15_multiple_instances_without_a_priori_run_time_knowledge() {
    let mut run = items("All");
    run.next_item(true);
    run.done("Work");
    // One is done, but there may be more.
    assert_eq!(run.at(), ["Next", "All"]);
    run.next_item(true);
    run.next_item(false);
    run.done("Work");
    assert_eq!(run.at(), ["All", "Work"]);
    run.done("Work");
    assert_eq!((run.at(), run.count("Work COMPLETED")), (vec!["Report"], 3));
    run.done("Report");
    assert_eq!(run.execution.status, ExecutionStatus::Completed);
}

/// Branches by these names come to J, which goes on to C for the first `n`, and to R, which waits for all of them
/// and for C before the next round.
fn blocking(names: &[&'static str], n: u32) -> Run {
    let sides: Vec<String> = names.iter().map(|name| format!("{name} is done")).collect();
    let partial = json!({ "mode": "N_OF", "n": n });
    let mut others = vec![fork("F"), join("J", partial), join("R", json!({}))];
    others.extend(sides.iter().map(|side| fork(side)));
    let mut ways = vec![("J", "C"), ("C", "R"), ("R", "Again"), ("Again", "F")];
    for (name, side) in names.iter().zip(&sides) {
        ways.extend([("F", *name), (*name, side.as_str()), (side.as_str(), "J")]);
        ways.push((side.as_str(), "R"));
    }
    let jobs: Vec<&str> = names.iter().copied().chain(["C", "Again"]).collect();
    Run::start(net(&others, &jobs, &ways), json!({}))
}

#[test]
fn wcp28_blocking_discriminator_as_far_as_it_fits() {
    // A join does not hold back threads of the next round itself; one that waits for all of them does.
    let mut run = blocking(&["A", "B"], 1);
    for round in 1..=2 {
        run.done("A");
        assert_eq!(run.count("J COMPLETED"), round);
        // No next round before the other has come.
        assert!(!run.at().contains(&"Again"), "{:?}", run.at());
        run.done("C");
        run.done("B");
        assert_eq!(run.count("J COMPLETED"), round);
        run.done("Again");
    }
    assert_eq!(run.count("C COMPLETED"), 2);
}

#[test]
fn wcp31_blocking_partial_join_as_far_as_it_fits() {
    let mut run = blocking(&["A", "B", "D"], 2);
    for round in 1..=2 {
        run.done("D");
        assert_eq!(run.count("J COMPLETED"), round - 1);
        run.done("A");
        assert_eq!(run.count("J COMPLETED"), round);
        run.done("C");
        assert!(!run.at().contains(&"Again"), "{:?}", run.at());
        run.done("B");
        assert_eq!(run.count("J COMPLETED"), round);
        run.done("Again");
    }
    assert_eq!(run.count("C COMPLETED"), 2);
}

#[test]
fn wcp33_generalized_and_join() {
    // The branches come from different forks, in no block of their own.
    let ways = [
        ("F", "A"),
        ("F", "G"),
        ("G", "B"),
        ("G", "D"),
        ("A", "J"),
        ("B", "J"),
        ("D", "E"),
        ("J", "C"),
    ];
    let others = [fork("F"), fork("G"), join("J", json!({}))];
    for order in [["A", "B"], ["B", "A"]] {
        let mut run = Run::start(net(&others, &["A", "B", "C", "D", "E"], &ways), json!({}));
        run.done(order[0]);
        assert_eq!(run.count("J COMPLETED"), 0);
        run.done(order[1]);
        // It does not wait for D, which goes elsewhere.
        assert_eq!((run.at(), run.count("J COMPLETED")), (vec!["D", "C"], 1));
    }
}

#[test]
fn wcp41_and_wcp42_thread_merge_and_split() {
    // One thread becomes three of the same branch, and these one again.
    let ways = [("F", "A"), ("F", "A"), ("F", "A"), ("A", "J"), ("J", "C")];
    let merged = json!({ "mode": "N_OF", "n": 3 });
    let mut run = Run::start(
        net(&[fork("F"), join("J", merged)], &["A", "C"], &ways),
        json!({}),
    );
    assert_eq!(run.at(), ["A", "A", "A"]);
    run.done("A");
    run.done("A");
    assert_eq!(run.at(), ["A", "J"]);
    run.done("A");
    assert_eq!(run.at(), ["C"]);
    assert_eq!((run.count("A COMPLETED"), run.count("J COMPLETED")), (3, 1));
}
