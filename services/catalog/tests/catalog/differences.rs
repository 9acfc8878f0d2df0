//! DiffWorkflow: what differs between two states of a workflow.

use prost_types::value::Kind;
use proto::catalog::v1::diff_workflow_request::To;
use proto::catalog::v1::{self as pb, ChangeAction};
use tonic::{Code, Status};

use crate::harness::{Catalog, malformed, refused};

const FIRST: &str = "
client: { name: Acme }
workflow: { name: W, status: ACTIVE }
steps:
  - { name: Ask, stepType: approval, config: { timeout: 48h, approverRole: boss } }
  - { name: Work, stepType: custom }
transitions:
  - { from: Ask, to: Work, condition: { field: approved, operator: equals, value: true } }
";

const SECOND: &str = "
client: { name: Acme }
workflow: { name: W, description: Better, status: ACTIVE }
steps:
  - { key: ask, name: Ask the boss, stepType: approval, config: { timeout: 24h, approverRole: boss } }
  - { name: Tell, stepType: notification }
transitions:
  - { from: ask, to: Tell, isDefault: true }
";

async fn diff(
    catalog: &Catalog,
    id: &str,
    from_version: i32,
    to: Option<To>,
) -> Result<pb::DiffWorkflowResponse, Status> {
    let request = pb::DiffWorkflowRequest {
        id: id.to_owned(),
        from_version,
        to,
    };
    Ok(catalog
        .workflows()
        .diff_workflow(request)
        .await?
        .into_inner())
}

const FORTH: [&str; 7] = [
    r#"changed the workflow: description: nothing -> "Better""#,
    r#"removed step "Work""#,
    r#"changed step "Ask the boss": config.timeout: "48h" -> "24h""#,
    r#"renamed step "Ask" to "Ask the boss""#,
    r#"added step "Tell""#,
    r#"removed transition "Ask the boss" -> "Work""#,
    r#"added transition "Ask the boss" -> "Tell""#,
];

#[tokio::test]
async fn versions_working_copy_and_documents_compare_alike() {
    let catalog = Catalog::start().await;
    let first = catalog.apply(FIRST).await.unwrap().workflow.unwrap();
    // What applying would do, before it is done.
    let document = Some(To::ToDocument(SECOND.to_owned()));
    let planned = diff(&catalog, &first.id, 0, document.clone())
        .await
        .unwrap();
    assert_eq!(planned.lines, FORTH);
    assert_eq!(catalog.read(&first.id).await, first);
    let applied = catalog.apply(SECOND).await.unwrap();
    assert_eq!(applied.changes[..7], planned.lines);
    assert_eq!(applied.changes[7..], ["published version 2"]);

    let second = applied.workflow.unwrap();
    let told = diff(&catalog, &first.id, 1, Some(To::ToVersion(2)))
        .await
        .unwrap();
    assert_eq!(told.lines, planned.lines);
    assert!(!told.truncated);
    for to in [None, Some(To::ToVersion(0))] {
        assert_eq!(diff(&catalog, &first.id, 1, to).await.unwrap(), told);
    }
    // A transition that is only in a document has no id to tell.
    let document = diff(&catalog, &first.id, 1, document).await.unwrap();
    assert_eq!(
        (&document.lines, &document.steps),
        (&told.lines, &told.steps)
    );
    let nothing = pb::DiffWorkflowResponse::default();
    assert_eq!(diff(&catalog, &first.id, 2, None).await.unwrap(), nothing);

    // Step ids are those of the workflow: a changed step is the same one, an added one is there now.
    let ids: Vec<&str> = told.steps.iter().map(|step| step.id.as_str()).collect();
    let [work, ask, tell] = ids[..] else {
        panic!("{ids:?}");
    };
    assert_eq!(
        (ask, work),
        (first.steps[0].id.as_str(), first.steps[1].id.as_str())
    );
    assert_eq!(
        (ask, tell),
        (second.steps[0].id.as_str(), second.steps[1].id.as_str())
    );

    let back = diff(&catalog, &first.id, 2, Some(To::ToVersion(1)))
        .await
        .unwrap();
    assert_eq!(back.lines.len(), told.lines.len());
    assert_eq!(back.workflow[0].before, told.workflow[0].after);
}

#[tokio::test]
async fn changes_are_structured() {
    let catalog = Catalog::start().await;
    let first = catalog.apply(FIRST).await.unwrap().workflow.unwrap();
    let document = Some(To::ToDocument(SECOND.to_owned()));
    let told = diff(&catalog, &first.id, 0, document).await.unwrap();
    let actions: Vec<(ChangeAction, &str)> = (told.steps.iter())
        .map(|step| (step.action(), step.key.as_str()))
        .collect();
    assert_eq!(
        actions,
        [
            (ChangeAction::Removed, "work"),
            (ChangeAction::Changed, "ask"),
            (ChangeAction::Added, "tell"),
        ]
    );
    let text = |value: &Option<prost_types::Value>| match value.as_ref()?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text.clone()),
        other => panic!("{other:?}"),
    };
    let fields: Vec<_> = (told.steps[1].fields.iter())
        .map(|field| (field.path.as_str(), text(&field.before), text(&field.after)))
        .collect();
    let owned = |text: &str| Some(text.to_owned());
    assert_eq!(
        fields,
        [
            ("config.timeout", owned("48h"), owned("24h")),
            ("name", owned("Ask"), owned("Ask the boss")),
        ]
    );
    let added: Vec<&str> = told.steps[2]
        .fields
        .iter()
        .map(|field| field.path.as_str())
        .collect();
    assert_eq!(
        added,
        ["config", "isRequired", "key", "name", "order", "stepType"]
    );
    assert!(
        told.steps[2]
            .fields
            .iter()
            .all(|field| field.before.is_none())
    );
    assert!(
        told.steps[0]
            .fields
            .iter()
            .all(|field| field.after.is_none())
    );
    let ends: Vec<_> = (told.transitions.iter())
        .map(|way| (way.action(), way.from_step.as_str(), way.to_step.as_str()))
        .collect();
    assert_eq!(
        ends,
        [
            (ChangeAction::Removed, "Ask the boss", "Work"),
            (ChangeAction::Added, "Ask the boss", "Tell"),
        ]
    );
}

#[tokio::test]
async fn a_diff_that_is_too_large_says_so() {
    let catalog = Catalog::start().await;
    let document = |fill: &str| {
        let config = fill.repeat(60_000);
        let steps: String = (0..16)
            .map(|at| format!("- {{name: S{at}, stepType: x, config: {{a: {config}}}}}\n"))
            .collect();
        format!("client: {{name: A}}\nworkflow: {{name: W}}\nsteps:\n{steps}")
    };
    let made = catalog
        .apply(&document("x"))
        .await
        .unwrap()
        .workflow
        .unwrap();
    let short = diff(&catalog, &made.id, 0, Some(To::ToDocument(document("y"))))
        .await
        .unwrap();
    assert_eq!((short.steps.len(), short.truncated), (16, false));
    // Numbers take most room on their way.
    let config = format!("[{}0]", "1,".repeat(5_390));
    let numbers = |name: &str| {
        let steps: String = (0..62)
            .map(|at| format!("- {{name: {name}{at}, stepType: x, config: {{a: {config}}}}}\n"))
            .collect();
        format!("client: {{name: A}}\nworkflow: {{name: N}}\nsteps:\n{steps}")
    };
    let made = catalog
        .apply(&numbers("S"))
        .await
        .unwrap()
        .workflow
        .unwrap();
    let cut = diff(&catalog, &made.id, 0, Some(To::ToDocument(numbers("T"))))
        .await
        .unwrap();
    assert!(cut.truncated);
    assert!((10..124).contains(&cut.steps.len()), "{}", cut.steps.len());
    assert_eq!(cut.lines.len(), cut.steps.len());
}

#[tokio::test]
async fn what_cannot_be_compared_is_refused() {
    let catalog = Catalog::start().await;
    let first = catalog.apply(FIRST).await.unwrap().workflow.unwrap();
    let answer = diff(&catalog, "x", -1, Some(To::ToVersion(-1))).await;
    assert_eq!(malformed(answer), ["id", "from_version", "to_version"]);
    let answer = diff(
        &catalog,
        &first.id,
        0,
        Some(To::ToDocument("a: [".to_owned())),
    )
    .await;
    assert_eq!(malformed(answer), ["to_document"]);
    let answer = diff(&catalog, &first.id, 7, None).await;
    refused(answer, Code::NotFound, "WORKFLOW_VERSION_NOT_FOUND");
    let answer = diff(&catalog, &first.client_id, 0, None).await;
    refused(answer, Code::NotFound, "WORKFLOW_NOT_FOUND");
}
