//! Workflows, as documents and step by step.

use platform::client::{Session, request_id};
use proto::catalog::v1::*;
use serde_json::{Value, json};
use tonic::Code;

use super::{Answers, nested};
use crate::story::{Outcome, Story, object};

/// A definition with one thing wrong: where, in a published document's problems.
fn document(change: impl FnOnce(&mut Value)) -> String {
    let mut document = json!({
        "client": { "name": "Bad input" },
        "workflow": { "name": "Bad input", "status": "ACTIVE" },
        "steps": [
            { "order": 0, "name": "Enter", "stepType": "data_entry", "config": {} },
            { "order": 1, "name": "Decide", "stepType": "approval", "config": {} },
        ],
        "transitions": [
            { "from": "Enter", "to": "Decide", "condition": { "field": "a", "operator": "equals", "value": 1 } },
        ],
    });
    change(&mut document);
    document.to_string()
}

type Change = fn(&mut Value);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions() -> Outcome {
    let story = Story::begin().await?;
    let Session { mut workflows, .. } = story.admin.clone();
    let mut answers = Answers::default();
    let mut apply = async |document: String| {
        let request = ApplyWorkflowRequest {
            document,
            validate_only: false,
            ..ApplyWorkflowRequest::default()
        };
        workflows.apply_workflow(request).await
    };
    for text in ["", "[]", ": : :", "client: 1", "workflow: {}"] {
        answers.expect(apply(text.into()).await, Code::InvalidArgument, "document");
    }
    let invalid: [(&str, Change); 8] = [
        ("operator", |it| {
            it["transitions"][0]["condition"]["operator"] = json!("resembles")
        }),
        ("no operand", |it| {
            it["transitions"][0]["condition"] = json!({ "field": "a", "operator": "equals" })
        }),
        ("bare timeout", |it| {
            it["steps"][1]["config"] = json!({ "timeout": 48 })
        }),
        ("wrong type", |it| {
            it["steps"][1]["config"] = json!({ "approverRole": ["a"] })
        }),
        ("cel", |it| {
            it["transitions"][0]["condition"] = json!({ "cel": "data.a ==" })
        }),
        ("two first steps", |it| {
            it["transitions"] = json!([]);
            it["steps"][1]["order"] = json!(0);
        }),
        ("default with a condition", |it| {
            it["transitions"][0]["isDefault"] = json!(true)
        }),
        ("timeout in words", |it| {
            it["steps"][1]["config"] = json!({ "timeout": "for ever" })
        }),
    ];
    for (what, change) in invalid {
        let before = answers.0.len();
        answers.expect(
            apply(document(change)).await,
            Code::FailedPrecondition,
            "DEFINITION_INVALID",
        );
        if let Some(wrong) = answers.0.get_mut(before) {
            wrong.push_str(&format!(" ({what})"));
        }
    }
    answers.end();
    assert_eq!(
        story
            .recount("select count(*) from catalog.workflows")
            .await?,
        0,
        "nothing half done"
    );
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_and_transitions() -> Outcome {
    let story = Story::begin().await?;
    let Session { mut workflows, .. } = story.admin.clone();
    let mut answers = Answers::default();
    let one = story
        .sequence(&[
            ("A", "data_entry", json!({})),
            ("B", "data_entry", json!({})),
        ])
        .await?;
    let other = story.sequence(&[("C", "data_entry", json!({}))]).await?;
    let step = |name: &str, step_type: &str, order: Option<i32>, config: Value| CreateStepRequest {
        step: Some(WorkflowStep {
            workflow_id: one.id.clone(),
            name: name.into(),
            step_type: step_type.into(),
            order,
            config: Some(object(config)),
            ..Default::default()
        }),
        request_id: request_id(),
        ..CreateStepRequest::default()
    };
    let big = json!({ "text": "x".repeat(70_000) });
    for (request, field) in [
        (step("", "custom", Some(2), json!({})), "step.name"),
        (step("N", "", Some(2), json!({})), "step.step_type"),
        (step("N", "custom", None, json!({})), "step.order"),
        (step("N", "custom", Some(-1), json!({})), "step.order"),
        (step("N", "custom", Some(2), nested(32)), "step.config"),
        // Deeper than protobuf itself reads.
        (step("N", "custom", Some(2), nested(40)), "request"),
        (step("N", "custom", Some(2), big), "step.config"),
        (
            step("N", "custom", Some(2), json!({ "a": "\u{0}" })),
            "step.config",
        ),
    ] {
        answers.invalid(workflows.create_step(request).await, field);
    }
    let taken = workflows
        .create_step(step("A", "custom", Some(2), json!({})))
        .await;
    answers.expect(taken, Code::AlreadyExists, "STEP_NAME_TAKEN");

    let transition = |from: &str, to: &str| CreateTransitionRequest {
        transition: Some(WorkflowTransition {
            workflow_id: one.id.clone(),
            from_step_id: from.into(),
            to_step_id: to.into(),
            ..Default::default()
        }),
        request_id: request_id(),
        ..CreateTransitionRequest::default()
    };
    let (a, foreign) = (&one.steps[0].id, &other.steps[0].id);
    answers.invalid(
        workflows.create_transition(transition("a", a)).await,
        "transition.from_step_id",
    );
    answers.invalid(
        workflows.create_transition(transition(a, foreign)).await,
        "transition.to_step_id",
    );
    answers.invalid(
        workflows.create_transition(transition(foreign, a)).await,
        "transition.from_step_id",
    );
    answers.end();
    assert_eq!(
        story
            .recount("select count(*) from catalog.workflow_steps")
            .await?,
        3
    );
    story.end().await
}
