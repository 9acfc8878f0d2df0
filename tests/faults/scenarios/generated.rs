//! Definitions made by a seed: blocks of every kind, one after the other, until there are 200 steps.
//! Invariant: the same seed makes the same document, and every way through it comes to the end.

use serde_json::{Value, json};

use crate::chance::Chance;

const STEPS: usize = 200;
/// What the signal steps wait for.
pub const SIGNAL: &str = "word";

/// What items and calls run: a fork with work in it.
pub const PART: &str = r#"
client: { name: Fault Works }
workflow: { name: Part, status: ACTIVE }
steps:
  - { name: Fork, stepType: parallel }
  - { name: Work, stepType: work, config: { retry: { maxAttempts: 60, initialInterval: 5ms, maxInterval: 100ms } } }
  - { name: Wait, stepType: wait, config: { duration: 20ms } }
  - { name: Both, stepType: join }
transitions:
  - { from: Fork, to: Work }
  - { from: Fork, to: Wait }
  - { from: Work, to: Both }
  - { from: Wait, to: Both }
"#;

/// The document; `part` is the id of the published [`PART`].
pub fn document(seed: u64, part: &str) -> Value {
    let mut made = Made {
        chance: Chance::part(seed, "generated"),
        part: part.to_owned(),
        steps: Vec::new(),
        transitions: Vec::new(),
        last: None,
    };
    let blocks: [fn(&mut Made); 9] = [
        Made::tell,
        Made::decide,
        Made::wait,
        Made::risk,
        Made::repeat,
        Made::fork,
        Made::each,
        Made::call,
        Made::hear,
    ];
    // Each kind once, then by chance; the last ones are single steps, so that the number comes out.
    for block in blocks {
        block(&mut made);
    }
    while made.steps.len() + 12 < STEPS {
        made.chance.pick(&blocks)(&mut made);
    }
    while made.steps.len() < STEPS {
        made.tell();
    }
    json!({
        "client": { "name": "Fault Works" },
        "workflow": { "name": "Endurance", "status": "ACTIVE" },
        "steps": made.steps,
        "transitions": made.transitions,
    })
}

struct Made {
    chance: Chance,
    part: String,
    steps: Vec<Value>,
    transitions: Vec<Value>,
    /// The step that the next block follows.
    last: Option<String>,
}

impl Made {
    /// Adds a step that nothing leads to yet.
    fn alone(&mut self, kind: &str, config: Value) -> String {
        let name = format!("{} {}", kind, self.steps.len() + 1);
        self.steps
            .push(json!({ "name": name, "stepType": kind, "config": config }));
        name
    }

    /// Adds a step that follows the last one.
    fn next(&mut self, kind: &str, config: Value) -> String {
        let name = self.alone(kind, config);
        if let Some(last) = self.last.replace(name.clone()) {
            self.way(&last, &name);
        }
        name
    }

    fn way(&mut self, from: &str, to: &str) {
        self.transitions.push(json!({ "from": from, "to": to }));
    }

    fn way_if(&mut self, from: &str, to: &str, field: &str, value: Value) {
        let condition = json!({ "field": field, "operator": "equals", "value": value });
        self.transitions
            .push(json!({ "from": from, "to": to, "condition": condition }));
    }

    fn way_else(&mut self, from: &str, to: &str) {
        self.transitions
            .push(json!({ "from": from, "to": to, "isDefault": true }));
    }

    fn work(&self) -> Value {
        json!({ "retry": { "maxAttempts": 60, "initialInterval": "5ms", "maxInterval": "100ms" } })
    }

    fn milliseconds(&mut self) -> Value {
        json!({ "duration": format!("{}ms", self.chance.within(5..40)) })
    }

    fn tell(&mut self) {
        if self.chance.percent(50) {
            self.next("notification", json!({}));
        } else {
            let key = format!("k{}", self.steps.len());
            self.next("transform", json!({ "output": { key: "'set'" } }));
        }
    }

    fn wait(&mut self) {
        let config = self.milliseconds();
        self.next("wait", config);
    }

    /// A person, who may be too slow.
    fn decide(&mut self) {
        // People are slow: a few of their steps are enough.
        let is_approval = |step: &&Value| step["stepType"] == "approval";
        if self.steps.iter().filter(is_approval).count() == 2 {
            return self.tell();
        }
        let asked = self.next("approval", json!({ "timeout": "5s" }));
        let on = self.alone("decision", json!({}));
        self.way_else(&asked, &on);
        self.way_if(&asked, &on, "step.error.code", json!("TIMEOUT"));
        self.last = Some(on);
    }

    /// Work that may fail for good, which is caught.
    fn risk(&mut self) {
        let risk = self.next(
            "work",
            json!({ "retry": { "maxAttempts": 2, "initialInterval": "5ms" } }),
        );
        let regret = self.alone("notification", json!({}));
        let on = self.alone("decision", json!({}));
        self.way_if(&risk, &regret, "step.status", json!("FAILED"));
        self.way_else(&risk, &on);
        self.way(&regret, &on);
        self.last = Some(on);
    }

    /// A loop that a worker ends.
    fn repeat(&mut self) {
        let config = self.work();
        let work = self.next("work", config);
        let config = self.milliseconds();
        let pause = self.alone("wait", config);
        let on = self.alone("decision", json!({}));
        self.way_if(&work, &pause, "again", json!(true));
        self.way(&pause, &work);
        self.way_else(&work, &on);
        self.last = Some(on);
    }

    fn fork(&mut self) {
        let fork = self.next("parallel", json!({}));
        let branches = self.chance.within(2..5);
        let mode = match self.chance.below(4) {
            0 => json!({ "mode": "ANY", "onSatisfied": "CANCEL_REST" }),
            1 => json!({ "mode": "N_OF", "n": 2, "onSatisfied": "LET_RUN" }),
            _ => json!({ "mode": "ALL" }),
        };
        let mut ends = Vec::new();
        for _ in 0..branches {
            let (kind, config) = match self.chance.below(3) {
                0 => ("work", self.work()),
                1 => ("wait", self.milliseconds()),
                _ => ("notification", json!({})),
            };
            let step = self.alone(kind, config);
            self.way(&fork, &step);
            ends.push(step);
        }
        let join = self.alone("join", mode);
        for end in ends {
            self.way(&end, &join);
        }
        self.last = Some(join);
    }

    /// Items, each of which forks in an execution of its own.
    fn each(&mut self) {
        let part = json!({ "workflowId": self.part, "input": { "n": "data.item" } });
        let part = self.alone("subworkflow", part);
        let count = self.chance.within(2..4);
        let each = json!({ "count": count, "step": part, "concurrency": 2 });
        self.next("foreach", each);
    }

    fn call(&mut self) {
        let part = json!({ "workflowId": self.part, "input": { "n": "1" } });
        self.next("subworkflow", part);
    }

    /// A race of a message and a timer.
    fn hear(&mut self) {
        let timeout = format!("{}ms", self.chance.within(30..200));
        let hear = self.next("signal", json!({ "name": SIGNAL, "timeout": timeout }));
        let gave_up = self.alone("notification", json!({}));
        let on = self.alone("decision", json!({}));
        self.way_if(&hear, &gave_up, "step.error.code", json!("TIMEOUT"));
        self.way_else(&hear, &on);
        self.way(&gave_up, &on);
        self.last = Some(on);
    }
}
