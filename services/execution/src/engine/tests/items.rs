//! One step for each item, under the names of the workflow patterns where there are any.

use serde_json::json;

use super::*;

/// `Each` does `Do` for each item, then comes `Next`.
fn each(config: Value, body: (&str, Value)) -> Graph {
    let mut whole = json!({ "step": "Do" });
    whole.as_object_mut().unwrap().extend(object(config));
    let steps = [
        ("Each", "foreach", whole),
        ("Do", body.0, body.1),
        ("Next", "work", json!({})),
    ];
    let ways = [("Each", "Next", json!({ "cel": "true" }))];
    graph(&steps, &ways)
}

fn jobs(config: Value) -> Graph {
    each(config, ("check", json!({ "retry": { "maxAttempts": 1 } })))
}

fn three() -> Value {
    json!({ "orders": ["a", "b", "c"] })
}

impl Run {
    fn item(&self, index: i32) -> &Branch {
        let mut branches = self.execution.branches.iter();
        let is = |branch: &&Branch| branch.item.as_ref().is_some_and(|item| item.index == index);
        branches
            .find(is)
            .unwrap_or_else(|| panic!("item {index} is not under way"))
    }

    pub(super) fn indices(&self) -> Vec<i32> {
        let items = self
            .execution
            .branches
            .iter()
            .filter_map(|b| b.item.as_ref());
        items.map(|item| item.index).collect()
    }

    fn end_item(&mut self, index: i32, outcome: Outcome) {
        let seq = self.item(index).seq;
        self.tell(Command::Settle { seq, outcome }).unwrap();
    }

    pub(super) fn do_item(&mut self, index: i32, output: Value) {
        let (output, message) = (object(output), None);
        self.end_item(index, Outcome::Done { output, message });
    }

    pub(super) fn break_item(&mut self, index: i32) {
        self.end_item(index, Outcome::Failed(Failure::new("BROKEN", "it broke")));
    }

    fn data(&self) -> Value {
        Value::Object(self.execution.context.data.clone())
    }
}

#[test]
fn wcp13_multiple_instances_with_a_priori_design_time_knowledge() {
    let mut run = Run::start(jobs(json!({ "count": 2 })), json!({}));
    assert_eq!(run.at(), ["Each", "Do", "Do"]);
    run.do_item(1, json!({}));
    assert_eq!(run.at(), ["Each", "Do"]);
    run.do_item(0, json!({ "x": 1 }));
    assert_eq!(run.at(), ["Next"]);
    assert_eq!(
        run.data(),
        json!({ "results": [{ "x": 1 }, {}], "completed": 2, "failed": 0 })
    );
}

#[test]
fn wcp14_multiple_instances_with_a_priori_run_time_knowledge() {
    let graph = each(
        json!({ "items": "orders", "concurrency": 2 }),
        (
            "transform",
            json!({ "output": { "name": "item + string(itemIndex)", "all": "data.item" } }),
        ),
    );
    let run = Run::start(graph, three());
    assert_eq!(run.at(), ["Next"]);
    let results = json!([
        { "all": "a", "name": "a0" }, { "all": "b", "name": "b1" }, { "all": "c", "name": "c2" },
    ]);
    assert_eq!(run.data()["results"], results);
    // What one item sees is seen by nobody else.
    assert_eq!(run.data().get("item"), None);
    assert_eq!(run.count("Do COMPLETED"), 3);
    let indices: Vec<_> = run.change.logs.values().map(|log| log.item_index).collect();
    assert_eq!(indices, [None, Some(0), Some(1), Some(2), None]);
}

#[test]
fn no_more_items_are_under_way_than_allowed() {
    let mut run = Run::start(
        jobs(json!({ "items": "orders", "concurrency": 2 })),
        three(),
    );
    assert_eq!(run.indices(), [0, 1]);
    run.do_item(0, json!({}));
    assert_eq!(run.indices(), [1, 2]);
    run.do_item(2, json!({}));
    assert_eq!(run.indices(), [1]);
    run.do_item(1, json!({}));
    assert_eq!(run.at(), ["Next"]);
}

#[test]
fn wcp34_static_partial_join_for_multiple_instances() {
    let config = json!({ "items": "orders", "needed": 2, "onSatisfied": "LET_RUN" });
    let mut run = Run::start(jobs(config), three());
    run.do_item(2, json!({}));
    run.do_item(0, json!({}));
    assert_eq!(run.at(), ["Do", "Next"]);
    run.done("Next");
    // The last one runs to its end, and the execution with it.
    assert_eq!(run.execution.status, ExecutionStatus::Running);
    run.do_item(1, json!({}));
    assert_eq!(run.execution.status, ExecutionStatus::Completed);
    assert_eq!(
        (run.count("Each COMPLETED"), run.count("Next COMPLETED")),
        (1, 1)
    );
}

#[test]
fn wcp35_cancelling_partial_join_for_multiple_instances() {
    let config = json!({ "items": "orders", "needed": 1, "concurrency": 2 });
    let mut run = Run::start(jobs(config), three());
    run.do_item(1, json!({ "found": true }));
    assert_eq!(run.at(), ["Next"]);
    assert_eq!(
        run.data()["results"],
        json!([null, { "found": true }, null])
    );
    assert_eq!((run.count("Do SKIPPED"), run.count("Do COMPLETED")), (1, 1));
}

#[test]
fn wcp36_dynamic_partial_join_for_multiple_instances() {
    let until = "step.completed >= data.enough && step.output.ok";
    let mut run = Run::start(
        jobs(json!({ "items": "orders", "until": until })),
        json!({ "orders": [1, 2, 3, 4], "enough": 2 }),
    );
    run.do_item(0, json!({ "ok": true }));
    run.do_item(1, json!({ "ok": false }));
    assert_eq!(run.indices(), [2, 3]);
    run.do_item(3, json!({ "ok": true }));
    assert_eq!(run.at(), ["Next"]);
    assert_eq!(run.data()["completed"], json!(3));
}

#[test]
fn until_that_says_neither_yes_nor_no_fails_the_step() {
    for until in ["'yes'", "nothing.there"] {
        let mut run = Run::start(jobs(json!({ "count": 2, "until": until })), json!({}));
        run.do_item(0, json!({}));
        run.check(
            ExecutionStatus::Failed,
            &["Each FAILED", "Do COMPLETED", "Do SKIPPED"],
        );
        assert_eq!(
            run.execution.failure.as_ref().unwrap().code,
            "EXPRESSION_FAILED"
        );
    }
}

#[test]
fn items_that_fail_are_tolerated_up_to_a_number() {
    let mut run = Run::start(jobs(json!({ "items": "orders", "tolerated": 1 })), three());
    run.break_item(1);
    run.do_item(0, json!({ "x": 0 }));
    run.do_item(2, json!({ "x": 2 }));
    assert_eq!(run.at(), ["Next"]);
    assert_eq!(run.data()["results"], json!([{ "x": 0 }, null, { "x": 2 }]));
    assert_eq!(run.data()["failed"], json!(1));

    let mut run = Run::start(jobs(json!({ "items": "orders", "tolerated": 1 })), three());
    run.break_item(1);
    run.break_item(2);
    run.check(
        ExecutionStatus::Failed,
        &["Each FAILED", "Do SKIPPED", "Do FAILED", "Do FAILED"],
    );
    let failure = run.execution.failure.unwrap();
    assert_eq!(failure.code, "BROKEN");
    assert!(
        failure.message.contains("item 2: it broke"),
        "{}",
        failure.message
    );
}

#[test]
fn items_that_can_no_longer_be_enough_fail_the_step() {
    let config = json!({ "items": "orders", "needed": 2, "tolerated": 3 });
    let mut run = Run::start(jobs(config), three());
    run.break_item(0);
    run.break_item(1);
    assert_eq!(run.execution.status, ExecutionStatus::Failed);
    assert_eq!(run.execution.failure.unwrap().code, "ITEMS_UNSATISFIABLE");
}

#[test]
fn an_item_is_tried_again_by_itself() {
    let graph = each(
        json!({ "items": "orders" }),
        ("check", json!({ "retry": { "maxAttempts": 2 } })),
    );
    let mut run = Run::start(graph, three());
    run.break_item(1);
    assert_eq!(run.indices(), [0, 2, 1]);
    let again = run.item(1);
    assert_eq!((again.activation, again.attempt), (2, 2));
    run.do_item(1, json!({}));
    run.do_item(0, json!({}));
    run.do_item(2, json!({}));
    assert_eq!(run.at(), ["Next"]);
}

#[test]
fn an_item_that_is_not_required_or_parks_does_not_fail_the_others() {
    let steps = [
        (
            "Each",
            "foreach",
            json!({ "items": "orders", "step": "Do" }),
        ),
        ("Do?", "check", json!({ "retry": { "maxAttempts": 1 } })),
    ];
    let mut run = Run::start(graph(&steps, &[]), three());
    run.break_item(0);
    run.do_item(1, json!({}));
    run.do_item(2, json!({}));
    assert_eq!(run.execution.status, ExecutionStatus::Completed);
    assert_eq!(run.data()["results"], json!([null, {}, {}]));

    let parks = json!({ "retry": { "maxAttempts": 1 }, "onFailure": "park" });
    let mut run = Run::start(
        each(json!({ "items": "orders" }), ("check", parks)),
        three(),
    );
    run.break_item(0);
    run.do_item(1, json!({}));
    run.do_item(2, json!({}));
    assert_eq!(run.at(), ["Each", "Do"]);
    let seq = run.item(0).seq;
    run.tell(Command::Resolve {
        seq,
        actor: person("ada@x", &[]),
        resolution: Resolution::Complete {
            output: object(json!({ "late": true })),
        },
    })
    .unwrap();
    assert_eq!(run.data()["results"], json!([{ "late": true }, {}, {}]));
}

#[test]
fn lists_that_are_none_fail_and_empty_ones_are_done() {
    let start = |input| Run::start(jobs(json!({ "items": "orders" })), input);
    for input in [
        json!({}),
        json!({ "orders": "a" }),
        json!({ "orders": vec![0; 1001] }),
    ] {
        let run = start(input);
        assert_eq!(run.execution.status, ExecutionStatus::Failed);
        assert_eq!(run.execution.failure.unwrap().code, "ITEMS_UNDEFINED");
    }
    let run = start(json!({ "orders": [] }));
    assert_eq!(run.at(), ["Next"]);
    assert_eq!(run.data()["results"], json!([]));
    let run = start(json!({ "orders": vec![0; 1000] }));
    assert_eq!(run.indices().len(), 1000);
}

#[test]
fn results_that_are_too_large_together_fail_the_step() {
    let mut run = Run::start(jobs(json!({ "count": 3 })), json!({}));
    let large = json!({ "x": "y".repeat(150_000) });
    run.do_item(0, large.clone());
    run.do_item(1, large);
    assert_eq!(run.execution.status, ExecutionStatus::Failed);
    assert_eq!(run.execution.failure.unwrap().code, "RESULTS_TOO_LARGE");
}

#[test]
fn a_foreach_that_is_late_takes_its_items_along() {
    let graph = jobs(json!({ "items": "orders", "timeout": "1h" }));
    let mut run = Run::start(graph, three());
    run.do_item(0, json!({}));
    run.now += TimeDelta::hours(1);
    let seq = run.execution.branches[0].seq;
    run.tell(Command::Wake { seq }).unwrap();
    assert_eq!(run.execution.failure.as_ref().unwrap().code, "TIMEOUT");
    run.check(
        ExecutionStatus::Failed,
        &["Each FAILED", "Do COMPLETED", "Do SKIPPED", "Do SKIPPED"],
    );
}

#[test]
fn memory_of_items_survives_being_stored() {
    let mut run = Run::start(
        jobs(json!({ "items": "orders", "concurrency": 1 })),
        three(),
    );
    run.do_item(0, json!({ "x": 0 }));
    let stored = serde_json::to_value(&run.execution.memory).unwrap();
    let read: Memory = serde_json::from_value(stored).unwrap();
    assert_eq!(read, run.execution.memory);
    assert_eq!(read.shown().collect::<Vec<_>>(), [2]);
}

#[test]
fn fewer_items_than_needed_are_never_enough() {
    for orders in [json!([]), json!(["a"])] {
        let config = json!({ "items": "orders", "needed": 2 });
        let run = Run::start(jobs(config), json!({ "orders": orders }));
        run.check(ExecutionStatus::Failed, &["Each FAILED"]);
        let failure = run.execution.failure.as_ref().unwrap();
        assert_eq!(failure.code, "ITEMS_UNSATISFIABLE");
    }
}

#[test]
fn nobody_completes_for_people_what_they_decide_for_items() {
    let config = json!({ "count": 2, "onFailure": "park" });
    let mut run = Run::start(
        each(config, ("approval", json!({ "timeout": "1h" }))),
        json!({}),
    );
    run.now += TimeDelta::hours(1);
    let seq = run.item(0).seq;
    run.tell(Command::Wake { seq }).unwrap();
    assert_eq!(run.at(), ["Each"]);
    let seq = run.execution.branches[0].seq;
    let resolve = |resolution| Command::Resolve {
        seq,
        actor: person("ada@x", &[]),
        resolution,
    };
    let output = object(json!({ "results": [{ "approved": true }] }));
    let forged = run.tell(resolve(Resolution::Complete { output }));
    assert_eq!(forged, Err(Refusal::PeopleDecide));
    run.tell(resolve(Resolution::Retry { data: Map::new() }))
        .unwrap();
    assert_eq!(run.at(), ["Each", "Do", "Do"]);
}
