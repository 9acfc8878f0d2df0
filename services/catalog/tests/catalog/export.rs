//! ExportWorkflow: the same workflow out, as a document.

use proto::catalog::v1 as pb;
use tonic::Code;

use crate::apply::{TWO_STEPS, in_use};
use crate::harness::{Catalog, malformed};

async fn export(catalog: &Catalog, id: &str, version: i32) -> Result<String, tonic::Status> {
    let request = pb::ExportWorkflowRequest {
        id: id.to_owned(),
        version,
    };
    let answer = catalog.workflows().export_workflow(request).await?;
    Ok(answer.into_inner().document)
}

#[tokio::test]
async fn exported_document_changes_nothing_and_comes_back_to_the_byte() {
    let catalog = Catalog::start().await;
    for document in in_use().iter().map(String::as_str).chain([TWO_STEPS]) {
        let workflow = catalog.apply(document).await.unwrap().workflow.unwrap();
        let exported = export(&catalog, &workflow.id, 0).await.unwrap();
        let again = catalog.apply(&exported).await.unwrap();
        assert_eq!(again.changes, [""; 0], "{exported}");
        assert_eq!(again.workflow.unwrap(), workflow);
        assert_eq!(export(&catalog, &workflow.id, 0).await.unwrap(), exported);

        // Where nothing of it is yet, it makes the same.
        let elsewhere = Catalog::start().await;
        let made = elsewhere.apply(&exported).await.unwrap().workflow.unwrap();
        assert_eq!(export(&elsewhere, &made.id, 0).await.unwrap(), exported);
    }
}

#[tokio::test]
async fn export_says_whether_applying_it_publishes() {
    let catalog = Catalog::start().await;
    let workflow = catalog.apply(TWO_STEPS).await.unwrap().workflow.unwrap();
    let draft = export(&catalog, &workflow.id, 0).await.unwrap();
    assert!(draft.contains("status: DRAFT"), "{draft}");
    catalog.publish(&workflow.id).await.unwrap();
    let active = export(&catalog, &workflow.id, 0).await.unwrap();
    assert_eq!(active, draft.replace("DRAFT", "ACTIVE"));
    catalog
        .apply(&draft.replace("name: B", "name: C"))
        .await
        .unwrap();
    let edited = export(&catalog, &workflow.id, 0).await.unwrap();
    assert_eq!(edited, draft.replace("name: B", "name: C"));
    assert_eq!(export(&catalog, &workflow.id, 1).await.unwrap(), active);

    // A second client of the name: the name would be a guess.
    let twin = catalog.client("Acme").await;
    assert_ne!(twin.id, workflow.client_id);
    let exported = export(&catalog, &workflow.id, 0).await.unwrap();
    assert!(
        exported.contains(&format!("client: {}", workflow.client_id)),
        "{exported}"
    );
    assert_eq!(catalog.apply(&exported).await.unwrap().changes, [""; 0]);

    let code = |answer: Result<String, tonic::Status>| answer.unwrap_err().code();
    assert_eq!(
        code(export(&catalog, &workflow.id, 2).await),
        Code::NotFound
    );
    assert_eq!(
        code(export(&catalog, &uuid::Uuid::nil().to_string(), 0).await),
        Code::NotFound
    );
    assert_eq!(
        malformed(export(&catalog, "x", -1).await),
        ["id", "version"]
    );
}
