//! A restarted execution takes over what was done, and nothing else.

use serde_json::json;

use super::super::*;
use super::*;

/// What the logs of a run tell.
fn past(run: &Run) -> Vec<Past> {
    let told = run.change.logs.values().map(|log| Past {
        seq: log.seq,
        step_id: log.step_id,
        activation: log.activation,
        attempt: log.attempt,
        status: log.status,
        event_seq: log.event_seq.expect("the run is over"),
        from: log.from,
        item_index: log.item_index,
        message: log.message.clone(),
    });
    told.collect()
}

/// Begins again what `old` ran, with `graph`.
fn restart_as(graph: Graph, old: &Run, afresh: Option<&str>) -> Run {
    restart_with(graph, old, afresh, json!({ "given": 1 }))
}

pub(super) fn restart_with(graph: Graph, old: &Run, afresh: Option<&str>, input: Value) -> Run {
    let afresh = afresh.map(|name| {
        let mut steps = old.graph.definition.steps.iter();
        steps.find(|step| step.name == name).expect("a step").id
    });
    let mut reuse = Reuse::new(old.execution.id, (&old.graph, &graph), &past(old), afresh);
    for seq in reuse.wanted(&graph) {
        if let Some(output) = &old.change.logs[&seq].data {
            reuse.keep(seq, output.clone());
        }
    }
    let mut execution = begin(&graph, id(8), object(input), noon());
    execution.memory.reuse = Some(reuse);
    let mut run = Run {
        graph,
        execution,
        change: Change::default(),
        now: noon() + TimeDelta::hours(1),
    };
    run.tell(Command::Start).expect("a start is obeyed");
    run
}

fn restart(old: &Run, afresh: Option<&str>) -> Run {
    let graph = Graph::parse(old.graph.definition.clone());
    restart_as(graph.expect("it ran").0, old, afresh)
}

fn once() -> Value {
    json!({ "retry": { "maxAttempts": 1 } })
}

/// Works on the branch at a step.
fn work_at(run: &mut Run, name: &str, output: Value) {
    let at = |branch: &Branch| run.graph.definition.steps[branch.step].name == name;
    let first = run.execution.branches.iter().position(at).expect(name);
    run.execution.branches.swap(0, first);
    run.work(output).expect("held");
}

fn break_at(run: &mut Run, name: &str) {
    let at = |branch: &Branch| run.graph.definition.steps[branch.step].name == name;
    let first = run.execution.branches.iter().position(at).expect(name);
    run.execution.branches.swap(0, first);
    run.break_down("BROKEN").expect("held");
}

#[test]
fn completed_steps_are_taken_over_and_the_rest_is_done() {
    let mut old = Run::start(onboarding(), json!({ "given": 1 }));
    let manager = person("ann@x.org", &["manager"]);
    old.answer(&manager, submit(json!({ "complete": true })))
        .expect("open");
    old.answer(&manager, approve()).expect("open");
    for _ in 0..3 {
        old.break_down("BROKEN").expect("held");
        old.now += TimeDelta::hours(1);
    }
    assert_eq!(old.execution.status, ExecutionStatus::Failed);

    let run = restart(&old, None);
    assert_eq!(
        run.path(),
        [
            "Contact COMPLETED",
            "Documents COMPLETED",
            "Approval COMPLETED",
            "Setup PENDING"
        ]
    );
    assert!(run.change.notifications.is_empty());
    let approval = &run.change.logs[&3];
    let note = format!("approved by ann@x.org; taken over from execution {}", id(7));
    assert_eq!(approval.message.as_deref(), Some(&*note));
    assert_eq!(approval.data, old.change.logs[&3].data);
    assert_eq!(run.execution.context.data["approver"], "ann@x.org");
    assert_eq!(run.execution.memory.reuse, None);

    // Once more: what was taken over is taken over again, and its log names the latest execution only.
    let mut run = run;
    let reason = "no time".to_owned();
    run.tell(Command::Cancel {
        reason,
        compensate: false,
    })
    .expect("open");
    let again = restart(&run, None);
    let note = format!("approved by ann@x.org; taken over from execution {}", id(8));
    assert_eq!(again.change.logs[&3].message.as_deref(), Some(&*note));
}

#[test]
fn from_the_step_given_everything_is_done_afresh() {
    let mut old = Run::start(onboarding(), json!({ "given": 1 }));
    let manager = person("ann@x.org", &["manager"]);
    old.answer(&manager, submit(json!({ "complete": true })))
        .expect("open");
    old.answer(&manager, approve()).expect("open");
    old.work(json!({ "account": 5 })).expect("held");
    assert_eq!(old.execution.status, ExecutionStatus::Completed);
    let mut run = restart(&old, Some("Documents"));
    assert_eq!(run.path(), ["Contact COMPLETED", "Documents PENDING"]);
    run.answer(&manager, submit(json!({ "complete": true })))
        .expect("open");
    assert_eq!(run.path()[2], "Approval PENDING");
    assert_eq!(run.execution.context.data.get("account"), None);
}

/// `A` and `B` side by side, each with a step behind it, then `Both`.
fn fork() -> Graph {
    graph(
        &[
            ("Fork", "parallel", json!({})),
            ("A", "work", once()),
            ("B", "work", once()),
            ("After A", "work", once()),
            ("After B", "work", once()),
            ("Both", "join", json!({})),
            ("Last", "work", once()),
        ],
        &[
            ("Fork", "A", json!({ "cel": "true" })),
            ("Fork", "B", json!({ "cel": "true" })),
            ("A", "After A", Value::Null),
            ("B", "After B", Value::Null),
            ("After A", "Both", Value::Null),
            ("After B", "Both", Value::Null),
            ("Both", "Last", Value::Null),
        ],
    )
}

#[test]
fn branches_are_taken_over_each_as_far_as_it_came() {
    let mut old = Run::start(fork(), json!({}));
    work_at(&mut old, "B", json!({ "b": 1 }));
    work_at(&mut old, "After B", json!({ "after": "b" }));
    work_at(&mut old, "A", json!({ "a": 1 }));
    break_at(&mut old, "After A");
    assert_eq!(old.execution.status, ExecutionStatus::Failed);
    let mut run = restart(&old, None);
    let open: Vec<String> = run
        .path()
        .into_iter()
        .filter(|line| !line.ends_with("COMPLETED"))
        .collect();
    assert_eq!(open, ["Both RUNNING", "After A PENDING"]);
    work_at(&mut run, "After A", json!({ "after": "a" }));
    // What comes behind a join is done if anything before it was done afresh.
    assert_eq!(run.path().last().map(String::as_str), Some("Last PENDING"));

    // A join that everybody reached is as good as passed, whoever came to it first.
    let mut old = Run::start(fork(), json!({}));
    work_at(&mut old, "B", json!({}));
    work_at(&mut old, "After B", json!({ "after": "b" }));
    work_at(&mut old, "A", json!({}));
    work_at(&mut old, "After A", json!({ "after": "a" }));
    work_at(&mut old, "Last", json!({ "last": true }));
    assert_eq!(old.execution.status, ExecutionStatus::Completed);
    let run = restart(&old, Some("Last"));
    assert_eq!(run.path().last().map(String::as_str), Some("Last PENDING"));
    assert_eq!(run.execution.branches.len(), 1);
    // The outputs overlay one another in the order of before.
    assert_eq!(run.execution.context.data["after"], "a");
}

#[test]
fn what_follows_a_step_that_is_done_afresh_is_done_afresh() {
    let steps = [
        ("Fork", "parallel", json!({})),
        ("Fails", "work", once()),
        ("Works", "work", once()),
        ("Common", "work", once()),
        ("Last", "work", once()),
    ];
    let ways = [
        ("Fork", "Fails", json!({ "cel": "true" })),
        ("Fork", "Works", json!({ "cel": "true" })),
        ("Fails", "Common", equals("step.status", json!("FAILED"))),
        ("Fails", "Common", Value::Null),
        ("Works", "Common", Value::Null),
        ("Common", "Last", Value::Null),
    ];
    let mut old = Run::start(graph(&steps, &ways), json!({}));
    // Two arrivals at `Common`: the first by the way of the failure.
    break_at(&mut old, "Fails");
    work_at(&mut old, "Common", json!({ "by": "failure" }));
    work_at(&mut old, "Works", json!({}));
    work_at(&mut old, "Common", json!({ "by": "work" }));
    break_at(&mut old, "Last");
    assert_eq!(old.execution.status, ExecutionStatus::Failed);
    let run = restart(&old, None);
    // The only arrival so far is the one by `Works`, whatever its number was.
    let common = run
        .change
        .logs
        .values()
        .find(|log| log.data.is_some())
        .expect("taken over");
    assert_eq!(common.data, Some(object(json!({ "by": "work" }))));
    let mut open: Vec<String> = run
        .path()
        .into_iter()
        .filter(|line| line.ends_with("PENDING"))
        .collect();
    open.sort();
    assert_eq!(open, ["Fails PENDING", "Last PENDING"]);
}

#[test]
fn what_was_undone_is_done_again() {
    let books = |undo: &str| json!({ "compensate": undo, "retry": { "maxAttempts": 1 } });
    let steps = [
        ("Flight", "work", books("Cancel flight")),
        ("Hotel", "work", books("Cancel hotel")),
        ("Car", "work", once()),
        ("Cancel flight", "work", once()),
        ("Cancel hotel", "notification", json!({})),
    ];
    let ways = [
        ("Flight", "Hotel", Value::Null),
        ("Hotel", "Car", Value::Null),
    ];
    let failed = |undone: bool| {
        let mut old = Run::start(graph(&steps, &ways), json!({}));
        work_at(&mut old, "Flight", json!({ "flight": 1 }));
        work_at(&mut old, "Hotel", json!({ "hotel": 2 }));
        break_at(&mut old, "Car");
        if undone {
            work_at(&mut old, "Cancel flight", json!({}));
        } else {
            let reason = String::new();
            old.tell(Command::Cancel {
                reason,
                compensate: false,
            })
            .expect("open");
        }
        assert_eq!(old.execution.status, ExecutionStatus::Failed);
        old
    };
    assert_eq!(restart(&failed(true), None).path(), ["Flight PENDING"]);
    // The flight stands, for its cancellation was given up; the hotel's was done.
    assert_eq!(
        restart(&failed(false), None).path(),
        ["Flight COMPLETED", "Hotel PENDING"]
    );
    // What is taken over can be undone.
    let mut run = restart(&failed(false), None);
    break_at(&mut run, "Hotel");
    assert_eq!(
        run.path().last().map(String::as_str),
        Some("Cancel flight PENDING")
    );
}

#[test]
fn retries_loops_waits_and_signals_are_taken_over() {
    let steps = [
        (
            "Ask",
            "work",
            json!({ "retry": { "maxAttempts": 3, "initialInterval": "1s" } }),
        ),
        ("More", "decision", json!({})),
        ("Wait", "wait", json!({ "duration": "1h" })),
        ("Paid", "signal", json!({ "name": "paid" })),
        ("Ship", "work", once()),
    ];
    let ways = [
        ("Ask", "More", Value::Null),
        ("More", "Ask", equals("more", json!(true))),
        ("More", "Wait", Value::Null),
        ("Wait", "Paid", Value::Null),
        ("Paid", "Ship", Value::Null),
    ];
    let mut old = Run::start(graph(&steps, &ways), json!({}));
    old.break_down("SLOW").expect("held");
    old.now += TimeDelta::hours(1);
    old.work(json!({ "more": true })).expect("held");
    old.work(json!({ "more": false, "n": 2 })).expect("held");
    old.now += TimeDelta::hours(2);
    let seq = old.execution.branches[0].seq;
    old.tell(Command::Wake { seq }).expect("due");
    let paid = Signal {
        name: "paid".to_owned(),
        data: object(json!({ "amount": 5 })),
        expires_at: None,
    };
    old.tell(Command::Signal(paid)).expect("awaited");
    break_at(&mut old, "Ship");
    let run = restart(&old, None);
    let path = [
        "Ask COMPLETED",
        "More COMPLETED",
        "Ask COMPLETED",
        "More COMPLETED",
        "Wait COMPLETED",
        "Paid COMPLETED",
        "Ship PENDING",
    ];
    run.check(ExecutionStatus::Running, &path);
    assert_eq!(run.execution.context.data["amount"], 5);
    assert_eq!(run.execution.context.data["n"], 2);
}

#[test]
fn another_version_takes_over_what_is_still_on_its_way() {
    let mut old = Run::start(onboarding(), json!({ "given": 1 }));
    let manager = person("ann@x.org", &["manager"]);
    old.answer(&manager, submit(json!({ "complete": true })))
        .expect("open");
    old.answer(&manager, approve()).expect("open");
    let reason = String::new();
    old.tell(Command::Cancel {
        reason,
        compensate: false,
    })
    .expect("open");
    let mut definition = old.graph.definition.clone();
    // The way to the approval leads through another step now.
    let mut check = definition.steps[3].clone();
    (check.id, check.name, check.key, check.order) = (id(900), "Check".into(), "check".into(), 9);
    for way in &mut definition.transitions {
        if way.to_step_id == definition.steps[2].id {
            way.to_step_id = check.id;
        }
    }
    definition.transitions.push(Transition {
        id: id(2000),
        from_step_id: check.id,
        to_step_id: definition.steps[2].id,
        condition: None,
        is_default: true,
    });
    definition.steps.push(check);
    let graph = Graph::parse(definition).expect("it is well-formed").0;
    let mut run = restart_as(graph, &old, None);
    let taken = ["Contact COMPLETED", "Documents COMPLETED", "Check PENDING"];
    run.check(ExecutionStatus::Running, &taken);
    run.work(json!({})).expect("held");
    assert_eq!(run.path()[3], "Approval PENDING");
}

#[test]
fn a_slice_that_ends_amid_what_is_taken_over_loses_nothing() {
    let steps = [
        ("Count", "work", json!({})),
        ("Again", "decision", json!({})),
        ("Last", "work", once()),
    ];
    let ways = [
        ("Count", "Again", Value::Null),
        (
            "Again",
            "Count",
            json!({ "field": "n", "operator": "lessThan", "value": 150 }),
        ),
        ("Again", "Last", Value::Null),
    ];
    let mut old = Run::start(graph(&steps, &ways), json!({}));
    for n in 1..=150 {
        old.work(json!({ "n": n })).expect("held");
    }
    break_at(&mut old, "Last");
    let mut run = restart(&old, None);
    assert!(run.execution.memory.reuse.is_some());
    // As it is kept between commits.
    let kept = serde_json::to_value(&run.execution.memory).expect("plain data");
    run.execution.memory = serde_json::from_value(kept).expect("it was written so");
    run.tell(Command::Resume).expect("open");
    assert_eq!(run.change.logs.len(), 301);
    assert_eq!(run.path().last().map(String::as_str), Some("Last PENDING"));
    assert_eq!(run.execution.memory.reuse, None);
}

#[test]
fn items_that_were_completed_are_taken_over() {
    let each = |concurrency: i32| {
        let settings = json!({ "items": "orders", "step": "pack", "concurrency": concurrency });
        let steps = [
            ("All", "foreach", settings),
            ("Pack", "pack", once()),
            ("Last", "work", once()),
        ];
        graph(&steps, &[("All", "Last", Value::Null)])
    };
    let input = json!({ "orders": ["a", "b", "c", "d"] });
    let mut old = Run::start(each(3), input.clone());
    // The second one fails, after the third and the first were packed; the fourth was begun.
    old.do_item(2, json!({ "packed": "c" }));
    old.do_item(0, json!({ "packed": "a" }));
    old.break_item(1);
    assert_eq!(old.execution.status, ExecutionStatus::Failed);

    let mut run = restart_with(each(3), &old, None, input.clone());
    assert_eq!(run.indices(), [1, 3]);
    run.do_item(1, json!({ "packed": 1 }));
    run.do_item(3, json!({ "packed": 3 }));
    let packed = json!([{ "packed": "a" }, { "packed": 1 }, { "packed": "c" }, { "packed": 3 }]);
    assert_eq!(run.execution.context.data["results"], packed);
    // What comes behind is done, and nothing is left to take over.
    assert_eq!(run.path().last().map(String::as_str), Some("Last PENDING"));
    assert_eq!(run.execution.memory.reuse, None);
    // A foreach with other settings may mean other items.
    let other = restart_with(each(2), &old, None, input);
    assert_eq!(other.indices(), [0, 1]);
}

#[test]
fn an_answer_counts_for_nothing_but_what_was_asked() {
    let asking = |kind: (&str, Value)| {
        let steps = [("Agree", kind.0, kind.1), ("Pay", "pay", once())];
        graph(&steps, &[("Agree", "Pay", json!({ "cel": "true" }))])
    };
    // A worker has said yes where people of a group are asked now, or people of another group have.
    let before = [
        ("check", once()),
        ("approval", json!({ "approverRole": "staff" })),
    ];
    for asked in before {
        let is_job = asked.0 == "check";
        let mut old = Run::start(asking(asked), json!({ "given": 1 }));
        if is_job {
            work_at(&mut old, "Agree", json!({ "approved": true }));
        } else {
            let clerk = person("bob@x.org", &["staff"]);
            old.answer(&clerk, approve()).expect("open");
        }
        break_at(&mut old, "Pay");
        let next = ("approval", json!({ "approverRole": "directors" }));
        let mut next = asking(next);
        next.definition.version = 2;
        let again = restart_as(next, &old, None);
        assert_eq!(again.path(), ["Agree PENDING"]);
        assert!(matches!(
            again.execution.branches[0].hold,
            Hold::Person { .. }
        ));
    }
}
