//! The workflows that are run. Invariant: every execution of them comes to an end, whatever fails, as long as
//! there are workers, people and time.

use crate::stage::Sessions;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Steps,
    Jobs,
    People,
    Timers,
    Signals,
    Items,
}

impl Kind {
    pub const ALL: &'static [Self] = &[
        Self::Steps,
        Self::Jobs,
        Self::People,
        Self::Timers,
        Self::Signals,
        Self::Items,
    ];

    fn document(self) -> String {
        match self {
            Self::Steps => STEPS.to_owned(),
            Self::Jobs => JOBS.to_owned(),
            Self::People => approval("People", "20s"),
            Self::Timers => TIMERS.to_owned(),
            Self::Signals => SIGNALS.to_owned(),
            Self::Items => ITEMS.to_owned(),
        }
    }
}

/// One that is published.
#[derive(Debug, Clone)]
pub struct Definition {
    pub kind: Kind,
    pub workflow_id: String,
}

pub async fn publish(sessions: &Sessions, kinds: &[Kind]) -> anyhow::Result<Vec<Definition>> {
    let mut published = Vec::new();
    for &kind in kinds {
        let mut document = kind.document();
        if kind == Kind::Items {
            document = document.replace("PART", &sessions.publish(PART).await?);
        }
        let workflow_id = sessions.publish(&document).await?;
        published.push(Definition { kind, workflow_id });
    }
    Ok(published)
}

const STEPS: &str = r#"
client: { name: Fault Works }
workflow: { name: Steps, status: ACTIVE }
steps:
  - { name: Tell, stepType: notification }
  - { name: Greet, stepType: transform, config: { output: { greeting: "'hello'" } } }
  - { name: Choose, stepType: decision }
  - { name: Left, stepType: notification }
  - { name: Right, stepType: notification }
transitions:
  - { from: Tell, to: Greet }
  - { from: Greet, to: Choose }
  - { from: Choose, to: Left, condition: { field: even, operator: equals, value: true } }
  - { from: Choose, to: Right, isDefault: true }
"#;

/// A loop that a worker ends, and work that may fail for good.
const JOBS: &str = r#"
client: { name: Fault Works }
workflow: { name: Jobs, status: ACTIVE }
steps:
  - { name: Ask, stepType: work, config: { retry: { maxAttempts: 40, initialInterval: 20ms, maxInterval: 200ms } } }
  - { name: Pause, stepType: wait, config: { duration: 20ms } }
  - { name: Risk, stepType: work, config: { retry: { maxAttempts: 2, initialInterval: 20ms } } }
  - { name: Done, stepType: notification }
  - { name: Regret, stepType: notification }
transitions:
  - { from: Ask, to: Pause, condition: { field: again, operator: equals, value: true } }
  - { from: Pause, to: Ask }
  - { from: Ask, to: Risk, isDefault: true }
  - { from: Risk, to: Done }
  - { from: Risk, to: Regret, condition: { field: step.status, operator: equals, value: FAILED } }
"#;

/// What a person decides within `timeout`, or nobody does.
pub fn approval(name: &str, timeout: &str) -> String {
    format!(
        r#"
client: {{ name: Fault Works }}
workflow: {{ name: {name}, status: ACTIVE }}
steps:
  - {{ name: Decide, stepType: approval, config: {{ timeout: {timeout} }} }}
  - {{ name: Granted, stepType: notification }}
  - {{ name: Declined, stepType: notification }}
  - {{ name: Expired, stepType: notification }}
transitions:
  - {{ from: Decide, to: Granted, condition: {{ field: approved, operator: equals, value: true }} }}
  - {{ from: Decide, to: Declined, isDefault: true }}
  - {{ from: Decide, to: Expired, condition: {{ field: step.error.code, operator: equals, value: TIMEOUT }} }}
"#
    )
}

const TIMERS: &str = r#"
client: { name: Fault Works }
workflow: { name: Timers, status: ACTIVE }
steps:
  - { name: Wait, stepType: wait, config: { duration: 300ms } }
  - { name: Tell, stepType: notification }
  - { name: Wait again, stepType: wait, config: { duration: 200ms } }
  - { name: Tell again, stepType: notification }
transitions:
  - { from: Wait, to: Tell }
  - { from: Tell, to: Wait again }
  - { from: Wait again, to: Tell again }
"#;

const SIGNALS: &str = r#"
client: { name: Fault Works }
workflow: { name: Signals, status: ACTIVE }
steps:
  - { name: Await, stepType: signal, config: { name: word, timeout: 2s } }
  - { name: Heard, stepType: notification }
  - { name: Gave up, stepType: notification }
transitions:
  - { from: Await, to: Heard }
  - { from: Await, to: Gave up, condition: { field: step.error.code, operator: equals, value: TIMEOUT } }
"#;

const ITEMS: &str = r#"
client: { name: Fault Works }
workflow: { name: Items, status: ACTIVE }
steps:
  - { name: Each, stepType: foreach, config: { count: 3, step: Part, concurrency: 2, tolerated: 3 } }
  - { name: Part, stepType: subworkflow, config: { workflowId: PART, input: { n: "data.item" } } }
  - { name: Done, stepType: notification }
transitions:
  - { from: Each, to: Done }
"#;

/// Of the items: a fork.
const PART: &str = r#"
client: { name: Fault Works }
workflow: { name: Part, status: ACTIVE }
steps:
  - { name: Fork, stepType: parallel }
  - { name: Work, stepType: work, config: { retry: { maxAttempts: 40, initialInterval: 20ms, maxInterval: 200ms } } }
  - { name: Wait, stepType: wait, config: { duration: 50ms } }
  - { name: Both, stepType: join }
  - { name: Tell, stepType: notification }
transitions:
  - { from: Fork, to: Work }
  - { from: Fork, to: Wait }
  - { from: Work, to: Both }
  - { from: Wait, to: Both }
  - { from: Both, to: Tell }
"#;
