//! The same scenario without anybody: its answers as mocks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use platform::client::Session;
use proto::catalog::v1::Workflow;
use proto::execution::v1::SimulateWorkflowRequest;
use serde_json::{Value, json};

use super::{Deed, Does, Run, Scenario};
use crate::story::object;

/// Runs it, and tells which outcomes of which steps it has not come to.
pub async fn run(
    session: &Session,
    workflow: &Workflow,
    scenario: &Scenario,
) -> anyhow::Result<(Run, BTreeSet<String>)> {
    let mut answers: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for deed in &scenario.deeds {
        if let Some(mock) = mock(deed) {
            answers.entry(deed.step).or_default().push(mock);
        }
    }
    let request = SimulateWorkflowRequest {
        workflow_id: workflow.id.clone(),
        version: workflow.version,
        input_data: Some(object(scenario.input.clone())),
        mocks: (answers.into_iter())
            .map(|(step, list)| (step.to_owned(), values(&list)))
            .collect::<HashMap<_, _>>(),
    };
    let mut executions = session.executions.clone();
    let told = executions.simulate_workflow(request).await?.into_inner();
    let untried = (told.unexercised_outcomes.iter())
        .map(|it| format!("{} {}", it.step_name, it.outcome().as_str_name()))
        .map(|it| it.replace("STEP_OUTCOME_", ""))
        .collect();
    let run = Run {
        execution: told.execution.unwrap_or_default(),
        logs: told.logs,
        explanations: told.explanations,
    };
    Ok((run, untried))
}

/// What a mock says for a deed; nothing where simulations answer by themselves.
fn mock(deed: &Deed) -> Option<Value> {
    let failure = |code: &str| json!({ "code": code, "message": "it is so" });
    let mut mock = match &deed.does {
        Does::Gives(output) => json!({ "output": output }),
        Does::Approves => json!({ "output": { "approved": true } }),
        Does::Rejects => json!({ "output": { "approved": false } }),
        Does::Fails(code) => json!({ "error": failure(code) }),
        Does::Throws(code) => json!({ "businessError": failure(code) }),
        Does::IsLate => return Some(json!({ "timeout": true })),
        Does::StaysAway => return Some(json!({ "queueTimeout": true })),
        Does::Nothing => json!({ "output": {}, "delay": "3650d" }),
        Does::Elapses | Does::GivesUp => return None,
    };
    if !deed.after.is_empty() {
        mock["delay"] = json!(deed.after);
    }
    Some(mock)
}

fn values(list: &[Value]) -> prost_types::ListValue {
    let values = list.iter().map(|value| prost_types::Value {
        kind: Some(prost_types::value::Kind::StructValue(object(value.clone()))),
    });
    prost_types::ListValue {
        values: values.collect(),
    }
}
