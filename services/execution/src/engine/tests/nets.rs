//! Nested forks and joins, worked off in any order: no branch is lost and none runs twice.

use std::collections::BTreeMap;

use model::status::StepStatus;
use proptest::prelude::*;
use serde_json::json;

use super::super::*;
use super::*;

/// A part of a process with one way in and one way out.
#[derive(Debug, Clone)]
enum Block {
    Job,
    Sequence(Vec<Block>),
    /// Branches that meet in a join of this config.
    Fork(Vec<Block>, Value),
}

fn block() -> impl Strategy<Value = Block> {
    let mode = prop_oneof![
        Just(json!({})),
        Just(json!({ "mode": "ANY" })),
        Just(json!({ "mode": "N_OF", "n": 2 })),
        Just(json!({ "mode": "ANY", "onSatisfied": "CANCEL_REST" })),
        Just(json!({ "mode": "N_OF", "n": 2, "onSatisfied": "CANCEL_REST" })),
    ];
    Just(Block::Job).prop_recursive(4, 24, 4, move |inner| {
        let fork = (prop::collection::vec(inner.clone(), 2..4), mode.clone());
        prop_oneof![
            prop::collection::vec(inner, 1..4).prop_map(Block::Sequence),
            fork.prop_map(|(branches, mode)| Block::Fork(branches, mode)),
        ]
    })
}

/// Steps and ways of a block; every step is named by its number.
#[derive(Default)]
struct Net {
    steps: Vec<(&'static str, Value)>,
    ways: Vec<(usize, usize)>,
    cancels: bool,
}

impl Net {
    fn step(&mut self, step_type: &'static str, config: Value) -> usize {
        self.steps.push((step_type, config));
        self.steps.len() - 1
    }

    /// Returns the block's first and last step.
    fn add(&mut self, block: &Block) -> (usize, usize) {
        match block {
            Block::Job => {
                let job = self.step("work", json!({}));
                (job, job)
            }
            Block::Sequence(parts) => {
                let ends: Vec<_> = parts.iter().map(|part| self.add(part)).collect();
                let pairs = ends.windows(2).map(|pair| (pair[0].1, pair[1].0));
                self.ways.extend(pairs);
                (ends[0].0, ends[ends.len() - 1].1)
            }
            Block::Fork(branches, mode) => {
                self.cancels |= mode.get("onSatisfied").is_some();
                let fork = self.step("parallel", json!({}));
                let ends: Vec<_> = branches.iter().map(|branch| self.add(branch)).collect();
                let join = self.step("join", mode.clone());
                for (first, last) in ends {
                    self.ways.extend([(fork, first), (last, join)]);
                }
                (fork, join)
            }
        }
    }

    fn graph(&self) -> Graph {
        let names: Vec<String> = (0..self.steps.len()).map(|at| format!("s{at}")).collect();
        let steps: Vec<_> = (self.steps.iter().zip(&names))
            .map(|((step_type, config), name)| (name.as_str(), *step_type, config.clone()))
            .collect();
        let ways: Vec<_> = (self.ways.iter())
            .map(|(from, to)| {
                (
                    names[*from].as_str(),
                    names[*to].as_str(),
                    json!({ "cel": "true" }),
                )
            })
            .collect();
        graph(&steps, &ways)
    }
}

/// Works off one job after another; `order` says which of those that wait is next.
fn work_off(graph: Graph, order: &[prop::sample::Index]) -> Run {
    let mut run = Run::start(graph, json!({}));
    for index in order {
        let is_job = |branch: &&Branch| matches!(branch.hold, Hold::Job { .. });
        let jobs: Vec<i32> = (run.execution.branches.iter().filter(is_job))
            .map(|branch| branch.seq)
            .collect();
        if jobs.is_empty() {
            break;
        }
        let seq = *index.get(&jobs);
        let (output, message) = (Map::new(), None);
        let outcome = Outcome::Done { output, message };
        run.tell(Command::Settle { seq, outcome })
            .expect("the branch is there");
        // As another replica would find it.
        let stored = serde_json::to_string(&run.execution.memory).expect("plain data");
        run.execution.memory = serde_json::from_str(&stored).expect("what was written");
    }
    run
}

proptest! {
    #[test]
    fn every_job_runs_once_and_every_join_goes_on_once(
        block in block(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 100),
    ) {
        let mut net = Net::default();
        let (_, last) = net.add(&block);
        let after = net.step("work", json!({}));
        net.ways.push((last, after));
        let run = work_off(net.graph(), &order);
        prop_assert_eq!(run.execution.status, ExecutionStatus::Completed);

        let mut ended: BTreeMap<Uuid, Vec<StepStatus>> = BTreeMap::new();
        for log in run.change.logs.values() {
            ended.entry(log.step_id).or_default().push(log.status);
        }
        for (at, step) in run.graph.definition.steps.iter().enumerate() {
            let ended = ended.get(&step.id).map_or(&[][..], Vec::as_slice);
            if net.cancels && at != after {
                prop_assert!(ended.len() <= 1, "{} {ended:?}", step.name);
            } else {
                prop_assert_eq!(ended, [StepStatus::Completed], "{}", step.name);
            }
        }
        prop_assert!(run.execution.memory.arrived.is_empty());

        // The same commands again give the same record.
        let again = work_off(net.graph(), &order);
        prop_assert_eq!(&again.execution, &run.execution);
        prop_assert_eq!(again.change, run.change);
    }
}
