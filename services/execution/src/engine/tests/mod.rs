//! An execution under test: definitions in a line, commands in a word.

mod again;
mod children;
mod choices;
mod graphs;
mod incidents;
mod items;
mod leaving;
mod lives;
mod nets;
mod patterns;
mod properties;
mod restarts;
mod runs;
mod sagas;
mod signals;
mod threads;

use chrono::{DateTime, TimeDelta, Utc};
use model::definition::{Definition, Step as StepOf, Transition};
use model::graph::Graph;
use model::status::ExecutionStatus;
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
        target: None,
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
