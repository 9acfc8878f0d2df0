//! Generated processes of every construct, to which anything happens in any order: the record stays whole, and
//! each of them can be brought to an end.

use model::kind::Kind;
use model::status::StepStatus;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::json;

use super::*;

/// What work is done with, beside the work itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Manner {
    Plain,
    Retried,
    Parked,
    Locked,
    Undone,
    Cancelling,
}

/// A part of a process with one way in and one way out.
#[derive(Debug, Clone)]
pub(super) enum Block {
    Work(Manner),
    Optional,
    Person,
    Signal,
    Wait,
    /// Settings of a subworkflow.
    Call(Value),
    /// A settings object, and whether what is done for each item is a person's.
    Each(Value, bool),
    Sequence(Vec<Block>),
    Fork(Vec<Block>, Value),
    /// One way or the other, by what the work said.
    Choice(Box<Block>, Box<Block>),
    /// Again and again until the work says otherwise.
    Loop,
}

pub(super) fn block() -> impl Strategy<Value = Block> {
    use Manner::{Cancelling, Locked, Parked, Plain, Retried, Undone};
    let manner = prop::sample::select(vec![Plain, Retried, Parked, Locked, Undone, Cancelling]);
    let each = prop::sample::select(vec![
        json!({ "count": 2 }),
        json!({ "count": 3, "concurrency": 1, "timeout": "1h" }),
        json!({ "count": 3, "needed": 1 }),
        json!({ "count": 3, "needed": 2, "onSatisfied": "LET_RUN", "tolerated": 1 }),
        json!({ "items": "none", "tolerated": 1, "onFailure": "park" }),
        json!({ "count": 3, "until": "step.completed > 1", "tolerated": 3 }),
    ]);
    let call = prop::sample::select(vec![
        json!({ "timeout": "1h" }),
        json!({ "mode": "START", "onFailure": "park" }),
        json!({ "retry": { "maxAttempts": 2 }, "onFailure": "park" }),
    ]);
    let join = prop::sample::select(vec![
        json!({}),
        json!({ "mode": "ANY" }),
        json!({ "mode": "N_OF", "n": 2, "timeout": "2h" }),
        json!({ "mode": "ANY", "onSatisfied": "CANCEL_REST" }),
        json!({ "mode": "N_OF", "n": 2, "onSatisfied": "CANCEL_REST", "onFailure": "park" }),
    ]);
    let leaf = prop_oneof![
        4 => manner.prop_map(Block::Work),
        1 => Just(Block::Optional),
        1 => Just(Block::Person),
        1 => Just(Block::Signal),
        1 => Just(Block::Wait),
        1 => Just(Block::Loop),
        2 => call.prop_map(Block::Call),
        2 => (each, any::<bool>()).prop_map(|(config, person)| Block::Each(config, person)),
    ];
    leaf.prop_recursive(4, 16, 3, move |inner| {
        let fork = (prop::collection::vec(inner.clone(), 2..4), join.clone());
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Block::Sequence),
            fork.prop_map(|(branches, mode)| Block::Fork(branches, mode)),
            (inner.clone(), inner).prop_map(|(a, b)| Block::Choice(Box::new(a), Box::new(b))),
        ]
    })
}

/// Steps and ways of blocks; every step is named by its number.
#[derive(Default)]
struct Plan {
    steps: Vec<(String, &'static str, Value)>,
    ways: Vec<(usize, usize, Value)>,
}

impl Plan {
    fn step(&mut self, step_type: &'static str, config: Value) -> usize {
        self.steps
            .push((format!("s{}", self.steps.len()), step_type, config));
        self.steps.len() - 1
    }

    fn way(&mut self, from: usize, to: usize) {
        self.ways.push((from, to, json!({ "cel": "true" })));
    }

    fn work(&mut self, manner: Manner) -> usize {
        match manner {
            Manner::Plain => self.step("work", json!({ "retry": { "maxAttempts": 1 } })),
            Manner::Retried => self.step("work", json!({ "retry": { "maxAttempts": 2 } })),
            Manner::Parked => self.step("work", json!({ "onFailure": "park" })),
            Manner::Locked => {
                let lock = json!({ "name": "x", "timeout": "1h" });
                self.step("work", json!({ "lock": lock, "onFailure": "park" }))
            }
            Manner::Undone => {
                let undo = self.step("undo", json!({}));
                let undo = format!("s{undo}");
                self.step("work", json!({ "compensate": undo }))
            }
            Manner::Cancelling => {
                // The step before, whatever it is; the first one has none.
                let others: Vec<String> = (self.steps.len().checked_sub(1))
                    .map(|at| format!("s{at}"))
                    .into_iter()
                    .collect();
                self.step("work", json!({ "cancels": others }))
            }
        }
    }

    /// Returns the block's first and last step.
    fn add(&mut self, block: &Block) -> (usize, usize) {
        let only = |at: usize| (at, at);
        match block {
            Block::Work(manner) => only(self.work(*manner)),
            Block::Optional => {
                let at = self.step("work", json!({ "retry": { "maxAttempts": 1 } }));
                self.steps[at].0.push('?');
                only(at)
            }
            Block::Person => only(self.step(
                "data_entry",
                json!({ "timeout": "3h", "onFailure": "park" }),
            )),
            Block::Signal => only(self.step(
                "signal",
                json!({ "name": "go", "timeout": "2h", "onFailure": "park" }),
            )),
            Block::Wait => only(self.step("wait", json!({ "duration": "1h" }))),
            Block::Call(config) => {
                let mut config = config.clone();
                config["workflowId"] = json!(id(3));
                only(self.step("subworkflow", config))
            }
            Block::Each(config, person) => {
                let kind = if *person { "data_entry" } else { "work" };
                let each = self.step(kind, json!({ "retry": { "maxAttempts": 2 } }));
                let mut config = config.clone();
                config["step"] = json!(format!("s{each}"));
                only(self.step("foreach", config))
            }
            Block::Sequence(parts) => {
                let ends: Vec<_> = parts.iter().map(|part| self.add(part)).collect();
                for pair in ends.windows(2) {
                    self.way(pair[0].1, pair[1].0);
                }
                (ends[0].0, ends[ends.len() - 1].1)
            }
            Block::Fork(branches, mode) => {
                let fork = self.step("parallel", json!({}));
                let ends: Vec<_> = branches.iter().map(|branch| self.add(branch)).collect();
                let join = self.step("join", mode.clone());
                for (first, last) in ends {
                    self.way(fork, first);
                    self.way(last, join);
                }
                (fork, join)
            }
            Block::Choice(yes, no) => {
                let asked = self.work(Manner::Plain);
                let (yes, no) = (self.add(yes), self.add(no));
                let after = self.step("decision", json!({}));
                self.ways.push((asked, yes.0, equals("ok", json!(true))));
                self.ways.push((asked, no.0, Value::Null));
                self.way(yes.1, after);
                self.way(no.1, after);
                (asked, after)
            }
            Block::Loop => {
                let work = self.work(Manner::Plain);
                let after = self.step("decision", json!({}));
                self.ways.push((work, work, equals("ok", json!(false))));
                self.ways.push((work, after, Value::Null));
                (work, after)
            }
        }
    }

    fn graph(&self) -> Graph {
        let steps: Vec<_> = (self.steps.iter())
            .map(|(name, step_type, config)| (name.as_str(), *step_type, config.clone()))
            .collect();
        let bare = |at: usize| self.steps[at].0.trim_end_matches('?');
        let ways: Vec<_> = (self.ways.iter())
            .map(|(from, to, condition)| (bare(*from), bare(*to), condition.clone()))
            .collect();
        graph(&steps, &ways)
    }
}

pub(super) fn of(block: &Block) -> Graph {
    let mut plan = Plan::default();
    let start = plan.step("decision", json!({}));
    let (first, last) = plan.add(block);
    let end = plan.step("work", json!({}));
    plan.way(start, first);
    plan.way(last, end);
    plan.graph()
}

/// What happens to a branch, or to all of them.
fn happen(run: &mut Run, what: u8, which: prop::sample::Index) -> Result<(), Refusal> {
    let branches: Vec<(i32, Hold)> = (run.execution.branches.iter())
        .map(|b| (b.seq, b.hold.clone()))
        .collect();
    if branches.is_empty() {
        return run.tell(Command::Resume);
    }
    let (seq, hold) = which.get(&branches).clone();
    let actor = person("ada@x", &[]);
    let failure = Failure::new("BROKEN", "it broke");
    let is_answerable = matches!(
        hold,
        Hold::Job { .. } | Hold::Person { .. } | Hold::Signal { .. }
    );
    let settle = |outcome: Outcome| match (&hold, outcome) {
        (Hold::Child { .. }, Outcome::Failed(failure)) => hear(seq, Ending::Failed(failure)),
        (Hold::Child { .. }, _) => hear(seq, Ending::Cancelled(Failure::new("CANCELLED", ""))),
        (_, outcome) if is_answerable => Command::Settle { seq, outcome },
        _ => Command::Grant { seq },
    };
    let reason = "tested".to_owned();
    let command = match what {
        0..=5 => return go_on(run, seq, &hold, json!({ "ok": what > 1 })),
        6..=8 => settle(Outcome::Failed(failure)),
        9 => settle(Outcome::Thrown(failure)),
        10 | 11 => {
            run.now += TimeDelta::hours(1);
            Command::Wake { seq }
        }
        12 => Command::Signal(Signal {
            name: "go".to_owned(),
            data: Map::new(),
            expires_at: None,
        }),
        13 => Command::Resolve {
            seq,
            actor,
            resolution: Resolution::Retry { data: Map::new() },
        },
        14 => Command::Resolve {
            seq,
            actor,
            resolution: Resolution::Complete { output: Map::new() },
        },
        15 => Command::Leave {
            seq,
            actor,
            reason,
            goes_on: true,
        },
        16 => Command::Leave {
            seq,
            actor,
            reason,
            goes_on: false,
        },
        17 => Command::Cancel {
            reason,
            compensate: true,
        },
        _ => Command::Resume,
    };
    run.tell(command)
}

fn hear(seq: i32, ending: Ending) -> Command {
    let news = News::Over(ending);
    Command::Hear { seq, news }
}

/// Gives branches their ids, as a commit does.
fn commit(run: &mut Run) {
    for branch in &mut run.execution.branches {
        branch.id = id(5000 + branch.seq as u128);
    }
}

/// What a branch asked for is over or called off when the branch ends, and never both.
fn check_calls(run: &Run) -> Result<(), TestCaseError> {
    let messages = &run.change.messages;
    for message in messages {
        let Message::Start { seq, .. } = message else {
            continue;
        };
        let Some(log) = run.change.logs.get(seq).filter(|log| log.status.is_final()) else {
            continue;
        };
        let child = log.id;
        let ends = messages.iter().filter(
            |m| matches!(m, Message::Cancel { execution_id, .. } if *execution_id == child),
        );
        let code = log.failure.as_ref().map(|failure| failure.code.as_str());
        let heard = log.status == StepStatus::Completed && log.message.is_some()
            || matches!(code, Some("BROKEN" | "SUBWORKFLOW_CANCELLED"));
        // One that came and went within one change has not been started.
        let wanted = usize::from(!heard && !child.is_nil());
        prop_assert_eq!(ends.count(), wanted, "{:?}", log);
    }
    Ok(())
}

/// The best that can happen to a branch.
pub(super) fn go_on(run: &mut Run, seq: i32, hold: &Hold, output: Value) -> Result<(), Refusal> {
    let command = match hold {
        Hold::Runnable => Command::Resume,
        Hold::Lock { .. } => Command::Grant { seq },
        Hold::Incident { .. } => Command::Resolve {
            seq,
            actor: person("ada@x", &[]),
            resolution: Resolution::GiveUp,
        },
        Hold::Timer { until } => {
            run.now = run.now.max(*until);
            Command::Wake { seq }
        }
        Hold::Child { .. } => hear(seq, Ending::Completed(object(output))),
        // What they wait for is done elsewhere.
        Hold::Join { .. } | Hold::Items { .. } => Command::Resume,
        _ => Command::Settle {
            seq,
            outcome: Outcome::Done {
                output: object(output),
                message: None,
            },
        },
    };
    run.tell(command)
}

/// Whatever has happened, everything is told once and everything open has a reason.
pub(super) fn check(run: &Run) -> Result<(), TestCaseError> {
    let (execution, logs) = (&run.execution, &run.change.logs);
    let memory = &execution.memory;
    let open: Vec<i32> = execution.branches.iter().map(|b| b.seq).collect();
    prop_assert_eq!(open.is_empty(), execution.status.is_final());
    let seqs: Vec<i32> = logs.keys().copied().collect();
    prop_assert_eq!(seqs, (1..=memory.log_count).collect::<Vec<_>>());
    let mut told: Vec<i32> = logs.values().filter_map(|log| log.event_seq).collect();
    told.sort_unstable();
    let last = execution.event_count - i32::from(execution.status.is_final());
    prop_assert_eq!(told, (2..=last).collect::<Vec<_>>());
    for log in logs.values() {
        prop_assert_eq!(log.event_seq.is_some(), log.status.is_final());
        prop_assert!(
            log.status.is_final() != open.contains(&log.seq),
            "{:?}",
            log
        );
    }
    for seq in memory
        .arrived
        .keys()
        .chain(memory.late.keys())
        .chain(memory.loops.keys())
    {
        let is_there = open.contains(seq) || execution.status.is_final();
        prop_assert!(is_there, "{seq} is remembered, but gone");
    }
    let results = memory.loops.values().flat_map(|at| at.results.values());
    let mut results: Vec<i32> = results.copied().collect();
    results.sort_unstable();
    prop_assert_eq!(
        results,
        execution.context.kept.keys().copied().collect::<Vec<_>>()
    );
    for branch in &execution.branches {
        let node = &run.graph.nodes[branch.step];
        let fits = match &branch.hold {
            Hold::Runnable => false,
            Hold::Job { .. } => matches!(node.kind, Kind::Job { .. }),
            Hold::Person { .. } => matches!(node.kind, Kind::DataEntry(_)),
            Hold::Timer { .. } => matches!(node.kind, Kind::Wait(_)),
            Hold::Join { .. } => matches!(node.kind, Kind::Join(_)),
            Hold::Items { .. } => memory.loops.contains_key(&branch.seq),
            Hold::Child { .. } => matches!(node.kind, Kind::Subworkflow(_)),
            Hold::Signal { .. } => matches!(node.kind, Kind::Signal { .. }),
            Hold::Lock { .. } => node.lock.is_some() && branch.lock.is_some(),
            Hold::Incident { .. } => node.parks || execution.memory.closing.is_some(),
        };
        prop_assert!(fits, "{branch:?}");
        let guarded = node.lock.is_none() || branch.lock.is_some();
        prop_assert!(
            guarded || matches!(branch.hold, Hold::Incident { .. }),
            "{branch:?}"
        );
    }
    Ok(())
}

pub(super) type Event = (u8, prop::sample::Index);

pub(super) fn live(graph: Graph, events: &[Event]) -> Result<Run, TestCaseError> {
    let mut run = Run::start(graph, json!({ "none": [] }));
    check(&run)?;
    for (what, which) in events {
        let before = run.execution.clone();
        let result = happen(&mut run, *what, *which);
        if result.is_err() {
            prop_assert_eq!(&before, &run.execution, "a refused command changes nothing");
        }
        prop_assert!(!before.status.is_final() || result.is_err());
        check(&run)?;
        check_calls(&run)?;
        commit(&mut run);
        // As another replica would find it.
        let stored = serde_json::to_string(&run.execution.memory).expect("plain data");
        run.execution.memory = serde_json::from_str(&stored).expect("what was written");
    }
    Ok(run)
}

proptest! {
    #[test]
    fn whatever_happens_the_record_is_whole_and_an_end_can_be_reached(
        block in block(),
        events in prop::collection::vec((0..18_u8, any::<prop::sample::Index>()), 0..40),
    ) {
        let mut run = live(of(&block), &events)?;
        let again = live(of(&block), &events)?;
        prop_assert_eq!(&again.execution, &run.execution);
        prop_assert_eq!(&again.change, &run.change);
        for _ in 0..500 {
            let first = run.execution.branches.iter().find(|branch| {
                !matches!(branch.hold, Hold::Join { .. } | Hold::Items { .. })
            });
            let Some(first) = first else { break };
            let (seq, hold) = (first.seq, first.hold.clone());
            go_on(&mut run, seq, &hold, json!({ "ok": true })).expect("what waits can go on");
            commit(&mut run);
        }
        prop_assert!(run.execution.status.is_final(), "{:?}", run.execution.branches);
        check(&run)?;
        check_calls(&run)?;
    }
}
