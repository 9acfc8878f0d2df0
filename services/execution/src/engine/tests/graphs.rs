//! Validation against the engine: what it accepts runs, to an end or to a wait that has a name, whatever
//! people and workers answer; what it refuses could not. A loop that only an instant holds up may go round
//! until the limit on activations ends it: of that it warns.

use model::kind::Kind;
use proptest::prelude::*;

use super::super::*;
use super::*;

const KINDS: usize = 10;

fn kind(at: usize) -> (&'static str, Value) {
    match at {
        0 => ("approval", json!({ "timeout": "2h" })),
        1 => ("data_entry", json!({})),
        2 => (
            "custom",
            json!({ "retry": { "maxAttempts": 2 }, "queueTimeout": "1h" }),
        ),
        3 => ("wait", json!({ "duration": "1h" })),
        // There is no such field: the step fails.
        4 => ("wait", json!({ "untilField": "due" })),
        5 => (
            "subworkflow",
            json!({
                "workflowId": id(3), "timeout": "3h", "retry": { "maxAttempts": 2 }, "onFailure": "park",
            }),
        ),
        6 => ("notification", json!({})),
        7 => ("transform", json!({ "output": { "n": "3" } })),
        // Fails unless a worker has left an `n`.
        8 => ("transform", json!({ "output": { "m": "data.n + 1" } })),
        _ => ("decision", json!({})),
    }
}

/// Whether the engine stops at a step of this kind.
fn waits(at: usize) -> bool {
    at < 6
}

/// `(condition, is_default)`.
fn way(at: usize) -> (Option<Value>, bool) {
    match at {
        0 => (None, false),
        1 | 2 => (None, true),
        3 => (Some(equals("approved", json!(true))), false),
        4 => (Some(equals("step.status", json!("FAILED"))), false),
        _ => (Some(json!({ "cel": "data.n > 2" })), false),
    }
}

/// What a definition is made of: kind, order and being required of each step; ends and way of each
/// transition.
#[derive(Debug, Clone)]
struct Plan {
    steps: Vec<(usize, i32, bool)>,
    ways: Vec<(usize, usize, usize)>,
}

fn plan() -> impl Strategy<Value = Plan> {
    // Most orders are the position, so that not every start is ambiguous.
    let order = prop::option::weighted(0.15, 0..3);
    let steps = prop::collection::vec((0..KINDS, order, any::<bool>()), 1..7);
    steps.prop_flat_map(|steps| {
        let count = steps.len();
        // A chain, most of it, and anything else.
        let chain = prop::collection::vec(prop::option::weighted(0.9, 0..6_usize), count - 1);
        let others = prop::collection::vec((0..count, 0..count, 0..6_usize), 0..4);
        (Just(steps), chain, others).prop_map(|(steps, chain, others)| {
            let chain =
                (chain.into_iter().enumerate()).filter_map(|(at, way)| Some((at, at + 1, way?)));
            let steps = (0..).zip(steps);
            Plan {
                ways: chain.chain(others).collect(),
                steps: steps
                    .map(|(at, (kind, order, required))| (kind, order.unwrap_or(at), required))
                    .collect(),
            }
        })
    })
}

fn definition(plan: &Plan) -> Definition {
    let step = |(at, (kind_of, order, is_required)): (usize, &(usize, i32, bool))| {
        let (step_type, config) = kind(*kind_of);
        StepOf {
            id: id(100 + at as u128),
            key: format!("s{at}"),
            name: format!("S{at}"),
            description: None,
            step_type: step_type.to_owned(),
            order: *order,
            config: object(config),
            is_required: *is_required,
        }
    };
    let transition = |(at, (from, to, kind_of)): (usize, &(usize, usize, usize))| {
        let (condition, is_default) = way(*kind_of);
        Transition {
            id: id(1000 + at as u128),
            from_step_id: id(100 + *from as u128),
            to_step_id: id(100 + *to as u128),
            condition,
            is_default,
        }
    };
    Definition {
        workflow_id: id(1),
        version: 1,
        client_id: id(2),
        name: "generated".to_owned(),
        description: None,
        target: None,
        steps: plan.steps.iter().enumerate().map(step).collect(),
        transitions: plan.ways.iter().enumerate().map(transition).collect(),
    }
}

/// Whether one step leads to another, over any number of the `allowed` ones.
fn closure(plan: &Plan, allowed: &dyn Fn(usize) -> bool) -> Vec<Vec<bool>> {
    let count = plan.steps.len();
    let mut leads = vec![vec![false; count]; count];
    for (from, to, _) in &plan.ways {
        leads[*from][*to] = allowed(*from) && allowed(*to);
    }
    for via in 0..count {
        for from in 0..count {
            for to in 0..count {
                leads[from][to] |= leads[from][via] && leads[via][to];
            }
        }
    }
    leads
}

/// What the rules say, in the most stupid way: one start, everything reachable from it, no two defaults, no
/// loop in which nothing ever waits.
fn can_run(plan: &Plan) -> bool {
    let all = 0..plan.steps.len();
    let order = |at: usize| plan.steps[at].1;
    if plan.ways.is_empty() {
        return all
            .clone()
            .all(|a| all.clone().all(|b| a == b || order(a) != order(b)));
    }
    let entered = |at: usize| {
        plan.ways
            .iter()
            .any(|(from, to, _)| *to == at && *from != at)
    };
    let mut starts: Vec<usize> = all.clone().filter(|at| !entered(*at)).collect();
    if starts.is_empty() {
        starts = all.clone().collect();
    }
    let first = starts
        .iter()
        .map(|at| order(*at))
        .min()
        .expect("there are steps");
    starts.retain(|at| order(*at) == first);
    let [start] = starts[..] else {
        return false;
    };
    let leads = closure(plan, &|_| true);
    let spins = closure(plan, &|at| !waits(plan.steps[at].0));
    let defaults = |at: usize| {
        let of_step = plan
            .ways
            .iter()
            .filter(|(from, _, kind)| *from == at && way(*kind).1);
        of_step.count()
    };
    all.clone().all(|at| at == start || leads[start][at])
        && all.clone().all(|at| !spins[at][at])
        && all.clone().all(|at| defaults(at) <= 1)
}

/// Tells the engine what has come of the first branch; a person may let the time pass, too.
fn answer(run: &mut Run, what: u8) {
    let branch = run.execution.branches[0].clone();
    let failure = Failure::new("BROKEN", "broken");
    let done = |output: Value| Outcome::Done {
        output: object(output),
        message: None,
    };
    let due = branch.hold.wake_at(branch.times.queued_at);
    let command = match (&branch.hold, what, due) {
        (Hold::Timer { until }, ..) => {
            run.now = run.now.max(*until);
            Command::Wake { seq: branch.seq }
        }
        (_, 0, Some(due)) => {
            run.now = run.now.max(due);
            Command::Wake { seq: branch.seq }
        }
        (_, what, _) => Command::Settle {
            seq: branch.seq,
            outcome: match what {
                0 | 1 => Outcome::Failed(failure),
                2 => Outcome::Thrown(failure),
                3 => done(json!({})),
                4 => done(json!({ "approved": false })),
                5 => done(json!({ "n": 1 })),
                6 => done(json!({ "n": "many" })),
                _ => done(json!({ "approved": true, "n": 3 })),
            },
        },
    };
    run.tell(command)
        .expect("a branch that is there is answered");
}

/// Final with a reason, or waiting for something that has a name.
fn check_rest(run: &Run, steps: usize, activations: u32) -> Result<(), TestCaseError> {
    let execution = &run.execution;
    match execution.status {
        ExecutionStatus::Completed => prop_assert!(execution.failure.is_none()),
        ExecutionStatus::Failed => {
            let failure = execution.failure.as_ref().expect("a reason");
            let known = [
                "BROKEN",
                "TIMEOUT",
                "QUEUE_TIMEOUT",
                "WAIT_UNDEFINED",
                "EXPRESSION_FAILED",
            ];
            prop_assert!(known.contains(&failure.code.as_str()), "{failure:?}");
        }
        status => prop_assert_eq!(status, ExecutionStatus::Running),
    }
    prop_assert_eq!(execution.branches.is_empty(), execution.status.is_final());
    for branch in &execution.branches {
        let kind = &run.graph.nodes[branch.step].kind;
        let fits = match branch.hold {
            // There is none in these graphs.
            Hold::Items { .. } | Hold::Lock { .. } => false,
            Hold::Runnable => false,
            Hold::Job { .. } => matches!(kind, Kind::Job { .. }),
            Hold::Person { .. } => matches!(kind, Kind::Approval(_) | Kind::DataEntry(_)),
            Hold::Timer { .. } => matches!(kind, Kind::Wait(_)),
            Hold::Join { .. } => matches!(kind, Kind::Join(_)),
            Hold::Child { .. } => matches!(kind, Kind::Subworkflow(_)),
            Hold::Signal { .. } => matches!(kind, Kind::Signal { .. }),
            Hold::Incident { .. } => run.graph.nodes[branch.step].parks,
        };
        prop_assert!(fits, "{branch:?}");
    }
    // Between two waits no step is passed twice.
    let passed = execution.memory.activations - activations;
    prop_assert!(passed as usize <= steps, "{passed} activations");
    Ok(())
}

proptest! {
    #[test]
    fn validation_accepts_exactly_what_can_run(
        plan in plan(),
        answers in prop::collection::vec(0..12_u8, 40),
    ) {
        let parsed = Graph::parse(definition(&plan));
        prop_assert_eq!(parsed.is_ok(), can_run(&plan), "{:#?}", parsed);
        let Ok((graph, warnings)) = parsed else {
            return Ok(());
        };
        let steps = plan.steps.len();
        let mut run = Run::start(graph, json!({}));
        let mut before = 0;
        for what in answers {
            let spins = run.execution.branches.iter().any(|b| b.hold == Hold::Runnable);
            if spins {
                prop_assert!(warnings.iter().any(|warning| warning.code == "LOOP_MAY_SPIN"));
                break;
            }
            check_rest(&run, steps, before)?;
            if run.execution.status.is_final() {
                break;
            }
            before = run.execution.memory.activations;
            answer(&mut run, what);
        }
    }
}

#[test]
fn a_loop_that_nothing_holds_up_any_more_ends_by_the_limit() {
    let plan = Plan {
        steps: vec![(4, 0, false)],
        ways: vec![(0, 0, 1)],
    };
    let (graph, warnings) = Graph::parse(definition(&plan)).expect("accepted");
    assert_eq!(warnings[0].code, "LOOP_MAY_SPIN");
    let mut run = Run::start(graph, json!({}));
    // The start was the first slice.
    for _ in 1..MAX_ACTIVATIONS / SLICE {
        assert_eq!(run.execution.status, ExecutionStatus::Running);
        run.tell(Command::Resume).expect("obeyed");
    }
    let failure = run.execution.failure.expect("a reason");
    assert_eq!(failure.code, "LIMIT_EXCEEDED");
}

/// Most of what is generated must be worth running, and some of it must be wrong.
#[test]
fn both_verdicts_are_met() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let plans = plan();
    let verdicts: Vec<bool> = (0..300)
        .map(|_| can_run(&plans.new_tree(&mut runner).expect("generated").current()))
        .collect();
    let runs = verdicts.iter().filter(|runs| **runs).count();
    assert!((60..240).contains(&runs), "{runs} of 300");
}

/// A fault to put into a definition that has none, and the code that tells of it.
type Fault = (&'static str, fn(&mut Definition));

const FAULTS: [Fault; 17] = [
    ("NO_STEPS", |d| d.steps.clear()),
    ("DUPLICATE_ID", |d| d.steps[1].id = d.steps[0].id),
    ("DUPLICATE_NAME", |d| {
        d.steps[1].name = d.steps[0].name.clone()
    }),
    ("DUPLICATE_KEY", |d| d.steps[1].key = d.steps[0].key.clone()),
    ("EMPTY_NAME", |d| d.steps[1].name = " ".to_owned()),
    ("ORDER_NEGATIVE", |d| d.steps[1].order = -1),
    ("DANGLING_TRANSITION", |d| {
        d.transitions[0].to_step_id = id(9)
    }),
    ("DANGLING_TRANSITION", |d| {
        d.transitions[0].from_step_id = id(9)
    }),
    ("UNREACHABLE_STEP", |d| drop(d.transitions.remove(0))),
    ("TWO_DEFAULTS", |d| again(d, |_| {})),
    ("DEFAULT_WITH_CONDITION", |d| {
        d.transitions[0].condition = Some(equals("a", json!(1)))
    }),
    ("CONDITION_INVALID", |d| {
        again(d, |t| condition(t, json!({ "feild": "a" })))
    }),
    ("UNKNOWN_OPERATOR", |d| {
        again(d, |t| {
            condition(t, json!({ "field": "a", "operator": "is" }))
        })
    }),
    ("CEL_INVALID", |d| {
        again(d, |t| condition(t, json!({ "cel": "1 +" })))
    }),
    ("BUSY_LOOP", |d| {
        d.steps[0].step_type = "decision".to_owned();
        again(d, |t| {
            condition(t, equals("a", json!(1)));
            t.to_step_id = t.from_step_id;
        });
    }),
    ("STEP_TYPE_NOT_SUPPORTED", |d| {
        d.steps[1].step_type = "http".to_owned()
    }),
    ("DURATION_INVALID", |d| {
        drop(d.steps[1].config.insert("timeout".to_owned(), json!(48)))
    }),
];

/// Adds the first transition once more, with a difference.
fn again(definition: &mut Definition, differ: impl FnOnce(&mut Transition)) {
    let mut transition = definition.transitions[0].clone();
    transition.id = id(2000);
    differ(&mut transition);
    definition.transitions.push(transition);
}

fn condition(transition: &mut Transition, condition: Value) {
    transition.condition = Some(condition);
    transition.is_default = false;
}

proptest! {
    #[test]
    fn a_fault_is_refused_by_its_name(
        kinds in prop::collection::vec(0..KINDS, 3..6),
        fault in 0..FAULTS.len(),
    ) {
        let steps: Vec<_> = (0..).zip(&kinds).map(|(order, kind)| (*kind, order, true)).collect();
        let plan = Plan {
            ways: (1..steps.len()).map(|at| (at - 1, at, 1)).collect(),
            steps,
        };
        let mut definition = definition(&plan);
        prop_assert!(Graph::parse(definition.clone()).is_ok());
        let (code, inject) = FAULTS[fault];
        inject(&mut definition);
        let problems = Graph::parse(definition).expect_err(code);
        let told = problems.iter().any(|p| p.is_error() && p.code == code);
        prop_assert!(told, "{code}: {problems:#?}");
    }
}
