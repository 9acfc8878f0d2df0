//! Executions that a step starts, seen from who asks for them and from themselves.

use serde_json::json;

use super::super::*;
use super::*;

const OTHER: &str = "018f3b5e-7a10-7c4e-9a53-2f7d1c0b9e64";

fn calling(config: Value) -> Graph {
    let mut config = object(config);
    config.insert("workflowId".to_owned(), json!(OTHER));
    let caught = json!({ "field": "step.status", "operator": "equals", "value": "FAILED" });
    graph(
        &[
            ("Book", "work", json!({ "compensate": "Unbook" })),
            ("Call", "subworkflow", Value::Object(config)),
            ("Done", "notification", json!({})),
            ("Sorry", "notification", json!({})),
            ("Unbook", "notification", json!({})),
        ],
        &[
            ("Book", "Call", Value::Null),
            ("Call", "Done", Value::Null),
            ("Call", "Sorry", caught),
        ],
    )
}

/// One that waits for the execution which has the id of its branch.
fn waiting(config: Value) -> Run {
    let mut run = Run::start(calling(config), json!({ "amount": 3 }));
    run.work(json!({ "room": 12 })).expect("held");
    run.execution.branches[0].id = id(50);
    run
}

fn hear(run: &mut Run, news: News) -> Result<(), Refusal> {
    let seq = run.execution.branches[0].seq;
    run.tell(Command::Hear { seq, news })
}

fn asked(run: &Run) -> Vec<&Call> {
    let starts = run.change.messages.iter();
    let call = |message: &'_ Message| matches!(message, Message::Start { .. });
    starts
        .filter(|message| call(message))
        .map(|message| match message {
            Message::Start { call, .. } => call,
            _ => unreachable!("only these are left"),
        })
        .collect()
}

/// What was told to end, and whether it is to undo what it did.
fn called_off(run: &Run) -> Vec<(Uuid, bool)> {
    let messages = run.change.messages.iter();
    let ends = messages.filter_map(|message| match message {
        Message::Cancel {
            execution_id,
            compensate,
            ..
        } => Some((*execution_id, *compensate)),
        _ => None,
    });
    ends.collect()
}

#[test]
fn a_call_waits_for_the_result() {
    let mut run = waiting(json!({}));
    assert_eq!(
        asked(&run)[0].input,
        object(json!({ "amount": 3, "room": 12 }))
    );
    assert!(asked(&run)[0].waits && asked(&run)[0].depth == 1);
    run.check(
        ExecutionStatus::Running,
        &["Book COMPLETED", "Call RUNNING"],
    );
    let result = object(json!({ "paid": true }));
    hear(&mut run, News::Over(Ending::Completed(result))).expect("awaited");
    run.check(
        ExecutionStatus::Completed,
        &["Book COMPLETED", "Call COMPLETED", "Done COMPLETED"],
    );
    let output = json!({ "executionId": id(50), "result": { "paid": true } });
    assert_eq!(run.change.logs[&2].data, Some(object(output)));
    assert_eq!(called_off(&run), []);
}

#[test]
fn a_start_waits_for_nothing_but_the_start() {
    let config = json!({ "mode": "START", "input": { "double": "data.amount * 2" } });
    let mut run = waiting(config);
    assert_eq!(asked(&run)[0].input, object(json!({ "double": 6 })));
    assert!(!asked(&run)[0].waits);
    hear(&mut run, News::Started).expect("awaited");
    assert_eq!(run.execution.status, ExecutionStatus::Completed);
    let output = json!({ "executionId": id(50) });
    assert_eq!(run.change.logs[&2].data, Some(object(output)));
}

#[test]
fn what_goes_wrong_there_is_caught_here() {
    let broken = || Failure::new("NO_MONEY", "the account is empty");
    let late = |run: &mut Run| {
        let seq = run.execution.branches[0].seq;
        run.now += TimeDelta::hours(2);
        run.tell(Command::Wake { seq })
    };
    type Story<'a> = (
        &'a str,
        &'a dyn Fn(&mut Run) -> Result<(), Refusal>,
        &'a [(Uuid, bool)],
    );
    let stories: [Story; 4] = [
        (
            "NO_MONEY",
            &|run| hear(run, News::Over(Ending::Failed(broken()))),
            &[],
        ),
        (
            "SUBWORKFLOW_CANCELLED",
            &|run| hear(run, News::Over(Ending::Cancelled(broken()))),
            &[],
        ),
        ("NO_MONEY", &|run| hear(run, News::Refused(broken())), &[]),
        ("TIMEOUT", &late, &[(id(50), true)]),
    ];
    for (code, story, ends) in stories {
        let mut run = waiting(json!({ "timeout": "1h" }));
        story(&mut run).expect("awaited");
        run.check(
            ExecutionStatus::Completed,
            &["Book COMPLETED", "Call FAILED", "Sorry COMPLETED"],
        );
        let failure = run.change.logs[&2].failure.as_ref().expect("it failed");
        assert_eq!(
            (failure.code.as_str(), called_off(&run)),
            (code, ends.to_vec())
        );
    }
}

#[test]
fn whoever_stops_waiting_calls_off() {
    for compensate in [false, true] {
        let mut run = waiting(json!({}));
        let reason = "no time".to_owned();
        run.tell(Command::Cancel { reason, compensate })
            .expect("open");
        assert_eq!(called_off(&run), [(id(50), compensate)]);
        let late = run.tell(Command::Hear {
            seq: 2,
            news: News::Over(Ending::Completed(Map::new())),
        });
        assert!(late.is_err());
    }
    // What was never committed has not started.
    let mut run = Run::start(calling(json!({})), json!({}));
    run.work(json!({})).expect("held");
    let reason = String::new();
    run.tell(Command::Cancel {
        reason,
        compensate: false,
    })
    .expect("open");
    assert_eq!(called_off(&run), []);
}

#[test]
fn a_call_is_tried_again_by_policy_alone() {
    let mut run =
        waiting(json!({ "retry": { "maxAttempts": 2, "initialInterval": "1m", "jitter": 0 } }));
    let broken = || News::Over(Ending::Failed(Failure::new("DOWN", "no")));
    hear(&mut run, broken()).expect("awaited");
    run.check(
        ExecutionStatus::Running,
        &["Book COMPLETED", "Call FAILED", "Call RUNNING"],
    );
    let Some(Message::Start { seq: 3, at, .. }) = run.change.messages.last() else {
        panic!("{:?}", run.change.messages);
    };
    assert_eq!(*at, run.now + TimeDelta::minutes(1));
    run.execution.branches[0].id = id(51);
    hear(&mut run, broken()).expect("awaited");
    assert_eq!(run.path()[2..], ["Call FAILED", "Sorry COMPLETED"]);
    assert_eq!(called_off(&run), []);
}

#[test]
fn executions_that_start_each_other_end_somewhere() {
    let graph = graph(
        &[("Call", "subworkflow", json!({ "workflowId": OTHER }))],
        &[],
    );
    for (depth, code) in [(7, None), (8, Some("SUBWORKFLOW_TOO_DEEP"))] {
        let mut execution = begin(&graph, id(7), Map::new(), noon());
        execution.memory.parent = Some(Parent {
            execution_id: id(6),
            waits: true,
            depth,
        });
        let mut change = Change::default();
        advance(&graph, &mut execution, Command::Start, noon(), &mut change).expect("open");
        let failure = execution.failure.map(|failure| failure.code);
        assert_eq!(failure.as_deref(), code);
        let Some(Message::Over { to, ended }) = change.messages.last() else {
            assert!(code.is_none(), "whoever waits is told");
            continue;
        };
        assert!(*to == id(6) && matches!(ended, Ending::Failed(_)));
    }
}

#[test]
fn the_result_is_the_last_output_that_there_is() {
    let graph = graph(
        &[
            (
                "Sum",
                "transform",
                json!({ "output": { "sum": "data.a + 1" } }),
            ),
            ("Tell", "notification", json!({})),
        ],
        &[],
    );
    let mut execution = begin(&graph, id(7), object(json!({ "a": 1 })), noon());
    let (execution_id, waits, depth) = (id(6), true, 1);
    execution.memory.parent = Some(Parent {
        execution_id,
        waits,
        depth,
    });
    let mut change = Change::default();
    advance(&graph, &mut execution, Command::Start, noon(), &mut change).expect("open");
    let ended = Ending::Completed(object(json!({ "sum": 2 })));
    assert_eq!(change.messages, [Message::Over { to: id(6), ended }]);
}

#[test]
fn an_input_that_is_too_large_fails_the_step() {
    let run = Run::start(
        graph(
            &[("Call", "subworkflow", json!({ "workflowId": OTHER }))],
            &[],
        ),
        json!({ "x": "x".repeat(256 * 1024 - 20) }),
    );
    let failure = run.execution.failure.expect("it failed");
    assert_eq!(failure.code, "SUBWORKFLOW_INPUT_INVALID");
    assert_eq!(run.change.messages, []);
}

/// Runs a graph that calls itself, as the committer does: whoever is called is heard when it is over.
fn recur(graph: &Graph, input: Map<String, Value>, depth: u32) -> Ending {
    let mut execution = begin(graph, id(7), input, noon());
    let (execution_id, waits) = (id(6), true);
    execution.memory.parent = Some(Parent {
        execution_id,
        waits,
        depth,
    });
    let mut change = Change::default();
    advance(graph, &mut execution, Command::Start, noon(), &mut change).expect("open");
    while let Some(message) = change.messages.pop() {
        let (seq, call) = match message {
            Message::Start { seq, call, .. } => (seq, call),
            Message::Over { ended, .. } => return ended,
            other => panic!("{other:?}"),
        };
        let news = News::Over(recur(graph, call.input, call.depth));
        let heard = Command::Hear { seq, news };
        advance(graph, &mut execution, heard, noon(), &mut change).expect("awaited");
    }
    panic!("it waits for something else: {:?}", execution.branches)
}

#[test]
fn wcp22_recursion() {
    let call = json!({ "workflowId": id(1), "input": { "n": "data.n - 1" } });
    let times = json!({ "output": { "product": "data.n * data.result.product" } });
    let graph = graph(
        &[
            ("Ask", "decision", json!({})),
            ("Less", "subworkflow", call),
            ("Times", "transform", times),
            ("One", "transform", json!({ "output": { "product": "1" } })),
        ],
        &[
            (
                "Ask",
                "Less",
                json!({ "field": "n", "operator": "greaterThan", "value": 1 }),
            ),
            ("Ask", "One", Value::Null),
            ("Less", "Times", Value::Null),
        ],
    );
    let done = recur(&graph, object(json!({ "n": 5 })), 0);
    assert_eq!(done, Ending::Completed(object(json!({ "product": 120 }))));
    // It ends by itself, or at the bottom.
    let Ending::Failed(failure) = recur(&graph, object(json!({ "n": 50 })), 0) else {
        panic!("there is no way that deep");
    };
    assert_eq!(failure.code, "SUBWORKFLOW_TOO_DEEP");
}

#[test]
fn each_item_may_have_an_execution_of_its_own() {
    let each = json!({ "items": "orders", "step": "Call", "concurrency": 2 });
    let call = json!({ "workflowId": OTHER });
    let steps = [("Each", "foreach", each), ("Call", "subworkflow", call)];
    let mut run = Run::start(graph(&steps, &[]), json!({ "orders": ["a", "b", "c"] }));
    let items = |run: &Run| -> Vec<Value> {
        let calls = asked(run).into_iter();
        calls.map(|call| call.input["item"].clone()).collect()
    };
    assert_eq!(items(&run), ["a", "b"]);
    for branch in &mut run.execution.branches {
        branch.id = id(50 + branch.seq as u128);
    }
    let result = object(json!({ "paid": true }));
    let news = News::Over(Ending::Completed(result));
    run.tell(Command::Hear { seq: 2, news }).expect("awaited");
    assert_eq!(items(&run), ["a", "b", "c"]);
    // What is cancelled calls off what is under way, and nothing else.
    let reason = String::new();
    let compensate = false;
    run.tell(Command::Cancel { reason, compensate })
        .expect("open");
    assert_eq!(called_off(&run), [(id(53), false)]);
}
