//! Tables of whole runs, and properties that hold for any order of commands.

use chrono::{DateTime, TimeDelta, Utc};
use model::definition::{Definition, Step as StepOf, Transition};
use model::graph::Graph;
use model::status::{ExecutionStatus, StepStatus};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::*;

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn noon() -> DateTime<Utc> {
    "2026-01-01T12:00:00Z".parse().expect("a valid instant")
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

/// Steps as `(name, type, config)`; a name with a trailing `?` is optional. Transitions as
/// `(from, to, condition)`, where null is a default.
fn graph(steps: &[(&str, &str, Value)], transitions: &[(&str, &str, Value)]) -> Graph {
    let bare = |name: &str| name.trim_end_matches('?').to_owned();
    let at = |name: &str| {
        let found = steps.iter().position(|step| bare(step.0) == name);
        id(100 + found.expect("the step is listed") as u128)
    };
    let definition = Definition {
        workflow_id: id(1),
        version: 1,
        client_id: id(2),
        name: "tested".to_owned(),
        description: None,
        steps: steps
            .iter()
            .enumerate()
            .map(|(order, (name, step_type, config))| StepOf {
                id: id(100 + order as u128),
                key: bare(name).to_lowercase(),
                name: bare(name),
                description: None,
                step_type: (*step_type).to_owned(),
                order: order as i32,
                config: object(config.clone()),
                is_required: !name.ends_with('?'),
            })
            .collect(),
        transitions: transitions
            .iter()
            .enumerate()
            .map(|(n, (from, to, condition))| Transition {
                id: id(1000 + n as u128),
                from_step_id: at(from),
                to_step_id: at(to),
                condition: (!condition.is_null()).then(|| condition.clone()),
                is_default: condition.is_null(),
            })
            .collect(),
    };
    Graph::parse(definition)
        .map(|(graph, _)| graph)
        .unwrap_or_else(|p| panic!("{p:#?}"))
}

fn equals(field: &str, value: Value) -> Value {
    json!({ "field": field, "operator": "equals", "value": value })
}

/// An execution under test.
struct Run {
    graph: Graph,
    execution: Execution,
    change: Change,
    now: DateTime<Utc>,
}

impl Run {
    fn start(graph: Graph, input: Value) -> Self {
        let now = noon();
        let mut run = Self {
            execution: begin(&graph, id(7), object(input), now),
            graph,
            change: Change::default(),
            now,
        };
        run.tell(Command::Start).expect("a start is obeyed");
        run
    }

    fn tell(&mut self, command: Command) -> Result<(), Refusal> {
        advance(
            &self.graph,
            &mut self.execution,
            command,
            self.now,
            &mut self.change,
        )
    }

    fn answer(&mut self, actor: &Actor, answer: Answer) -> Result<(), Refusal> {
        let seq = self.execution.branches[0].seq;
        let actor = actor.clone();
        self.tell(Command::Answer { seq, actor, answer })
    }

    /// Gives the first branch's job to the worker, as a lease does.
    fn lease(&mut self) {
        let until = self.now + TimeDelta::seconds(30);
        let holder = worker().holder("w");
        let branch = &mut self.execution.branches[0];
        branch.times.assigned_at = Some(self.now);
        let Hold::Job {
            held_by,
            lease_until,
            wake_at,
            ..
        } = &mut branch.hold
        else {
            panic!("not a job: {:?}", branch.hold);
        };
        *held_by = Some(holder);
        *lease_until = Some(until);
        *wake_at = Some(until);
    }

    fn work(&mut self, output: Value) -> Result<(), Refusal> {
        self.lease();
        let output = object(output);
        let worker = "w".to_owned();
        self.answer(&self::worker(), Answer::Complete { worker, output })
    }

    fn break_down(&mut self, code: &str) -> Result<(), Refusal> {
        self.lease();
        let answer = Answer::Fail {
            worker: "w".to_owned(),
            failure: Failure::new(code, "broken"),
            no_retry: false,
        };
        self.answer(&worker(), answer)
    }

    /// Step names and statuses of the logs, in order.
    fn path(&self) -> Vec<String> {
        let name = |log: &Log| {
            let at = self.graph.node_of(log.step_id).expect("a known step");
            format!("{} {}", self.graph.definition.steps[at].name, log.status)
        };
        self.change.logs.values().map(name).collect()
    }

    fn check(&self, status: ExecutionStatus, path: &[&str]) {
        assert_eq!(self.path(), path);
        assert_eq!(self.execution.status, status);
    }
}

fn worker() -> Actor {
    Actor {
        id: "worker-1".to_owned(),
        ..Actor::default()
    }
}

fn person(email: &str, groups: &[&str]) -> Actor {
    Actor {
        id: email.to_owned(),
        email: email.to_owned(),
        groups: groups.iter().map(|g| (*g).to_owned()).collect(),
    }
}

fn submit(data: Value) -> Answer {
    Answer::Decide(Decision::Submit { data: object(data) })
}

fn approve() -> Answer {
    Answer::Decide(Decision::Approve {
        comment: "fine".to_owned(),
    })
}

fn reject() -> Answer {
    Answer::Decide(Decision::Reject {
        comment: "no".to_owned(),
    })
}

fn onboarding() -> Graph {
    graph(
        &[
            ("Contact", "notification", json!({ "template": "welcome" })),
            ("Documents", "data_entry", json!({})),
            (
                "Approval",
                "approval",
                json!({ "approverRole": "manager", "timeout": "48h" }),
            ),
            ("Setup", "custom", json!({ "action": "create_account" })),
            ("Welcome?", "notification", json!({})),
        ],
        &[
            ("Contact", "Documents", Value::Null),
            ("Documents", "Approval", equals("complete", json!(true))),
            ("Approval", "Setup", equals("approved", json!(true))),
            ("Setup", "Welcome", Value::Null),
        ],
    )
}

#[test]
fn onboarding_goes_all_the_way() {
    let manager = person("m@example.com", &["manager"]);
    let mut run = Run::start(onboarding(), json!({}));
    run.answer(&manager, submit(json!({ "complete": true })))
        .unwrap();
    run.answer(&manager, approve()).unwrap();
    run.work(json!({ "account": 5 })).unwrap();
    run.check(
        ExecutionStatus::Completed,
        &[
            "Contact COMPLETED",
            "Documents COMPLETED",
            "Approval COMPLETED",
            "Setup COMPLETED",
            "Welcome COMPLETED",
        ],
    );
    let decision = run.change.logs[&3].data.as_ref().unwrap();
    assert_eq!(decision["approved"], json!(true));
    assert_eq!(decision["approver"], json!("m@example.com"));
    assert_eq!(decision["timestamp"], json!("2026-01-01T12:00:00Z"));
    assert_eq!(run.execution.context.data["account"], json!(5));
    assert_eq!(run.execution.event_count, 7);
}

#[test]
fn a_rejection_ends_the_branch_normally() {
    let manager = person("m@example.com", &["manager"]);
    let mut run = Run::start(onboarding(), json!({}));
    run.answer(&manager, submit(json!({ "complete": true })))
        .unwrap();
    run.answer(&manager, reject()).unwrap();
    assert_eq!(run.execution.status, ExecutionStatus::Completed);
    let log = &run.change.logs[&3];
    assert!(log.message.as_ref().unwrap().contains("no transition held"));
    let route = log.route.as_ref().unwrap();
    assert_eq!(route["candidates"][0]["seen"]["approved"], json!(false));
    assert_eq!(route["taken"], json!([]));
}

#[test]
fn only_the_group_decides_and_only_the_holder_of_a_claim() {
    let mut run = Run::start(onboarding(), json!({}));
    let clerk = person("c@example.com", &[]);
    run.answer(&clerk, submit(json!({ "complete": true })))
        .unwrap();
    let before = (run.execution.clone(), run.change.clone());
    let refused = run.answer(&clerk, approve());
    assert!(matches!(refused, Err(Refusal::NotYourTask(_))));
    assert!(matches!(
        run.answer(&clerk, Answer::Claim),
        Err(Refusal::NotYourTask(_))
    ));
    let (first, second) = (
        person("a@x.com", &["manager"]),
        person("b@x.com", &["manager"]),
    );
    assert_eq!(
        (&run.execution.branches, &run.change),
        (&before.0.branches, &before.1)
    );

    run.answer(&first, Answer::Claim).unwrap();
    assert_eq!(run.change.logs[&3].status, StepStatus::Running);
    let taken = Refusal::TaskClaimed("a@x.com".to_owned());
    assert_eq!(run.answer(&second, approve()), Err(taken));
    run.answer(&first, Answer::Release).unwrap();
    assert_eq!(
        run.answer(&first, Answer::Release),
        Err(Refusal::NotClaimed)
    );
    run.answer(&second, approve()).unwrap();
    assert_eq!(run.change.logs[&3].times.assigned_at, Some(run.now));
    assert!(matches!(
        run.answer(&second, approve()),
        Err(Refusal::NotATask)
    ));
}

#[test]
fn an_approval_that_nobody_decides_in_time_fails_with_timeout() {
    let mut run = Run::start(onboarding(), json!({}));
    run.answer(
        &person("c@example.com", &[]),
        submit(json!({ "complete": true })),
    )
    .unwrap();
    let seq = run.execution.branches[0].seq;
    assert_eq!(run.tell(Command::Wake { seq }), Err(Refusal::NotDue));
    run.now += TimeDelta::hours(48);
    run.tell(Command::Wake { seq }).unwrap();
    assert_eq!(run.execution.status, ExecutionStatus::Failed);
    assert_eq!(run.execution.failure.as_ref().unwrap().code, "TIMEOUT");
}

fn job(config: Value, name: &'static str, catch: Option<Value>) -> Graph {
    let steps = [
        (name, "custom", config),
        ("After", "notification", json!({})),
        ("Caught", "notification", json!({})),
    ];
    let plain = [(name.trim_end_matches('?'), "After", Value::Null)];
    match catch {
        Some(condition) => {
            let to = (name.trim_end_matches('?'), "Caught", condition);
            graph(&steps, &[plain[0].clone(), to])
        }
        None => graph(&steps[..2], &plain),
    }
}

#[test]
fn a_failed_job_is_retried_as_an_attempt_of_its_own_and_backs_off() {
    let policy = json!({ "retry": { "maxAttempts": 3, "initialInterval": "10s", "jitter": 0 } });
    let mut run = Run::start(job(policy, "Work", None), json!({}));
    run.break_down("DOWN").unwrap();
    assert!(run.change.logs[&1].will_retry);
    let second = &run.execution.branches[0];
    assert_eq!((second.attempt, second.activation), (2, 1));
    assert_eq!(second.times.available_at, noon() + TimeDelta::seconds(10));
    run.now += TimeDelta::seconds(10);
    run.break_down("DOWN").unwrap();
    run.work(json!({})).unwrap();
    run.check(
        ExecutionStatus::Completed,
        &[
            "Work FAILED",
            "Work FAILED",
            "Work COMPLETED",
            "After COMPLETED",
        ],
    );
}

#[test]
fn the_last_failure_fails_the_execution() {
    let policy = json!({ "retry": { "maxAttempts": 1 } });
    let mut run = Run::start(job(policy, "Work", None), json!({}));
    run.break_down("DOWN").unwrap();
    run.check(ExecutionStatus::Failed, &["Work FAILED"]);
    assert_eq!(run.execution.failure.as_ref().unwrap().code, "DOWN");
}

#[test]
fn an_optional_step_that_fails_is_skipped_and_routing_goes_on() {
    let policy = json!({ "retry": { "maxAttempts": 1 } });
    let mut run = Run::start(job(policy, "Work?", None), json!({}));
    run.break_down("DOWN").unwrap();
    run.check(
        ExecutionStatus::Completed,
        &["Work SKIPPED", "After COMPLETED"],
    );
}

#[test]
fn a_catch_is_judged_after_failure_only_and_before_optional() {
    let catch = || Some(equals("step.error.code", json!("NO_FUNDS")));
    let thrown = Answer::Throw {
        worker: "w".to_owned(),
        failure: Failure::new("NO_FUNDS", "empty"),
    };
    let mut run = Run::start(job(json!({}), "Work?", catch()), json!({}));
    run.lease();
    run.answer(&worker(), thrown).unwrap();
    run.check(
        ExecutionStatus::Completed,
        &["Work FAILED", "Caught COMPLETED"],
    );

    let mut run = Run::start(job(json!({}), "Work", catch()), json!({}));
    run.work(json!({})).unwrap();
    run.check(
        ExecutionStatus::Completed,
        &["Work COMPLETED", "After COMPLETED"],
    );
}

#[test]
fn a_job_is_answered_only_by_its_holder_within_its_lease() {
    let mut run = Run::start(job(json!({}), "Work", None), json!({}));
    let done = || Answer::Complete {
        worker: "w".to_owned(),
        output: Map::new(),
    };
    assert_eq!(run.answer(&worker(), done()), Err(Refusal::JobNotHeld));
    run.lease();
    assert_eq!(
        run.answer(&person("x", &[]), done()),
        Err(Refusal::JobNotHeld)
    );
    run.now += TimeDelta::seconds(30);
    assert_eq!(run.answer(&worker(), done()), Err(Refusal::JobNotHeld));
    let seq = run.execution.branches[0].seq;
    run.tell(Command::Wake { seq }).unwrap();
    let failure = run.change.logs[&1].failure.as_ref().unwrap();
    assert_eq!(failure.code, "LEASE_EXPIRED");
    assert_eq!(run.execution.branches[0].attempt, 2);
}

#[test]
fn loops_run_until_their_condition_and_count_activations() {
    let review = graph(
        &[
            ("Write", "data_entry", json!({})),
            ("Review", "approval", json!({})),
            ("Publish", "notification", json!({})),
        ],
        &[
            ("Write", "Review", Value::Null),
            ("Review", "Publish", equals("approved", json!(true))),
            ("Review", "Write", equals("approved", json!(false))),
        ],
    );
    let someone = person("p@example.com", &[]);
    let mut run = Run::start(review, json!({}));
    for round in 0..3 {
        run.answer(&someone, submit(json!({ "text": round })))
            .unwrap();
        run.answer(&someone, if round < 2 { reject() } else { approve() })
            .unwrap();
    }
    assert_eq!(run.execution.status, ExecutionStatus::Completed);
    assert_eq!(run.change.logs[&5].activation, 3);
    assert_eq!(run.execution.context.data["text"], json!(2));
    // An output that the next round hides is forgotten: one of each step is left.
    assert_eq!(run.execution.memory.outputs.len(), 2);
}

#[test]
fn transforms_and_decisions_compute_and_choose() {
    let order = graph(
        &[
            (
                "Sum",
                "transform",
                json!({ "output": { "total": "data.price * data.count" } }),
            ),
            ("Size", "decision", json!({})),
            ("Big", "notification", json!({})),
            ("Small", "notification", json!({})),
        ],
        &[
            ("Sum", "Size", Value::Null),
            (
                "Size",
                "Big",
                json!({ "field": "total", "operator": "greaterThan", "value": 100 }),
            ),
            ("Size", "Small", Value::Null),
        ],
    );
    let run = Run::start(order, json!({ "price": 60, "count": 2 }));
    run.check(
        ExecutionStatus::Completed,
        &["Sum COMPLETED", "Size COMPLETED", "Big COMPLETED"],
    );
}

#[test]
fn a_wait_ends_with_its_instant() {
    let nap = graph(
        &[
            ("Nap", "wait", json!({ "duration": "5m" })),
            ("Up", "notification", json!({})),
        ],
        &[("Nap", "Up", Value::Null)],
    );
    let mut run = Run::start(nap, json!({}));
    assert_eq!(run.path(), ["Nap RUNNING"]);
    run.now += TimeDelta::minutes(5);
    run.tell(Command::Wake { seq: 1 }).unwrap();
    run.check(
        ExecutionStatus::Completed,
        &["Nap COMPLETED", "Up COMPLETED"],
    );
}

#[test]
fn long_chains_are_cut_into_slices() {
    let names: Vec<String> = (0..450).map(|n| format!("s{n}")).collect();
    let steps: Vec<_> = names
        .iter()
        .map(|n| (n.as_str(), "decision", json!({})))
        .collect();
    let mut run = Run::start(graph(&steps, &[]), json!({}));
    assert_eq!(run.execution.branches[0].hold, Hold::Runnable);
    assert_eq!(run.change.logs[&201].status, StepStatus::Pending);
    run.tell(Command::Resume).unwrap();
    assert_eq!(run.execution.status, ExecutionStatus::Running);
    run.tell(Command::Resume).unwrap();
    assert_eq!(run.execution.status, ExecutionStatus::Completed);
    assert_eq!(run.change.logs.len(), 450);
}

#[test]
fn cancelling_withdraws_what_is_open_and_is_final() {
    let mut run = Run::start(onboarding(), json!({}));
    let reason = "changed our mind".to_owned();
    run.tell(Command::Cancel { reason }).unwrap();
    run.check(
        ExecutionStatus::Cancelled,
        &["Contact COMPLETED", "Documents SKIPPED"],
    );
    let finished = Refusal::ExecutionFinished(ExecutionStatus::Cancelled);
    assert_eq!(run.tell(Command::Resume), Err(finished));
}

#[test]
fn time_never_runs_backwards() {
    let mut run = Run::start(onboarding(), json!({}));
    run.now -= TimeDelta::hours(1);
    run.answer(&person("c@example.com", &[]), submit(json!({})))
        .unwrap();
    let log = &run.change.logs[&2];
    assert!(log.completed_at.unwrap() >= log.times.started_at);
}

#[test]
fn an_output_that_does_not_fit_fails_the_execution() {
    let mut run = Run::start(job(json!({}), "Work", None), json!({}));
    run.work(json!({ "blob": "x".repeat(300_000) })).unwrap();
    assert_eq!(run.execution.status, ExecutionStatus::Failed);
    assert_eq!(
        run.execution.failure.as_ref().unwrap().code,
        "LIMIT_EXCEEDED"
    );
}

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
    run.tell(Command::Cancel { reason }).expect("obeyed");
    let log = run.change.logs.values().last().expect("a log");
    assert_eq!(log.completed_at, Some(leased));
    assert_eq!(run.execution.completed_at, Some(leased));
}
