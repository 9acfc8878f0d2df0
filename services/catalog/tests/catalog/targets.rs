//! The target of a workflow: part of what is edited, told, compared and published.

use proto::catalog::v1::diff_workflow_request::To;
use proto::catalog::v1::validate_workflow_request::Source;
use proto::catalog::v1::{self as pb};
use tonic::Status;

use crate::harness::{Catalog, malformed, violations};

const DOCUMENT: &str = "
client: { name: Acme }
workflow: { name: W, target: 48h, status: ACTIVE }
steps: [{ name: Ask, stepType: approval, config: { target: 24h } }]
";

async fn update(
    catalog: &Catalog,
    workflow: pb::Workflow,
    paths: Option<&[&str]>,
) -> Result<pb::Workflow, Status> {
    let request = pb::UpdateWorkflowRequest {
        workflow: Some(workflow),
        update_mask: paths.map(|paths| prost_types::FieldMask {
            paths: paths.iter().map(|&path| path.to_owned()).collect(),
        }),
    };
    let updated = catalog.workflows().update_workflow(request).await?;
    Ok(updated.into_inner())
}

async fn create(catalog: &Catalog, target: &str) -> Result<pb::Workflow, Status> {
    let request = pb::CreateWorkflowRequest {
        workflow: Some(pb::Workflow {
            name: "Made".to_owned(),
            client_id: catalog.client("Maker").await.id,
            target: target.to_owned(),
            ..pb::Workflow::default()
        }),
        ..pb::CreateWorkflowRequest::default()
    };
    Ok(catalog
        .workflows()
        .create_workflow(request)
        .await?
        .into_inner())
}

async fn export(catalog: &Catalog, id: &str, version: i32) -> String {
    let request = pb::ExportWorkflowRequest {
        id: id.to_owned(),
        version,
    };
    let answer = catalog.workflows().export_workflow(request).await;
    answer.unwrap().into_inner().document
}

async fn version(catalog: &Catalog, id: &str, version: i32) -> pb::WorkflowVersion {
    let request = pb::GetWorkflowVersionRequest {
        workflow_id: id.to_owned(),
        version,
    };
    let answer = catalog.workflows().get_workflow_version(request).await;
    answer.unwrap().into_inner()
}

async fn difference(catalog: &Catalog, id: &str, to: To) -> Vec<String> {
    let request = pb::DiffWorkflowRequest {
        id: id.to_owned(),
        from_version: 1,
        to: Some(to),
    };
    let answer = catalog.workflows().diff_workflow(request).await;
    answer.unwrap().into_inner().lines
}

#[tokio::test]
async fn a_target_is_set_kept_changed_and_taken_away() {
    let catalog = Catalog::start().await;
    let made = create(&catalog, "PT48H").await.unwrap();
    assert_eq!(made.target, "PT48H");
    assert_eq!(catalog.read(&made.id).await, made);
    let only = |target: &str| pb::Workflow {
        id: made.id.clone(),
        target: target.to_owned(),
        ..pb::Workflow::default()
    };
    let changed = update(&catalog, only("3d"), None).await.unwrap();
    assert_eq!((&changed.target[..], &changed.name[..]), ("3d", "Made"));
    assert_ne!(changed.etag, made.etag);
    let same = update(&catalog, only("3d"), None).await.unwrap();
    assert_eq!(same, changed);
    // What is empty is not set, unless the mask asks for it.
    let renamed = pb::Workflow {
        name: "Renamed".to_owned(),
        ..only("")
    };
    let renamed = update(&catalog, renamed, None).await.unwrap();
    assert_eq!(renamed.target, "3d");
    let gone = update(&catalog, only(""), Some(&["target"])).await.unwrap();
    assert_eq!((&gone.target[..], &gone.name[..]), ("", "Renamed"));

    let list = pb::ListWorkflowsRequest::default();
    let lists = |workflows: Vec<pb::Workflow>| {
        let targets = workflows.into_iter().map(|workflow| workflow.target);
        targets.collect::<Vec<_>>()
    };
    update(&catalog, only("90m"), None).await.unwrap();
    let listed = catalog.workflows().list_workflows(list).await.unwrap();
    assert_eq!(lists(listed.into_inner().workflows), ["90m"]);

    let request = pb::ListAuditEventsRequest {
        filter: format!("object_id = \"{}\"", made.id),
        ..pb::ListAuditEventsRequest::default()
    };
    let mut audit = catalog.audit(&catalog.admin_token);
    let events = audit.list_audit_events(request).await.unwrap().into_inner();
    let told: Vec<String> = (events.events.into_iter())
        .flat_map(|event| event.changes)
        .collect();
    for line in [
        r#"changed the workflow: target: "PT48H" -> "3d""#,
        r#"changed the workflow: target: "3d" -> nothing"#,
        r#"changed the workflow: target: nothing -> "90m""#,
    ] {
        assert!(told.iter().any(|told| told == line), "{line}: {told:?}");
    }
}

#[tokio::test]
async fn what_is_no_duration_is_refused_by_name() {
    let catalog = Catalog::start().await;
    let workflow = catalog.apply(DOCUMENT).await.unwrap().workflow.unwrap();
    let long = format!("{}1h", "0".repeat(60));
    for wrong in ["48", "soon", "0s", "-1h", " 48h", "3651d", "4\08h", &long] {
        assert_eq!(
            malformed(create(&catalog, wrong).await),
            ["workflow.target"],
            "{wrong:?}"
        );
        let changed = pb::Workflow {
            target: wrong.to_owned(),
            ..workflow.clone()
        };
        let answer = update(&catalog, changed, Some(&["target"])).await;
        assert_eq!(malformed(answer), ["workflow.target"], "{wrong:?}");
    }
    for (wrong, what) in [
        ("48", "must be a text"),
        ("'48'", "`48h`"),
        ("soon", "no duration"),
        ("0s", "longer"),
        (&long, "characters"),
    ] {
        let document = DOCUMENT.replace("target: 48h", &format!("target: {wrong}"));
        let source = Some(Source::Document(document.clone()));
        let request = pb::ValidateWorkflowRequest { source };
        let validated = catalog.workflows().validate_workflow(request).await;
        let statuses = [
            validated.expect_err("is refused"),
            catalog.apply(&document).await.expect_err("is refused"),
        ];
        for status in statuses {
            let [(field, description)] = &violations(&status)[..] else {
                panic!("{wrong}: {status:?}");
            };
            assert_eq!(field, "document");
            assert!(
                description.starts_with("workflow.target: "),
                "{description}"
            );
            assert!(description.contains(what), "{description}");
        }
    }
    assert_eq!(catalog.read(&workflow.id).await, workflow);
}

#[tokio::test]
async fn a_target_is_part_of_what_is_published() {
    let catalog = Catalog::start().await;
    let first = catalog.apply(DOCUMENT).await.unwrap().workflow.unwrap();
    assert_eq!(
        (&first.target[..], first.has_unpublished_changes),
        ("48h", false)
    );
    let config = first.steps[0].config.as_ref().expect("a config");
    assert!(config.fields.contains_key("target"));
    assert_eq!(version(&catalog, &first.id, 1).await.target, "48h");

    // A document as it was exported changes nothing.
    let exported = export(&catalog, &first.id, 0).await;
    assert!(exported.contains("target: 48h"), "{exported}");
    assert_eq!(export(&catalog, &first.id, 1).await, exported);
    assert!(catalog.apply(&exported).await.unwrap().changes.is_empty());

    let other = DOCUMENT.replace("target: 48h", "target: PT36H");
    let line = r#"changed the workflow: target: "48h" -> "PT36H""#;
    let planned = difference(&catalog, &first.id, To::ToDocument(other)).await;
    assert_eq!(planned, [line]);
    let edit = pb::Workflow {
        id: first.id.clone(),
        target: "PT36H".to_owned(),
        ..pb::Workflow::default()
    };
    let edited = update(&catalog, edit, None).await.unwrap();
    assert!(edited.has_unpublished_changes);
    assert_eq!(version(&catalog, &first.id, 1).await.target, "48h");
    let published = catalog.publish(&first.id).await.unwrap();
    assert_eq!((published.version, &published.target[..]), (2, "PT36H"));
    assert_eq!(
        difference(&catalog, &first.id, To::ToVersion(2)).await,
        [line]
    );

    let back = pb::PublishWorkflowRequest {
        id: first.id.clone(),
        from_version: 1,
        ..pb::PublishWorkflowRequest::default()
    };
    let back = catalog.workflows().publish_workflow(back).await.unwrap();
    let back = back.into_inner();
    assert_eq!((back.version, &back.target[..]), (3, "48h"));

    let clone = pb::CloneWorkflowRequest {
        id: first.id.clone(),
        version: 2,
        name: "Copy".to_owned(),
        ..pb::CloneWorkflowRequest::default()
    };
    let copy = catalog.workflows().clone_workflow(clone).await.unwrap();
    assert_eq!(copy.into_inner().target, "PT36H");

    // A document that says nothing of a target takes it away.
    let without = DOCUMENT.replace("target: 48h, ", "");
    let applied = catalog.apply(&without).await.unwrap();
    assert_eq!(
        applied.changes,
        [
            r#"changed the workflow: target: "48h" -> nothing"#,
            "published version 4",
        ]
    );
    assert_eq!(applied.workflow.unwrap().target, "");
    let listed = pb::ListWorkflowVersionsRequest {
        workflow_id: first.id.clone(),
        ..pb::ListWorkflowVersionsRequest::default()
    };
    let listed = catalog.workflows().list_workflow_versions(listed).await;
    let versions = listed.unwrap().into_inner().versions;
    let targets: Vec<&str> = versions.iter().map(|version| &version.target[..]).collect();
    assert_eq!(targets, ["", "48h", "PT36H", "48h"]);
}
